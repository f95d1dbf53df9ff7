package render_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// currentIn returns what Redis has as the current version of a product.
func currentIn(t *testing.T, rdb redis.UniversalClient, id int64) string {
	t.Helper()
	return rdb.Get(t.Context(), fmt.Sprintf("shelfcast:tests:current:{%d}", id)).Val()
}

// What Redis did not accept is shared with the next call, by each instance, and a version
// never replaces a greater one.
func TestShareRetriesFailedWrites(t *testing.T) {
	source, server := newRows(), testkit.StartRedis(t)
	templates := load(t, render.Config{})
	rdb := client(t, server.Addr())
	a, b := cache(t, source, rdb, templates), cache(t, source, client(t, server.Addr()), templates)
	server.Kill()
	batch := make([]store.Rev, 1500)
	for n := range batch {
		batch[n] = rev(int64(n+1), 10)
	}
	if err := a.Announce(t.Context(), batch...); err == nil {
		t.Error("Announce succeeded without Redis")
	}
	if err := b.Share(t.Context(), rev(1600, 20), rev(1600, 19)); err == nil {
		t.Error("Share succeeded without Redis")
	}
	server.Start()
	testkit.Eventually(t, "Redis is back", func() bool { return a.Announce(t.Context(), rev(1700, 30)) == nil })
	if got := currentIn(t, rdb, 1500) + currentIn(t, rdb, 1700); got != "30" {
		t.Errorf("Announce wrote more than it was given: %q", got)
	}
	for _, c := range []*render.Cache{a, b} {
		testkit.Eventually(t, "what was kept is shared", func() bool { return c.Share(t.Context()) == nil })
	}
	if got := currentIn(t, rdb, 1) + " " + currentIn(t, rdb, 1500) + " " + currentIn(t, rdb, 1600); got != "10 10 20" {
		t.Errorf("current are %s", got)
	}
	for _, version := range []int64{12, 9, 11} {
		if err := b.Share(t.Context(), rev(1, version)); err != nil {
			t.Error(err)
		}
	}
	if got := currentIn(t, rdb, 1); got != "12" {
		t.Errorf("current is %s, want 12", got)
	}
}

// What the database may have lost is not shared any more.
func TestResetDropsUnsharedVersions(t *testing.T) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	rdb := client(t, server.Addr())
	c := cache(t, source, rdb, load(t, render.Config{}))
	server.Kill()
	if err := c.Share(t.Context(), rev(1, 20), rev(2, 20)); err == nil {
		t.Error("Share succeeded without Redis")
	}
	c.Reset(t.Context())
	server.Start()
	testkit.Eventually(t, "Redis is back", func() bool { return c.Share(t.Context(), rev(2, 10)) == nil })
	if got := currentIn(t, rdb, 1) + " " + currentIn(t, rdb, 2); got != " 10" {
		t.Errorf("current are %q", got)
	}
}

func TestShareInRedisCluster(t *testing.T) {
	o, err := redis.ParseClusterURL(testkit.StartRedisCluster(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClusterClient(o)
	defer rdb.Close()
	c := render.NewCache(newRows(), rdb, shop, load(t, render.Config{}),
		render.CacheConfig{Log: slog.New(slog.DiscardHandler)})
	var all []store.Rev // in several slots
	for id := int64(1); id <= 50; id++ {
		all = append(all, rev(id, 10))
	}
	if err := c.Share(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if got := currentIn(t, rdb, r.ID); got != "10" {
			t.Errorf("current of product %d is %q", r.ID, got)
		}
	}
}
