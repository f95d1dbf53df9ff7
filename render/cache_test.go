package render_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

var shop = store.NamedShop("tests")

func TestMain(m *testing.M) { testkit.Main(m) }

// rows stand for the store, where order and counting are the subject.
type rows struct {
	mu    sync.Mutex
	all   map[int64]store.Product
	reads atomic.Int64  // of rows
	asks  atomic.Int64  // of versions
	slow  chan struct{} // if not nil, a read waits until it is closed

	// Guarded by mu.
	wanted store.Rev     // by the last read
	of     map[int64]int // how often each was read
	down   bool          // it does not answer
}

func newRows(versions ...int64) *rows {
	r := &rows{all: map[int64]store.Product{}, of: map[int64]int{}}
	for i, v := range versions {
		r.set(store.Rev{ID: int64(i + 1), Version: v})
	}
	return r
}

func (r *rows) set(rev store.Rev) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := lamp()
	p.Rev, p.Title = rev, fmt.Sprint("title of version ", rev.Version)
	r.all[rev.ID] = p
}

func (r *rows) ProductsAtLeast(_ context.Context, wants []store.Rev) (found []store.Product, _ error) {
	r.reads.Add(1)
	if r.slow != nil {
		<-r.slow
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, store.ErrUnavailable
	}
	for _, want := range wants {
		r.wanted = want
		r.of[want.ID]++
		if p, ok := r.all[want.ID]; ok {
			found = append(found, p)
		}
	}
	return found, nil
}

func (r *rows) MaxID(context.Context) (highest int64, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.all {
		highest = max(highest, id)
	}
	return highest, nil
}

func (r *rows) Versions(_ context.Context, ids []int64) (revs []store.Rev, err error) {
	r.asks.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, store.ErrUnavailable
	}
	for _, id := range ids {
		if p, ok := r.all[id]; ok {
			revs = append(revs, p.Rev)
		}
	}
	return revs, nil
}

func client(t testing.TB, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func cache(t testing.TB, source render.Source, rdb *redis.Client, templates *render.Templates) *render.Cache {
	return render.NewCache(source, rdb, shop, templates, render.CacheConfig{Log: slog.New(slog.DiscardHandler)})
}

// patient is two instances that take no slow machine for a Redis that fails, or for
// another instance that died: then each makes by itself what it lacks.
func patient(t testing.TB, source render.Source, redis string, templates *render.Templates) (fleet []*render.Cache) {
	const long = time.Minute
	for range 2 {
		fleet = append(fleet, render.NewCache(source, client(t, redis), shop, templates, render.CacheConfig{
			RedisTimeout: long, Lease: long, LeaseWait: long, FetchTimeout: long, LoadWait: long,
			Log: slog.New(slog.DiscardHandler),
		}))
	}
	return fleet
}

func rev(id, version int64) store.Rev { return store.Rev{ID: id, Version: version} }

func want(t *testing.T, c *render.Cache, view render.View, ask, want store.Rev) {
	t.Helper()
	f, err := c.Fragment(t.Context(), view, ask)
	if err != nil {
		t.Errorf("Fragment(%v): %v", ask, err)
	} else if f.Rev != want || f.View != view || !strings.Contains(f.HTML, fmt.Sprint("title of version ", want.Version)) {
		t.Errorf("asked for %v: got %v: %s; want %v", ask, f.Rev, f.HTML, want)
	}
}

func TestFragmentIsRenderedOncePerFleet(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	fleet := patient(t, source, server.Addr(), templates)
	source.slow = make(chan struct{})
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() { want(t, fleet[n%2], render.Card, rev(int64(n/2%2+1), 0), rev(int64(n/2%2+1), 10)) })
	}
	testkit.Eventually(t, "both products are being read", func() bool { return source.reads.Load() == 2 })
	close(source.slow)
	all.Wait()
	if n := source.reads.Load(); n != 2 {
		t.Errorf("%d reads of two products", n)
	}
	want(t, fleet[0], render.Detail, rev(1, 10), rev(1, 10))
	want(t, fleet[1], render.Detail, rev(1, 10), rev(1, 10))
	if n := source.reads.Load(); n != 3 {
		t.Errorf("%d reads, want one more for the other view", n)
	}
}

// Without Redis, too, an instance reads and renders once for all that ask it.
func TestFragmentIsRenderedOncePerInstanceWithoutRedis(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	server.Kill()
	source.slow = make(chan struct{})
	var asking, all sync.WaitGroup
	for n := range 100 {
		asking.Add(1)
		all.Go(func() {
			asking.Done()
			want(t, c, render.Card, rev(int64(n%2+1), 10), rev(int64(n%2+1), 10))
		})
	}
	asking.Wait()
	testkit.Eventually(t, "both products are being read", func() bool { return source.reads.Load() >= 2 })
	close(source.slow)
	all.Wait()
	if n := source.reads.Load(); n != 2 {
		t.Errorf("%d reads of two products", n)
	}
}

// What is asked for is "this or newer", and what is kept is what was read.
func TestFragmentIsWantedVersionOrNewer(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	want(t, c, render.Card, rev(1, 10), rev(1, 10))
	want(t, c, render.Card, rev(1, 7), rev(1, 10)) // an old link
	source.set(rev(1, 12))
	want(t, c, render.Card, rev(1, 11), rev(1, 12)) // two edits, heard of one
	want(t, c, render.Card, rev(1, 12), rev(1, 12))
	if n := source.reads.Load(); n != 2 {
		t.Errorf("%d reads", n)
	}
	want(t, c, render.Card, rev(1, 99), rev(1, 12)) // there is no such version
	source.set(rev(1, 99))
	want(t, c, render.Card, rev(1, 99), rev(1, 99)) // and nothing was kept as if it were that
	want(t, c, render.Card, rev(2, 0), rev(2, 10))
	if _, err := c.Fragment(t.Context(), render.Card, rev(3, 0)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown product: error %v", err)
	}
}

// While the feed vouches for it memory says what is current; else the database does.
func TestMemoryIsTrustedOnlyWhileFeedVouches(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	a, b := cache(t, source, client(t, server.Addr()), templates), cache(t, source, client(t, server.Addr()), templates)
	want(t, a, render.Card, rev(1, 0), rev(1, 10))
	want(t, b, render.Card, rev(1, 0), rev(1, 10)) // from Redis
	source.set(rev(1, 11))
	a.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	want(t, a, render.Card, rev(1, 0), rev(1, 10)) // nobody has said so
	a.Observe(rev(1, 11))
	want(t, a, render.Card, rev(1, 0), rev(1, 11))
	want(t, b, render.Card, rev(1, 0), rev(1, 11)) // the database says so, and Redis has it
	if n := source.reads.Load(); n != 2 {
		t.Errorf("%d reads", n)
	}
	server.Kill()
	source.set(rev(1, 12))
	want(t, b, render.Card, rev(1, 0), rev(1, 12)) // the row itself
	b.Observe(rev(2, 10))
	want(t, b, render.Card, rev(2, 10), rev(2, 10))
}

// A source with a replica has to know how new a row is to be: as new as all that
// was heard of, or as the primary says if that may not be all.
func TestSourceReceivesMinimumVersion(t *testing.T) {
	source, server := newRows(30, 30), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	wanted := func(want store.Rev) {
		t.Helper()
		if source.wanted != want {
			t.Errorf("the source was asked for %v, want %v", source.wanted, want)
		}
	}
	c.Observe(rev(1, 20))
	want(t, c, render.Card, rev(1, 0), rev(1, 30))
	wanted(rev(1, 30)) // nobody vouches that 20 is all: its primary was asked
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	c.Observe(rev(2, 20))
	want(t, c, render.Card, rev(2, 10), rev(2, 30))
	wanted(rev(2, 20))
}

func TestTwoReleasesShareOneRedis(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	const html = `<i data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="card">{{.Title}} anew</i>`
	mine := fstest.MapFS{"card.html": {Data: []byte(html)}}
	before := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	after := cache(t, source, client(t, server.Addr()), load(t, render.Config{Files: []fs.FS{mine}}))
	for range 2 {
		for _, id := range []int64{1, 2} {
			old, err := before.Fragment(t.Context(), render.Card, rev(id, 10))
			if err != nil || strings.Contains(old.HTML, "anew") {
				t.Errorf("%v %s", err, old.HTML)
			}
			fresh, err := after.Fragment(t.Context(), render.Card, rev(id, 10))
			if err != nil || !strings.Contains(fresh.HTML, "anew") {
				t.Errorf("%v %s", err, fresh.HTML)
			}
		}
	}
}

// What somebody else has put under our keys is a miss.
func TestInvalidRedisValueIsCacheMiss(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	rdb := client(t, server.Addr())
	for id, value := range map[int64]string{1: "garbage", 2: `{"id":1,"version":10,"view":"card","html":"of another"}`} {
		key := fmt.Sprintf("shelfcast:tests:fragment:card:%s:{%d}:10", templates.Hash(), id)
		if err := rdb.Set(t.Context(), key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want(t, cache(t, source, rdb, templates), render.Card, rev(id, 10), rev(id, 10))
	}
}

// The holder of a lease that dies keeps the others waiting for a moment only.
func TestUnreleasedLeaseDelaysOthersBriefly(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	rdb := client(t, server.Addr())
	for id := range int64(2) {
		key := fmt.Sprintf("shelfcast:tests:lease:card:%s:{%d}", templates.Hash(), id+1)
		if err := rdb.Set(t.Context(), key, "the dead", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		want(t, cache(t, source, rdb, templates), render.Card, rev(id+1, 10), rev(id+1, 10))
		if got := rdb.Get(t.Context(), key).Val(); got != "the dead" {
			t.Errorf("another's lease was taken: %q", got)
		}
	}
}

// A Redis that hangs is left alone after a few tries, and used again when it is
// back.
func TestHungRedisIsSkipped(t *testing.T) {
	const products = 50
	server := testkit.StartRedis(t)
	source := newRows()
	for id := range int64(products) {
		source.set(rev(id+1, 10))
	}
	rdb := client(t, server.Addr())
	var tries tries
	rdb.AddHook(&tries)
	templates := load(t, render.Config{})
	c := cache(t, source, rdb, templates)
	server.Pause()
	for id := range int64(products) {
		want(t, c, render.Card, rev(id+1, 10), rev(id+1, 10))
	}
	// Three open the circuit; after each second one more may look.
	if n := tries.Load(); n < 3 || n > 10 {
		t.Errorf("%d products needed %d attempts on a hung Redis", products, n)
	}
	server.Resume()
	version := int64(10)
	testkit.Eventually(t, "Redis is used again", func() bool {
		version++
		source.set(rev(1, version))
		want(t, c, render.Card, rev(1, version), rev(1, version))
		key := fmt.Sprintf("shelfcast:tests:fragment:card:%s:{1}:%d", templates.Hash(), version)
		return client(t, server.Addr()).Exists(t.Context(), key).Val() == 1
	})
}

// tries counts what is sent to Redis.
type tries struct{ atomic.Int64 }

func (*tries) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *tries) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		n.Add(1)
		return next(ctx, cmd)
	}
}

func (n *tries) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n.Add(1)
		return next(ctx, cmds)
	}
}

// A database that was restored from a backup has less than was heard of.
func TestRolledBackVersionIsForgotten(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	c := cache(t, source, client(t, server.Addr()), templates)
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	for id := int64(1); id <= 2; id++ {
		c.Observe(rev(id, 20))
		source.set(rev(id, 20))
		want(t, c, render.Card, rev(id, 0), rev(id, 20))
		c.Confirm([]store.Rev{rev(id, 20)}, time.Now()) // the feed has read it
		source.set(rev(id, 15))
	}
	found, err := c.ReadVersions(t.Context(), []int64{1})
	if err != nil || len(found) != 1 || found[1] != 15 {
		t.Fatalf("%v, %v", found, err)
	}
	want(t, c, render.Card, rev(1, 0), rev(1, 15))
	want(t, cache(t, source, client(t, server.Addr()), templates), render.Card, rev(1, 0), rev(1, 15)) // Redis knows too
	// Of what no instance has heard only the database can tell.
	if version, certain := c.Current(rev(1, 15)); version != 15 || !certain {
		t.Errorf("%v, %v", version, certain)
	}
	if _, certain := c.Current(rev(2, 21)); certain {
		t.Error("a version is certain although the page shows a newer one")
	}
	if _, certain := c.Current(rev(9, 1)); certain {
		t.Error("a version of an unobserved product is certain")
	}
	c.TrustUntil(time.Now().Add(-time.Hour), time.Time{})
	if _, certain := c.Current(rev(1, 15)); certain {
		t.Error("a version is certain without TrustUntil")
	}
}

// When the database was restored neither memory nor Redis says what is current,
// also of what nobody compares.
func TestResetForgetsCurrentVersions(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	c := cache(t, source, client(t, server.Addr()), templates)
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	for id := int64(1); id <= 2; id++ {
		source.set(rev(id, 20))
		c.Observe(rev(id, 20))
		want(t, c, render.Card, rev(id, 0), rev(id, 20))
		source.set(rev(id, 10))
	}
	c.Reset(t.Context())
	for id := int64(1); id <= 2; id++ {
		if _, certain := c.Current(rev(id, 20)); certain {
			t.Error("a version is certain after Reset")
		}
		cold := cache(t, source, client(t, server.Addr()), templates)
		want(t, cold, render.Card, rev(id, 0), rev(id, 10))
		want(t, c, render.Card, rev(id, 0), rev(id, 10))
	}
}

// Beyond the limit nobody reads the database; who has waited for a while is told
// to come back.
func TestConcurrentLoadsAreLimited(t *testing.T) {
	source, server := newRows(10, 10, 10, 10), testkit.StartRedis(t)
	source.slow = make(chan struct{})
	c := render.NewCache(source, client(t, server.Addr()), shop, load(t, render.Config{}), render.CacheConfig{
		MaxLoads: 2, LoadWait: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	var patient sync.WaitGroup
	for id := int64(1); id <= 2; id++ {
		patient.Go(func() { want(t, c, render.Card, rev(id, 10), rev(id, 10)) })
	}
	testkit.Eventually(t, "two products are being read", func() bool { return source.reads.Load() == 2 })
	for id := int64(3); id <= 4; id++ {
		if _, err := c.Fragment(t.Context(), render.Card, rev(id, 10)); !errors.Is(err, render.ErrBusy) {
			t.Errorf("third concurrent load: error %v", err)
		}
	}
	close(source.slow)
	patient.Wait()
	want(t, c, render.Card, rev(3, 10), rev(3, 10))
	if n := source.reads.Load(); n != 3 {
		t.Errorf("%d reads", n)
	}
}

func TestAbsentProductsAreNotReadAgain(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	source.set(rev(5, 10))
	rdb, templates := client(t, server.Addr()), load(t, render.Config{})
	make := func(keep time.Duration) *render.Cache {
		return render.NewCache(source, rdb, shop, templates,
			render.CacheConfig{AbsentFor: keep, Log: slog.New(slog.DiscardHandler)})
	}
	c := make(time.Hour)
	unknown := func(id int64) {
		t.Helper()
		if _, err := c.Fragment(t.Context(), render.Card, rev(id, 0)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("product %d: %v", id, err)
		}
	}
	for range 2 {
		for id := int64(1); id <= 1000; id++ {
			if id != 1 && id != 2 && id != 5 {
				unknown(id)
			}
		}
	}
	// 3 and 4; 6 is above all that there are.
	if n, reads := source.asks.Load(), source.reads.Load(); n != 2 || reads != 0 {
		t.Errorf("%d queries, %d reads", n, reads)
	}
	if found, err := c.ReadVersions(t.Context(), []int64{1, 3, 700}); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	for _, id := range []int64{3, 9} {
		source.set(rev(id, 20))
		c.Observe(rev(id, 20))
		want(t, c, render.Card, rev(id, 0), rev(id, 20))
	}
	unknown(4)
	unknown(10)
	if n := source.reads.Load(); n != 2 {
		t.Errorf("%d reads after two products were created", n)
	}
	// Nothing is believed for long: nobody may have told of it.
	c = make(10 * time.Millisecond)
	unknown(4)
	unknown(11)
	source.set(rev(4, 20))
	source.set(rev(11, 20))
	for _, id := range []int64{4, 11} {
		testkit.Eventually(t, "the product is there", func() bool {
			_, err := c.Fragment(t.Context(), render.Card, rev(id, 0))
			return err == nil
		})
	}
}

func BenchmarkFragment(b *testing.B) {
	server := testkit.StartRedis(b)
	source := newRows(10)
	templates := load(b, render.Config{})
	rdb := client(b, server.Addr())
	b.Run("from=memory", func(b *testing.B) {
		c := cache(b, source, rdb, templates)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Fragment(b.Context(), render.Card, rev(1, 10)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("from=redis", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			cold := cache(b, source, rdb, templates)
			b.StartTimer()
			if _, err := cold.Fragment(b.Context(), render.Card, rev(1, 10)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("render", func(b *testing.B) {
		p := lamp()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := templates.Render(render.Card, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
