package render_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// counted is a connection to Redis that is open, and of which is counted how
// often something is sent.
func counted(t testing.TB, addr string) (*redis.Client, *tries) {
	rdb, n := client(t, addr), &tries{}
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := pipelinePing(t, rdb); err != nil { // pipelines have connections of their own
		t.Fatal(err)
	}
	rdb.AddHook(n)
	return rdb, n
}

func pipelinePing(t testing.TB, rdb *redis.Client) error {
	pipe := rdb.Pipeline()
	pipe.Ping(t.Context())
	pipe.Ping(t.Context())
	_, err := pipe.Exec(t.Context())
	return err
}

func shelf(products int, version int64) (wants []store.Rev) {
	for id := range int64(products) {
		wants = append(wants, rev(id+1, version))
	}
	return wants
}

// wantAll asks for many and wants these, of which none is another's.
func wantAll(t *testing.T, c *render.Cache, view render.View, asked, wanted []store.Rev) {
	t.Helper()
	found, err := c.Fragments(t.Context(), view, asked)
	if err != nil || len(found) != len(wanted) {
		t.Fatalf("%d fragments, %v", len(found), err)
	}
	for i, f := range found {
		switch {
		case wanted[i] == store.Rev{}:
			if f != nil {
				t.Errorf("%v: got %v of a product that there is not", asked[i], f.Rev)
			}
		case f == nil:
			t.Errorf("%v: got nothing", asked[i])
		case f.Rev != wanted[i] || f.View != view ||
			!strings.Contains(f.HTML, fmt.Sprint("title of version ", wanted[i].Version)):
			t.Errorf("%v: got %v, want %v: %s", asked[i], f.Rev, wanted[i], f.HTML)
		}
	}
}

// A page of 48 cards costs an instance that is cold one round trip to Redis, and
// one that is warm none; an edit costs that one card. Made are they in one query.
func TestCardsNeedOneRedisRoundTrip(t *testing.T) {
	const cards = 48
	source, server := newRows(), testkit.StartRedis(t)
	for _, r := range shelf(cards, 10) {
		source.set(r)
	}
	templates := load(t, render.Config{})
	for _, c := range []struct {
		name         string
		trips, reads int64
	}{{"nobody has them", 3, 1}, {"Redis has them", 1, 0}} {
		rdb, trips := counted(t, server.Addr())
		source.reads.Store(0)
		cache := cache(t, source, rdb, templates)
		wantAll(t, cache, render.Card, shelf(cards, 10), shelf(cards, 10))
		if n := trips.Load(); n != c.trips {
			t.Errorf("%s: %d round trips, want %d", c.name, n, c.trips)
		}
		if n := source.reads.Load(); n != c.reads {
			t.Errorf("%s: %d queries, want %d", c.name, n, c.reads)
		}
		trips.Store(0)
		wantAll(t, cache, render.Card, shelf(cards, 10), shelf(cards, 10))
		if n := trips.Load(); n != 0 {
			t.Errorf("%s: %d round trips for cards in memory, want 0", c.name, n)
		}
	}
	for id, n := range source.of {
		if n != 1 {
			t.Errorf("product %d was read %d times", id, n)
		}
	}
}

// What Redis or this instance knows to be newer than the list is what is shown.
func TestCardsAreNewestKnownVersions(t *testing.T) {
	source, server := newRows(10, 10, 10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	a := cache(t, source, client(t, server.Addr()), templates)
	wantAll(t, a, render.Card, shelf(4, 10), shelf(4, 10))
	source.set(rev(2, 20))
	source.set(rev(3, 30))
	a.Observe(rev(2, 20))
	a.Observe(rev(3, 30))
	current := []store.Rev{rev(1, 10), rev(2, 20), rev(3, 30), rev(4, 10)}
	wantAll(t, a, render.Card, shelf(4, 10), current)
	rdb, trips := counted(t, server.Addr())
	b := cache(t, source, rdb, templates)
	reads := source.reads.Load()
	wantAll(t, b, render.Card, shelf(4, 10), current)
	if n := trips.Load(); n != 2 {
		t.Errorf("%d round trips: one, and one for what is newer", n)
	}
	// The database says so, and Redis has them.
	wantAll(t, b, render.Card, []store.Rev{rev(3, 0), rev(1, 0)}, []store.Rev{rev(3, 30), rev(1, 10)})
	if n := source.reads.Load() - reads; n != 0 {
		t.Errorf("%d queries for cards in Redis, want 0", n)
	}
	server.Kill()
	source.set(rev(1, 11))
	// The rows.
	wantAll(t, b, render.Card, []store.Rev{rev(1, 0), rev(9, 7), rev(4, 10)}, []store.Rev{rev(1, 11), {}, rev(4, 10)})
	c := cache(t, source, client(t, server.Addr()), templates)
	wantAll(t, c, render.Detail, shelf(4, 10), []store.Rev{rev(1, 11), rev(2, 20), rev(3, 30), rev(4, 10)})
}

// However many ask two instances for lists that overlap, and for single cards,
// each is made once.
func TestOverlappingListsRenderEachCardOnce(t *testing.T) {
	const products = 30
	source, server := newRows(), testkit.StartRedis(t)
	for _, r := range shelf(products, 10) {
		source.set(r)
	}
	templates := load(t, render.Config{})
	fleet := patient(t, source, server.Addr(), templates)
	source.slow = make(chan struct{})
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			if n%4 == 3 {
				want(t, fleet[n/4%2], render.Card, rev(int64(n%products+1), 10), rev(int64(n%products+1), 10))
				return
			}
			some := shelf(products, 10)[n%3*8 : n%3*8+14]
			wantAll(t, fleet[n%2], render.Card, some, some)
		})
	}
	testkit.Eventually(t, "some are being read", func() bool { return source.reads.Load() > 0 })
	close(source.slow)
	all.Wait()
	for id, n := range source.of {
		if n != 1 {
			t.Errorf("product %d was read %d times", id, n)
		}
	}
}

// A database that does not answer keeps from the page only what nobody has.
func TestFailedLoadOmitsOnlyUncachedCards(t *testing.T) {
	source, server := newRows(10, 10, 10), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	wantAll(t, c, render.Card, shelf(2, 10), shelf(2, 10))
	source.down = true
	c.Observe(rev(1, 20))
	found, err := c.Fragments(t.Context(), render.Card, shelf(3, 10))
	if !errors.Is(err, store.ErrUnavailable) || len(found) != 3 || found[0] != nil || found[1] == nil || found[2] != nil {
		t.Errorf("%v, %v", found, err)
	}
	source.down = false
	source.set(rev(1, 20))
	testkit.Eventually(t, "the database is asked again", func() bool {
		_, err := c.Fragments(t.Context(), render.Card, shelf(3, 10))
		return err == nil
	})
	wantAll(t, c, render.Card, shelf(3, 10), []store.Rev{rev(1, 20), rev(2, 10), rev(3, 10)})
}

// The holder of leases that dies keeps a page waiting for a moment only, and a
// list takes one of the turns at the database.
func TestListTakesOneLoadSlot(t *testing.T) {
	source, server := newRows(10, 10, 10, 10), testkit.StartRedis(t)
	templates, rdb := load(t, render.Config{}), client(t, server.Addr())
	for id := range int64(2) {
		lease := fmt.Sprintf("shelfcast:tests:lease:card:%s:{%d}", templates.Hash(), id+1)
		if err := rdb.Set(t.Context(), lease, "the dead", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantAll(t, cache(t, source, rdb, templates), render.Card, shelf(4, 10), shelf(4, 10))

	source.slow = make(chan struct{})
	c := render.NewCache(source, rdb, shop, templates, render.CacheConfig{
		MaxLoads: 1, LoadWait: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	reads := source.reads.Load()
	var patient sync.WaitGroup
	patient.Go(func() { wantAll(t, c, render.Detail, shelf(2, 10), shelf(2, 10)) })
	testkit.Eventually(t, "a list is being read", func() bool { return source.reads.Load() == reads+1 })
	if _, err := c.Fragments(t.Context(), render.Detail, shelf(4, 10)[2:]); !errors.Is(err, render.ErrBusy) {
		t.Errorf("second concurrent load: error %v", err)
	}
	close(source.slow)
	patient.Wait()
	wantAll(t, c, render.Detail, shelf(4, 10), shelf(4, 10))
}
