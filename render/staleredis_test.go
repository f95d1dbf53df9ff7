package render_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// pasts are the ways in which a Redis comes to remember the past: what is edited
// by edit it does not have, and what it had before it answers with.
var pasts = map[string]func(redis *testkit.RedisServer, edit func()){
	"it was restarted from an old dump": func(redis *testkit.RedisServer, edit func()) {
		redis.Dump()
		edit()
		redis.Kill()
		redis.Start()
	},
	"it is full": func(redis *testkit.RedisServer, edit func()) {
		redis.SimulateOOM()
		edit()
	},
	"it cannot save": func(redis *testkit.RedisServer, edit func()) {
		redis.FailSaves()
		edit()
	},
}

// An instance that starts while Redis remembers the past serves what is committed.
func TestStaleRedisIsNotTrusted(t *testing.T) {
	t.Parallel()
	for name, past := range pasts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, server := newRows(10, 10), testkit.StartRedis(t)
			templates := load(t, render.Config{})
			first := cache(t, source, client(t, server.Addr()), templates)
			for _, id := range []int64{1, 2} {
				want(t, first, render.Card, rev(id, 0), rev(id, 10))
			}
			past(server, func() {
				for _, id := range []int64{1, 2} {
					source.set(rev(id, 20))
					first.Observe(rev(id, 20))
					want(t, first, render.Card, rev(id, 20), rev(id, 20))
				}
			})
			for _, vouched := range []time.Duration{-time.Hour, time.Hour} {
				one := cache(t, source, client(t, server.Addr()), templates)
				many := cache(t, source, client(t, server.Addr()), templates)
				one.TrustUntil(time.Now().Add(vouched), time.Time{})
				many.TrustUntil(time.Now().Add(vouched), time.Time{})
				for range 2 {
					want(t, one, render.Card, rev(1, 0), rev(1, 20))
					want(t, one, render.Card, rev(2, 0), rev(2, 20))
					wantAll(t, many, render.Card, shelf(2, 0), shelf(2, 20))
				}
			}
		})
	}
}

// What Redis had for a version that somebody named does not make memory certain of
// what is current.
func TestVersionFromRedisIsLowerBound(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	before := cache(t, source, client(t, server.Addr()), templates)
	wantAll(t, before, render.Card, shelf(2, 10), shelf(2, 10))
	server.Dump()
	source.set(rev(1, 20))
	source.set(rev(2, 20))
	server.Kill()
	server.Start()
	c := cache(t, source, client(t, server.Addr()), templates)
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	want(t, c, render.Card, rev(1, 10), rev(1, 10)) // a page of before asks for what it shows
	wantAll(t, c, render.Card, shelf(2, 10)[1:], shelf(2, 10)[1:])
	for _, id := range []int64{1, 2} {
		if _, certain := c.Current(rev(id, 0)); certain {
			t.Errorf("product %d: a version from Redis is certain", id)
		}
		want(t, c, render.Card, rev(id, 0), rev(id, 20))
		if version, certain := c.Current(rev(id, 0)); version != 20 || !certain {
			t.Errorf("product %d: after the database read: version %d, certain %v", id, version, certain)
		}
	}
}

// With MySQL away what Redis has still serves, and MySQL is hardly asked.
func TestRedisServesWithoutMySQL(t *testing.T) {
	const products = 50
	source, server := newRows(), testkit.StartRedis(t)
	for _, r := range shelf(products, 10) {
		source.set(r)
	}
	templates := load(t, render.Config{})
	last := cache(t, source, client(t, server.Addr()), templates)
	wantAll(t, last, render.Card, shelf(products, 10), shelf(products, 10))
	source.set(rev(products+1, 10)) // Redis does not have it
	source.down = true
	c := cache(t, source, client(t, server.Addr()), templates)
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	asks := source.asks.Load()
	for id := range int64(products) {
		want(t, c, render.Card, rev(id+1, 0), rev(id+1, 10))
	}
	wantAll(t, c, render.Card, shelf(products, 0), shelf(products, 10))
	if n := source.asks.Load() - asks; n > 10 {
		t.Errorf("%d products needed %d queries of an unavailable database", products, n)
	}
	if _, err := c.Fragment(t.Context(), render.Card, rev(products+1, 0)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("uncached product: error %v", err)
	}
	source.down = false
	source.set(rev(1, 20))
	testkit.Eventually(t, "the database is asked again", func() bool {
		f, err := c.Fragment(t.Context(), render.Card, rev(1, 0))
		return err == nil && f.Version == 20
	})
}

// A cold instance under load makes no more than a hundred queries a second for
// versions, however many products are asked for.
func TestColdInstanceBatchesVersionQueries(t *testing.T) {
	const products, shoppers = 2000, 50
	source, server := newRows(), testkit.StartRedis(t)
	for _, r := range shelf(products, 10) {
		source.set(r)
	}
	templates := load(t, render.Config{})
	warm := cache(t, source, client(t, server.Addr()), templates)
	for some := 0; some < products; some += 500 {
		wantAll(t, warm, render.Card, shelf(products, 10)[some:some+500], shelf(products, 10)[some:some+500])
	}
	c := cache(t, source, client(t, server.Addr()), templates)
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	asks, reads, began := source.asks.Load(), source.reads.Load(), time.Now()
	var all sync.WaitGroup
	var next atomic.Int64
	for range shoppers {
		all.Go(func() {
			for id := next.Add(1); id <= products; id = next.Add(1) {
				want(t, c, render.Card, rev(id, 0), rev(id, 10))
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	queries := source.asks.Load() - asks
	t.Logf("%d products for %d shoppers: %d queries in %v", products, shoppers, queries, took)
	if most := int64(took.Seconds()*100) + 1; queries > most {
		t.Errorf("%d queries in %v, want no more than %d", queries, took, most)
	}
	if n := source.reads.Load() - reads; n != 0 {
		t.Errorf("%d rows were read that were in Redis, want 0", n)
	}
	asks = source.asks.Load()
	for id := range int64(products) {
		want(t, c, render.Card, rev(id+1, 0), rev(id+1, 10))
	}
	if n := source.asks.Load() - asks; n != 0 {
		t.Errorf("%d queries for certain versions, want 0", n)
	}
}

// A version that was read before somebody asked is not an answer to him: it may be
// the one before a commit that he knows of.
func TestLaterRequestDoesNotJoinRunningQuery(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	slow := &slowVersions{rows: source, began: make(chan struct{}, 2), goOn: make(chan struct{})}
	c := cache(t, slow, client(t, server.Addr()), load(t, render.Config{}))
	ask := func(version int64) func() {
		return func() { want(t, c, render.Card, rev(1, 0), rev(1, version)) }
	}
	var all sync.WaitGroup
	all.Go(func() {
		if f, err := c.Fragment(t.Context(), render.Card, rev(1, 0)); err != nil || f.Version < 10 {
			t.Errorf("%v, %v", f, err)
		}
	})
	<-slow.began // it has read version 10
	source.set(rev(1, 20))
	for range 10 {
		all.Go(ask(20))
	}
	close(slow.goOn)
	all.Wait()
}

// slowVersions answers with versions that it read before goOn.
type slowVersions struct {
	*rows
	began, goOn chan struct{}
}

func (s *slowVersions) Versions(ctx context.Context, ids []int64) ([]store.Rev, error) {
	found, err := s.rows.Versions(ctx, ids)
	select {
	case s.began <- struct{}{}:
	default:
	}
	<-s.goOn
	return found, err
}

func BenchmarkCold(b *testing.B) {
	server := testkit.StartRedis(b)
	templates := load(b, render.Config{})
	source := newRows()
	for _, r := range shelf(5000, 10) {
		source.set(r)
	}
	warm := cache(b, source, client(b, server.Addr()), templates)
	for _, r := range shelf(5000, 10) {
		if _, err := warm.Fragment(b.Context(), render.Card, r); err != nil {
			b.Fatal(err)
		}
	}
	for _, shoppers := range []int{1, 64} {
		b.Run(fmt.Sprintf("shoppers=%d", shoppers), func(b *testing.B) {
			c := cache(b, source, client(b, server.Addr()), templates)
			c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
			asks := source.asks.Load()
			var next atomic.Int64
			var all sync.WaitGroup
			for range shoppers {
				all.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := c.Fragment(b.Context(), render.Card, rev(1+n%5000, 0)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(source.asks.Load()-asks)/b.Elapsed().Seconds(), "queries/s")
		})
	}
}
