package render_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// hanging is a source that answers nobody until its context ends.
type hanging struct{ render.Source }

func (hanging) ProductsAtLeast(ctx context.Context, _ []store.Rev) ([]store.Product, error) {
	<-ctx.Done()
	return nil, store.ErrUnavailable
}

// An instance whose database hangs has what another one makes, one by one and many at once, and long before
// its own read is given up; and it keeps the other from making it for no longer than that one waits.
func TestHungDatabaseReadUsesFragmentOfOtherInstance(t *testing.T) {
	source, server := newRows(10, 10, 10, 10), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	registry := prometheus.NewRegistry()
	hangs := render.NewCache(hanging{source}, client(t, server.Addr()), shop, templates, render.CacheConfig{
		FetchTimeout: time.Minute, LoadWait: time.Minute, RedisTimeout: time.Minute, Lease: time.Minute, Metrics: registry,
	})
	works := cache(t, source, client(t, server.Addr()), templates)
	leases := func(result string) int {
		return int(counterOf(t, registry, "shelfcast_fragment_leases_total", result))
	}
	edit := func(version int64) (all []store.Rev) {
		for id := int64(1); id <= 4; id++ {
			r := rev(id, version)
			source.set(r)
			hangs.Observe(r)
			works.Observe(r)
			all = append(all, r)
		}
		return all
	}
	asked := make(chan error)
	ask := func(view render.View, all ...store.Rev) {
		found, err := hangs.Fragments(t.Context(), view, all)
		for i, f := range found {
			if f == nil || f.Rev != all[i] {
				t.Errorf("got %+v, want %v", f, all[i])
			}
		}
		asked <- err
	}
	got := func() {
		t.Helper()
		if err := <-asked; err != nil {
			t.Error(err)
		}
	}
	all := edit(20)
	go ask(render.Card, all...)
	testkit.Eventually(t, "all leases are taken", func() bool { return leases("acquired") == 4 })
	for _, r := range all {
		want(t, works, render.Card, r, r)
	}
	got()
	for n, r := range edit(30) {
		go func() {
			f, err := hangs.Fragment(t.Context(), render.Card, r)
			if err == nil && f.Rev != r {
				t.Errorf("got %v, want %v", f.Rev, r)
			}
			asked <- err
		}()
		testkit.Eventually(t, "the lease is taken", func() bool { return leases("acquired") == 5+n })
		want(t, works, render.Card, r, r)
		got()
	}
	if n := leases("hedged"); n != 8 {
		t.Errorf("%d were had from others, want 8", n)
	}
}

// counterOf is the counter of that name with that label.
func counterOf(t testing.TB, from prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, label)
	return 0
}
