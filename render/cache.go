package render

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"shelfcast/store"
)

// A Source reads products as shoppers may see them. *store.DB is one.
type Source interface {
	// ProductsAtLeast returns these products at the wanted versions or newer ones, in any
	// order. It leaves out those that do not exist.
	ProductsAtLeast(ctx context.Context, wants []store.Rev) ([]store.Product, error)
	// Versions returns the current version of each of these products that exists.
	Versions(ctx context.Context, ids []int64) ([]store.Rev, error)
	// MaxID returns the greatest product ID, or 0 if there are no products.
	MaxID(ctx context.Context) (int64, error)
}

// CacheConfig tunes a Cache. The zero value means the defaults.
type CacheConfig struct {
	Memory        int64         // bytes of fragments in memory; 64 MiB
	RedisTimeout  time.Duration // of one round trip; 250ms
	RedisLifetime time.Duration // of a fragment or a current version since it was last written; 24h
	Lease         time.Duration // how long other instances leave loading a fragment to its lease holder; 2s
	LeaseWait     time.Duration // how long to wait for a lease holder before loading anyway; 500ms
	FetchTimeout  time.Duration // of finding or loading a batch, waiting included; 5s
	MaxLoads      int           // concurrent queries for products; 8
	LoadWait      time.Duration // how long a load waits for its turn before ErrBusy; 1s
	QueryInterval time.Duration // at least between two queries for current versions; 10ms: at most 100 a second
	QueryTimeout  time.Duration // of such a query, after which Redis is asked; 1s
	AbsentFor     time.Duration // how long a product that does not exist is remembered; 1s
	Metrics       prometheus.Registerer
	Log           *slog.Logger
}

// A Cache returns fragments from memory, from Redis, or by loading and rendering
// them, which happens once for the whole fleet. A key names everything that its
// value depends on (view, templates, product, version), so nothing is ever
// invalidated. Its methods may be called concurrently.
type Cache struct {
	*Versions
	templates *Templates
	cfg       CacheConfig
	memory    *otter.Cache[key, *Fragment] // the newest version of each product only
	external  externalIDs
	loads     *semaphore.Weighted
	flights   singleflight.Group
}

// ErrBusy means that the limit of concurrent loads was reached, and that no load
// ended soon enough. The same call may succeed later.
var ErrBusy = errors.New("too many fragments are being loaded")

// A key has the variant, so that what former templates rendered is never returned
// for the present ones.
type key struct {
	variant
	id int64
}

// NewCache returns a Cache over source. It shares its fragments through rdb with all
// instances of the shop that have the same templates.
func NewCache(source Source, rdb redis.UniversalClient, shop *store.Shop, templates *Templates,
	cfg CacheConfig) *Cache {
	cfg.Memory = cmp.Or(cfg.Memory, 64<<20)
	cfg.RedisTimeout = cmp.Or(cfg.RedisTimeout, 250*time.Millisecond)
	cfg.RedisLifetime = cmp.Or(cfg.RedisLifetime, 24*time.Hour)
	cfg.Lease = cmp.Or(cfg.Lease, 2*time.Second)
	cfg.LeaseWait = cmp.Or(cfg.LeaseWait, 500*time.Millisecond)
	cfg.FetchTimeout = cmp.Or(cfg.FetchTimeout, 5*time.Second)
	cfg.MaxLoads = cmp.Or(cfg.MaxLoads, 8)
	cfg.LoadWait = cmp.Or(cfg.LoadWait, time.Second)
	cfg.QueryInterval = cmp.Or(cfg.QueryInterval, 10*time.Millisecond)
	cfg.QueryTimeout = cmp.Or(cfg.QueryTimeout, time.Second)
	cfg.AbsentFor = cmp.Or(cfg.AbsentFor, time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	metrics := newMetrics(cfg.Metrics, templates.Views())
	c := &Cache{
		Versions:  newVersions(source, newShared(rdb, shop, cfg), metrics, cfg),
		templates: templates, cfg: cfg,
		memory: otter.Must(&otter.Options[key, *Fragment]{
			MaximumWeight: uint64(cfg.Memory),
			Weigher:       func(_ key, f *Fragment) uint32 { return f.size() },
		}),
		external: newExternalIDs(),
		loads:    semaphore.NewWeighted(int64(cfg.MaxLoads)),
	}
	promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_fragment_memory_bytes", Help: "Memory used by cached fragments, overhead included.",
	}, func() float64 { return float64(c.memory.WeightedSize()) })
	return c
}

// ParseView returns the view of that name, and false if there is none. The returned
// View does not alias name.
func (c *Cache) ParseView(name string) (View, bool) { return c.templates.ParseView(name) }

// Fragment returns the product in that view at the wanted version or a newer one.
// Version 0 wants the current one: the database says which that is if memory is not
// certain, and Redis if the database does not answer. The fragment is older than
// wanted only if the database does not have the wanted version. Errors:
// store.ErrNotFound, ErrNoView, ErrBusy, those of the Source, and ctx's.
func (c *Cache) Fragment(ctx context.Context, view View, want store.Rev) (*Fragment, error) {
	set := c.templates.now.Load()
	variant, ok := set.variant(view)
	if !ok {
		return nil, ErrNoView
	}
	want, certain, missing := c.resolve(want)
	if certain {
		if f := c.inMemory(variant, want); f != nil {
			return f, nil
		}
	}
	return c.fetchOne(ctx, set, variant, request{want: want, certain: certain, missing: missing})
}

// fetchOne is fetch for one. Its argument is a copy, so that the caller's request
// stays on the stack.
func (c *Cache) fetchOne(ctx context.Context, set *templateSet, variant variant, r request) (*Fragment, error) {
	one := []request{r}
	if err := c.fetch(ctx, set, variant, one); err != nil {
		return nil, err
	}
	if one[0].fragment == nil {
		return nil, store.ErrNotFound
	}
	return one[0].fragment, nil
}

// Fragments is Fragment for many products, in the order of wants, at the cost of one:
// one round trip to Redis for those that are not in memory, and one query for those
// that Redis does not have either. It returns nil for a product that does not exist,
// and, with an error, also for one that could not be fetched.
func (c *Cache) Fragments(ctx context.Context, view View, wants []store.Rev) ([]*Fragment, error) {
	found := make([]*Fragment, len(wants))
	set := c.templates.now.Load()
	variant, ok := set.variant(view)
	if !ok {
		return found, ErrNoView
	}
	requests := make([]request, len(wants))
	for i, want := range wants {
		requests[i] = c.newRequest(want)
	}
	err := c.fetch(ctx, set, variant, requests)
	for i := range requests {
		found[i] = requests[i].fragment
	}
	return found, err
}

// Cached returns the wanted version or a newer one if it is in memory, else nil. It
// never blocks.
func (c *Cache) Cached(view View, want store.Rev) *Fragment {
	want.Version = max(want.Version, c.Newest(want.ID))
	variant, _ := c.templates.now.Load().variant(view)
	return c.inMemory(variant, want)
}

// inMemory returns exactly that version, or nil.
func (c *Cache) inMemory(variant variant, r store.Rev) *Fragment {
	f, ok := c.memory.GetIfPresent(key{variant, r.ID})
	if !ok || f.Version != r.Version {
		return nil
	}
	c.metrics.memory.Inc()
	return f
}

// remember keeps a fragment in memory unless a newer version is known.
func (c *Cache) remember(f *Fragment) {
	c.external.note(f)
	if f.Version == c.Newest(f.ID) {
		c.memory.Set(key{f.variant(), f.ID}, f)
	}
}
