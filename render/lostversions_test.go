package render_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A version that was heard of, and that this server was never seen to have, may yet come:
// for a minute nothing goes back.
func TestLaggingVersionIsAwaited(t *testing.T) {
	for name, late := range map[string]func(*render.Cache){
		"it was only heard of": func(c *render.Cache) { c.Observe(rev(1, 20)) },
		"another server had it": func(c *render.Cache) {
			c.Observe(rev(1, 20))
			c.Confirm([]store.Rev{rev(1, 20)}, time.Now())
			c.ServerChanged()
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := newRows(10, 10)
			templates := load(t, render.Config{})
			synctest.Test(t, func(t *testing.T) {
				c := render.NewCache(source, client(t, "127.0.0.1:1"), shop, templates,
					render.CacheConfig{Log: slog.New(slog.DiscardHandler)})
				late(c)
				is := func(want int64, awaited bool) {
					t.Helper()
					found, err := c.ReadVersions(t.Context(), []int64{1})
					if err != nil || len(found) != 1 || found[1] != want || c.Lagging(rev(1, 20)) != awaited {
						t.Errorf("got %v, %v, lagging %v", found, err, c.Lagging(rev(1, 20)))
					}
				}
				is(20, true)
				time.Sleep(50 * time.Second)
				is(20, true)
				time.Sleep(15 * time.Second)
				is(10, false)
				late(c)
				is(20, true)
				source.set(rev(1, 20))
				is(20, false)
				source.set(rev(1, 15)) // which only a restore can do
				is(15, false)
			})
		})
	}
}

// A row that was deleted is one more version, which says that the product is gone, until there is another row.
func TestDeletedRowBecomesUnavailable(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), load(t, render.Config{}))
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	if _, err := c.ReadVersions(t.Context(), []int64{1, 2}); err != nil {
		t.Fatal(err)
	}
	want(t, c, render.Card, rev(1, 0), rev(1, 10))
	source.drop(1)
	for range 2 {
		if found, err := c.ReadVersions(t.Context(), []int64{1}); err != nil || len(found) != 1 || found[1] != 11 {
			t.Errorf("%v, %v", found, err)
		}
		for _, asked := range []int64{0, 10, 11} {
			f, err := c.Fragment(t.Context(), render.Card, rev(1, asked))
			if err != nil || !f.Unavailable || f.Version != 11 {
				t.Errorf("asked for %d: %+v, %v", asked, f, err)
			}
		}
		all, err := c.Fragments(t.Context(), render.Detail, []store.Rev{rev(1, 10), rev(2, 10)})
		if err != nil || !all[0].Unavailable || !all[0].PageMeta().Archived || all[1].Unavailable {
			t.Errorf("%+v, %v", all, err)
		}
	}
	source.drop(2) // and nobody has compared it yet
	if f, err := c.Fragment(t.Context(), render.Card, rev(2, 0)); err != nil || !f.Unavailable {
		t.Errorf("%+v, %v", f, err)
	}
	source.set(rev(1, 30))
	c.Observe(rev(1, 30))
	want(t, c, render.Card, rev(1, 0), rev(1, 30))
	if _, err := c.Fragment(t.Context(), render.Card, rev(99, 0)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("product that never existed: error %v", err)
	}
}

// drop deletes a row.
func (r *rows) drop(id int64) { r.mu.Lock(); defer r.mu.Unlock(); delete(r.all, id) }

// A version that was only read, by a page that came just then, or of Redis, is news when the bus or the feed
// tells of it, and no more after that: whoever follows was not told by the read.
func TestReadVersionIsAnnouncedOnce(t *testing.T) {
	source, server := newRows(10, 10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	a, b := cache(t, source, client(t, server.Addr()), templates), cache(t, source, client(t, server.Addr()), templates)
	want(t, a, render.Card, rev(1, 0), rev(1, 10))
	want(t, b, render.Card, rev(1, 0), rev(1, 10)) // Redis says so
	if _, err := a.ReadVersions(t.Context(), []int64{2}); err != nil {
		t.Fatal(err)
	}
	a.Confirm([]store.Rev{rev(1, 10)}, time.Now())
	for _, c := range []*render.Cache{a, b} {
		for id := int64(1); id <= 3; id++ {
			if !c.Observe(rev(id, 10)) {
				t.Errorf("version %d was only read, and Observe reports no news", id)
			}
			if c.Observe(rev(id, 10)) || c.Observe(rev(id, 9)) {
				t.Errorf("version %d is news twice", id)
			}
			if _, err := c.ReadVersions(t.Context(), []int64{id}); err != nil || c.Observe(rev(id, 10)) {
				t.Errorf("version %d is news after it was announced and read: %v", id, err)
			}
		}
	}
}

// A row that was inserted again while the database was read without it is not taken for
// deleted: what would be rendered of that would be kept under its version.
func TestProductObservedDuringReadIsNotDeleted(t *testing.T) {
	source, server := newRows(10), testkit.StartRedis(t)
	var c *render.Cache
	during := duringRead{source, func() { c.Observe(rev(1, 20)) }}
	c = cache(t, during, client(t, server.Addr()), load(t, render.Config{}))
	c.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	if _, err := c.ReadVersions(t.Context(), []int64{1}); err != nil {
		t.Fatal(err)
	}
	source.drop(1)
	if f, err := c.Fragment(t.Context(), render.Card, rev(1, 10)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v, %v", f, err)
	}
	source.set(rev(1, 20))
	want(t, c, render.Card, rev(1, 20), rev(1, 20))
}

// duringRead calls a function when it has read products.
type duringRead struct {
	*rows
	then func()
}

func (d duringRead) ProductsAtLeast(ctx context.Context, wants []store.Rev) ([]store.Product, error) {
	defer d.then()
	return d.rows.ProductsAtLeast(ctx, wants)
}
