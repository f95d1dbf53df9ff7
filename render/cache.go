package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"shelfcast/store"
	"shelfcast/store/tracing"
)

// A Source has the products as shoppers may see them. *store.DB is one.
type Source interface {
	Shown(ctx context.Context, want store.Rev) (store.Product, error)
	// ShownAll is Shown for many. Of those that are not there it has none.
	ShownAll(ctx context.Context, wants []store.Rev) ([]store.Product, error)
	Versions(ctx context.Context, ids []int64) ([]store.Rev, error)
	// Highest is the greatest id that a product has, 0 if there is none.
	Highest(ctx context.Context) (int64, error)
}

// CacheConfig tunes a Cache. The zero value means the defaults.
type CacheConfig struct {
	Memory       int64         // bytes of fragments in memory; 64 MiB
	RedisTimeout time.Duration // of one round trip; 250ms
	Lease        time.Duration // within which a fragment is made, or another instance makes it; 2s
	LeaseWait    time.Duration // for another instance's fragment, before we make our own; 500ms
	FillTimeout  time.Duration // of all that; 5s
	Fills        int           // that read the database at a time; 8
	FillWait     time.Duration // of one more, for one of those to end; 1s
	Unknown      time.Duration // for which a product that is not there is taken to be so still; 1s
	Metrics      prometheus.Registerer
	Log          *slog.Logger
}

// A Cache has every fragment, made at most once for the whole fleet. A key
// says all about its value (view, templates, product, version), so that nothing
// is ever invalidated. Its methods may be called concurrently.
type Cache struct {
	source    Source
	templates *Templates
	cfg       CacheConfig
	log       *slog.Logger
	current   *current
	memory    *otter.Cache[key, *Fragment] // of each product the newest only: who asks for an older one takes it
	shared    *shared
	unknown   *unknown
	external  external
	fills     *semaphore.Weighted
	flights   singleflight.Group
	metrics   metrics
}

// ErrBusy: the database is asked for as many fragments as it is to be asked at
// a time, and none of those ended soon enough. The same call may succeed later.
var ErrBusy = errors.New("too many fragments are being made")

// A key names a form, so that what templates made that are no more is never
// taken for what those make that came after.
type key struct {
	form
	id int64
}

// inMemory has exactly that version, or nil.
func (c *Cache) inMemory(form form, r store.Rev) *Fragment {
	f, ok := c.memory.GetIfPresent(key{form, r.ID})
	if !ok || f.Version != r.Version {
		return nil
	}
	c.metrics.memory.Inc()
	return f
}

// NewCache makes a Cache over source, shared through rdb with all others of the
// shop that have the same templates.
func NewCache(source Source, rdb redis.UniversalClient, shop *store.Shop, templates *Templates, cfg CacheConfig) *Cache {
	cfg.Memory = cmp.Or(cfg.Memory, 64<<20)
	cfg.RedisTimeout = cmp.Or(cfg.RedisTimeout, 250*time.Millisecond)
	cfg.Lease = cmp.Or(cfg.Lease, 2*time.Second)
	cfg.LeaseWait = cmp.Or(cfg.LeaseWait, 500*time.Millisecond)
	cfg.FillTimeout = cmp.Or(cfg.FillTimeout, 5*time.Second)
	cfg.Fills = cmp.Or(cfg.Fills, 8)
	cfg.FillWait = cmp.Or(cfg.FillWait, time.Second)
	cfg.Unknown = cmp.Or(cfg.Unknown, time.Second)
	c := &Cache{
		source: source, templates: templates, cfg: cfg,
		log:     cmp.Or(cfg.Log, slog.Default()),
		current: newCurrent(),
		memory: otter.Must(&otter.Options[key, *Fragment]{
			MaximumWeight: uint64(cfg.Memory),
			Weigher:       func(_ key, f *Fragment) uint32 { return f.size() },
		}),
		unknown: newUnknown(cfg.Unknown), external: newExternal(),
		fills:   semaphore.NewWeighted(int64(cfg.Fills)),
		metrics: newMetrics(cfg.Metrics, templates.Views()),
	}
	promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_fragment_memory_bytes", Help: "Fragments in memory, with what they take beside their text.",
	}, func() float64 { return float64(c.memory.WeightedSize()) })
	c.shared = newShared(rdb, shop, cfg.RedisTimeout, func(from, to string) {
		c.log.Warn("the Redis circuit breaker changed", "from", from, "to", to)
	})
	return c
}

// ParseView is the View of that name; false if there is none. The View is ours:
// the name may be on loan.
func (c *Cache) ParseView(name string) (View, bool) { return c.templates.ParseView(name) }

// Fragment is the product in that view at the version wanted or a newer one;
// version 0 wants the current one. It may be older than wanted only if the
// database has no such version; one that cannot be is not looked for. Errors: store.ErrNotFound, ErrBusy, or what kept
// the database from answering, or ctx's.
func (c *Cache) Fragment(ctx context.Context, view View, want store.Rev) (*Fragment, error) {
	if c.unknown.has(want.ID) {
		c.metrics.unknown.Inc()
		return nil, store.ErrNotFound
	}
	if !c.current.possible(want.Version) {
		want.Version = 0
	}
	newest, certain := c.current.version(want.ID)
	certain = certain || want.Version > 0
	want.Version = max(want.Version, newest)
	e := c.templates.now.Load()
	form, ok := e.form(view)
	if !ok {
		return nil, ErrNoView
	}
	if certain {
		if f := c.inMemory(form, want); f != nil {
			return f, nil
		}
	}
	tier(ctx, "waited")
	name := fmt.Sprint(form, want.ID, want.Version, certain)
	fill := c.flights.DoChan(name, func() (any, error) {
		// Not the first caller's context: others wait for it too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.FillTimeout)
		defer cancel()
		return c.fill(ctx, e, form, want, certain)
	})
	select {
	case r := <-fill:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Fragment), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Cached is that version of the product, or a newer one, if it is in memory;
// else nil. It never blocks.
func (c *Cache) Cached(view View, want store.Rev) *Fragment {
	want.Version = max(want.Version, c.Newest(want.ID))
	form, _ := c.templates.now.Load().form(view)
	return c.inMemory(form, want)
}

// fill finds the fragment in Redis or makes it. All of it is of one edition of
// the templates, whatever is loaded meanwhile.
func (c *Cache) fill(ctx context.Context, e *edition, form form, want store.Rev, certain bool) (*Fragment, error) {
	if certain {
		// A flight may have landed between the look into memory and this one.
		if f := c.inMemory(form, want); f != nil {
			tier(ctx, "memory")
			return f, nil
		}
	}
	patience := time.Now().Add(c.cfg.LeaseWait)
	for waited := false; ; {
		f, err := c.shared.find(ctx, form, want)
		if err != nil {
			break
		}
		if f != nil {
			if waited {
				c.metrics.waited.Inc()
			}
			c.found(ctx, f)
			return f, nil
		}
		if want.Version > c.Newest(want.ID) { // nobody has heard of it: is it there?
			a := &ask{want: want}
			if err := c.confirm(ctx, form, []*ask{a}); err != nil {
				return nil, err
			}
			if a.gone {
				return nil, store.ErrNotFound
			}
			if a.got != nil {
				return a.got, nil
			}
			want, certain = a.want, true
			if a.other {
				continue
			}
		}
		giveBack, ok, err := c.shared.lease(ctx, form, want.ID, c.cfg.Lease)
		if err != nil {
			break
		}
		if !ok && time.Now().After(patience) {
			c.metrics.overran.Inc()
			break
		}
		if !ok {
			// Another instance is making it.
			waited = true
			if err := pause(ctx, 10*time.Millisecond+rand.N(10*time.Millisecond)); err != nil {
				return nil, err
			}
			continue
		}
		defer giveBack()
		// It may have been put there between our look and our lease.
		if f, err := c.shared.find(ctx, form, want); err == nil && f != nil {
			c.found(ctx, f)
			return f, nil
		}
		c.metrics.taken.Inc()
		break
	}
	return c.make(ctx, e, form, want, certain)
}

// found remembers what Redis had.
func (c *Cache) found(ctx context.Context, f *Fragment) {
	tier(ctx, "redis")
	c.metrics.redis.Inc()
	c.remember(f)
}

// tier says in the trace of ctx, if there is one, where its fragment is from.
func tier(ctx context.Context, name string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("shelfcast.tier", name))
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// make reads the product and renders it. It is kept under the version that was
// read, whatever was asked for.
func (c *Cache) make(ctx context.Context, e *edition, form form, want store.Rev, certain bool) (*Fragment, error) {
	tier(ctx, "database")
	heard := c.Newest(want.ID)
	want.Version = max(want.Version, heard)
	if !certain {
		want.Version = 0 // what we know of is a lower bound, and the source has to know more
	}
	p, err := c.load(ctx, form.view, want)
	if err != nil {
		return nil, err
	}
	if f := c.inMemory(form, p.Rev); f != nil {
		return f, nil // a version was wanted that there is not
	}
	f, err := c.render(ctx, e, form, p, heard)
	if err != nil {
		return nil, err
	}
	if err := c.shared.put(ctx, f); err != nil {
		c.metrics.unshared.Inc()
	}
	return f, nil
}

// render makes the fragment of a product that was read when that version was the
// newest heard of, and remembers it.
func (c *Cache) render(ctx context.Context, e *edition, form form, p store.Product, heard int64) (*Fragment, error) {
	_, span := tracing.Start(ctx, "render")
	html, err := e.render(form.view, p)
	span.End()
	if err != nil {
		return nil, err
	}
	c.metrics.renders.WithLabelValues(string(form.view)).Inc()
	f, err := NewFragment(form.view, p, html)
	if err != nil {
		return nil, err
	}
	f.hash = form.hash
	c.read(ctx, heard, p.Rev)
	c.remember(f)
	return f, nil
}

// turn waits for a turn to read the database, until done is called. ErrBusy: it did
// not come soon enough.
func (c *Cache) turn(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FillWait)
	defer cancel()
	if err := c.fills.Acquire(ctx, 1); err != nil {
		c.metrics.busy.Inc()
		return nil, ErrBusy
	}
	return func() { c.fills.Release(1) }, nil
}

// load reads the product, when it is its turn.
func (c *Cache) load(ctx context.Context, view View, want store.Rev) (store.Product, error) {
	done, err := c.turn(ctx)
	if err != nil {
		return store.Product{}, err
	}
	defer done()
	c.metrics.loads.WithLabelValues(string(view)).Inc()
	p, err := c.source.Shown(ctx, want)
	if errors.Is(err, store.ErrNotFound) {
		c.missing(ctx, want.ID)
	}
	return p, err
}

func (c *Cache) remember(f *Fragment) {
	c.current.heard(f.Rev)
	c.external.note(f)
	if f.Version == c.Newest(f.ID) { // or else it is an old one that came late
		c.memory.Set(key{f.form(), f.ID}, f)
	}
}

type metrics struct {
	memory, redis  prometheus.Counter
	loads, renders *prometheus.CounterVec
	unshared, lost prometheus.Counter
	busy, unknown  prometheus.Counter

	taken, waited, overran prometheus.Counter // leases
}

// newMetrics are at nought for each of these views: what begins with its first
// count has no increase that could be seen.
func newMetrics(to prometheus.Registerer, views []View) metrics {
	metric := promauto.With(to) // registers nowhere if it is nil
	hits := metric.NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_fragment_hits_total", Help: "Fragments found, by tier: memory or redis.",
	}, []string{"tier"})
	leases := metric.NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_fragment_leases_total",
		Help: "Who makes a fragment that nobody has: taken by this instance; waited for another's; overran, so that we made our own after all.",
	}, []string{"result"})
	m := metrics{
		taken:   leases.WithLabelValues("taken"),
		waited:  leases.WithLabelValues("waited"),
		overran: leases.WithLabelValues("overran"),
		memory:  hits.WithLabelValues("memory"),
		redis:   hits.WithLabelValues("redis"),
		loads: metric.NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_fragment_loads_total", Help: "Rows read to make a fragment, by view.",
		}, []string{"view"}),
		renders: metric.NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_fragment_renders_total", Help: "Fragments made, by view.",
		}, []string{"view"}),
		unshared: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_unshared_total", Help: "Fragments made that Redis did not take.",
		}),
		busy: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_busy_total", Help: "Fragments not made because too many were being made.",
		}),
		unknown: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_fragment_unknown_total", Help: "Requests for products that are not there, answered without the database.",
		}),
		lost: metric.NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_lost_versions_total", Help: "Versions that the database had and has no more.",
		}),
	}
	for _, view := range views {
		m.loads.WithLabelValues(string(view))
		m.renders.WithLabelValues(string(view))
	}
	return m
}
