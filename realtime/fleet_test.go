package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"shelfcast/realtime/bus"
	"shelfcast/store"
	"shelfcast/testkit"
)

var named = store.NamedShop("tests")

// An instance is a member of a fleet, running.
type instance struct {
	*Fleet
	shop *shop
	gaps atomic.Int64
}

// impatient notices at once when Redis is away, and also takes a slow one for that.
func impatient(t *testing.T, server *testkit.RedisServer) *instance {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond,
		ReadTimeout: 200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
	})
	return startInstance(t, rdb, bus.RedisConfig{Probe: 20 * time.Millisecond, Silence: 100 * time.Millisecond},
		FleetConfig{})
}

// patient starts an instance with the time limits of production or longer ones, for tests in
// which no message may be lost.
func patient(t *testing.T, server *testkit.RedisServer) *instance {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, DialerRetries: 1})
	return startInstance(t, rdb, bus.RedisConfig{Timeout: 5 * time.Second, Silence: 20 * time.Second},
		FleetConfig{Timeout: 5 * time.Second})
}

func startInstance(t *testing.T, rdb redis.UniversalClient, busCfg bus.RedisConfig, cfg FleetConfig) *instance {
	t.Helper()
	cfg.Log, busCfg.Log = slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	i := &instance{shop: newShop()}
	i.Fleet = NewFleet(bus.NewRedis(rdb, named, busCfg), quietHub(t, i.shop, Config{}), cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); i.Run(ctx, func() { i.gaps.Add(1) }) }()
	t.Cleanup(func() { cancel(); <-ended; rdb.Close() })
	testkit.Eventually(t, "it has subscribed", func() bool { return i.gaps.Load() > 0 && i.bus.Check(ctx) == nil })
	return i
}

// tell publishes a message as another program may do it.
func (i *instance) tell(t *testing.T, to bus.Channel, message string) {
	t.Helper()
	if _, err := i.bus.Publish(t.Context(), to, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

func (i *instance) has(t *testing.T, r store.Rev) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint("it has heard of ", r), func() bool {
		i.shop.mu.Lock()
		defer i.shop.mu.Unlock()
		return i.shop.heard[r.ID] == r.Version
	})
}

func TestPublishReachesAllInstances(t *testing.T) {
	server := testkit.StartRedis(t)
	a, b := impatient(t, server), impatient(t, server)
	a.Publish(t.Context(), rev(1, 10))
	b.Publish(t.Context(), rev(2, 20))
	for _, i := range []*instance{a, b} {
		i.has(t, rev(1, 10))
		i.has(t, rev(2, 20))
	}
	for _, garbage := range []string{"", "{", "[]", `{"id":0,"version":1}`, `{"id":1,"version":-1}`, `{"id":"x"}`} {
		a.tell(t, bus.Changes, garbage)
	}
	a.Publish(t.Context(), rev(1, 11)) // and it goes on
	b.has(t, rev(1, 11))
	if n := testutil.ToFloat64(b.invalid); n != 6 {
		t.Errorf("%v messages were no versions, want 6", n)
	}
}

// A commit of more products than a message holds, over two instances: each page
// is told once of all that it shows, of both modes, and what is current is shared.
func TestPublishDeliversACommitInOneFrame(t *testing.T) {
	server := testkit.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	const products = 2*perMessage + 1 // the last message has one
	var pages []*browser
	for _, i := range []*instance{a, b} {
		i.shop.commit(from(1, products, 10))
		door := openDoor(t, i.hub)
		page := door.enter(t)
		page.watch(from(1, 20, 10)...)
		settled(t, i.hub, 20)
		i.shop.delay(50*time.Millisecond, 7)
		i.shop.commit(from(1, products, 11))
		pages = append(pages, page)
	}
	a.Publish(t.Context(), from(1, products, 11)...)
	for _, page := range pages {
		page.sees(from(1, 20, 11)...)
		page.nothing()
	}
	b.has(t, rev(products, 11))
	if n := testutil.ToFloat64(b.received); n != products {
		t.Errorf("%v versions were received, want %d", n, products)
	}
	if n := testutil.ToFloat64(a.published); n != products {
		t.Errorf("%v versions were published, want %d", n, products)
	}
	for _, id := range []int64{1, products} {
		if n := a.shop.timesShared(rev(id, 11)); n != 1 {
			t.Errorf("product %d was shared %d times", id, n)
		}
	}
	a.Publish(t.Context())
	b.Publish(t.Context(), rev(1, 12), rev(2, 12))
	a.has(t, rev(1, 12))
	a.has(t, rev(2, 12))
}

// What Redis does not accept is counted by version, and applied here all the same.
func TestPublishCountsRejectedVersions(t *testing.T) {
	server := testkit.StartRedis(t)
	a, b := impatient(t, server), patient(t, server)
	server.Kill()
	a.Publish(t.Context(), rev(1, 10))
	if n := testutil.ToFloat64(a.unpublished); n != 1 {
		t.Errorf("%v not published, want 1", n)
	}
	b.Publish(t.Context(), from(1, 1500, 10)...)
	b.has(t, rev(1500, 10))
	if n := testutil.ToFloat64(b.unpublished); n != 1500 {
		t.Errorf("%v not published, want 1500", n)
	}
}

// Of a message that is not ours nothing is taken.
func TestMessageWithAnInvalidVersionIsDropped(t *testing.T) {
	server := testkit.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	for _, garbage := range []string{"[", "[]", "[null]", "[[]]", `[{"id":1,"version":10},{"id":0,"version":10}]`,
		`[{"id":1,"version":10},{"id":2,"version":"x"}]`} {
		a.tell(t, bus.Changes, garbage)
	}
	a.tell(t, bus.Changes, `[{"id":2,"version":11},{"id":3,"version":11}]`)
	for _, i := range []*instance{a, b} {
		i.has(t, rev(2, 11))
		i.has(t, rev(3, 11))
		if n := testutil.ToFloat64(i.invalid); n != 6 {
			t.Errorf("%v messages were no versions, want 6", n)
		}
		if !i.shop.Observe(rev(1, 1)) {
			t.Error("part of an invalid message was applied")
		}
	}
}
