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

	"shelfcast/store"
	"shelfcast/store/storetest"
)

var named = store.NamedShop("tests")

// of returns the shop's name of a channel.
func of(channel func(store.Keys) string) string {
	keys, _ := named.Keys()
	return channel(keys)
}

// An instance is a bus with a hub, listening.
type instance struct {
	*Bus
	shop *shop
	gaps atomic.Int64
}

// listening finds out at once when Redis is away, and takes it for that when it
// is only slow.
func listening(t *testing.T, server *storetest.RedisServer) *instance {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond,
		ReadTimeout: 200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
	})
	return listeningBy(t, rdb, BusConfig{Probe: 20 * time.Millisecond, Silence: 100 * time.Millisecond})
}

// patient has the limits of a server, or some that are longer, for tests in
// which nothing is to be lost.
func patient(t *testing.T, server *storetest.RedisServer) *instance {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, DialerRetries: 1})
	return listeningBy(t, rdb, BusConfig{Timeout: 5 * time.Second, Silence: 20 * time.Second})
}

func listeningBy(t *testing.T, rdb redis.UniversalClient, cfg BusConfig) *instance {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	i := &instance{shop: newShop()}
	i.Bus = NewBus(rdb, named, quietHub(t, i.shop, Config{}), cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); i.Listen(ctx, func() { i.gaps.Add(1) }) }()
	t.Cleanup(func() { cancel(); <-ended; rdb.Close() })
	storetest.Eventually(t, "it has subscribed", func() bool { return i.gaps.Load() > 0 && i.Healthy() })
	return i
}

func (i *instance) has(t *testing.T, r store.Rev) {
	t.Helper()
	storetest.Eventually(t, fmt.Sprint("it has heard of ", r), func() bool {
		i.shop.mu.Lock()
		defer i.shop.mu.Unlock()
		return i.shop.heard[r.ID] == r.Version
	})
}

func current(t *testing.T, i *instance, id int64) string {
	t.Helper()
	return i.rdb.Get(t.Context(), fmt.Sprintf("shelfcast:tests:current:{%d}", id)).Val()
}

func TestTheBusCarriesVersionsToAll(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := listening(t, server), listening(t, server)
	a.Publish(t.Context(), rev(1, 10))
	b.Publish(t.Context(), rev(2, 20))
	for _, i := range []*instance{a, b} {
		i.has(t, rev(1, 10))
		i.has(t, rev(2, 20))
	}
	for _, garbage := range []string{"", "{", "[]", `{"id":0,"version":1}`, `{"id":1,"version":-1}`, `{"id":"x"}`} {
		if err := a.rdb.Publish(t.Context(), "product_updates:tests", garbage).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a.Publish(t.Context(), rev(1, 11)) // and it goes on
	b.has(t, rev(1, 11))
	if n := testutil.ToFloat64(b.garbled); n != 6 {
		t.Errorf("%v messages were no versions, want 6", n)
	}
	// What is current is the greatest, in whatever order it comes.
	b.Publish(t.Context(), rev(1, 9))
	if got := current(t, a, 1); got != "11" {
		t.Errorf("current is %s", got)
	}
}

// A Redis that dies, and one that hangs without closing a connection: each
// subscription after that is a gap, of which somebody is told.
func TestEachSubscriptionIsAGap(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := listening(t, server), listening(t, server)
	for name, fault := range map[string]func(){
		"killed": func() { server.Kill(); server.Start() },
		"hung": func() {
			server.Pause()
			// The answer to a ping is awaited, and then another connection.
			storetest.Eventually(t, "the silence is noticed", func() bool { return a.failing.Load() && b.failing.Load() })
			server.Resume()
		},
	} {
		before := []int64{a.gaps.Load(), b.gaps.Load()}
		fault()
		storetest.Eventually(t, name+": both have subscribed again", func() bool {
			return a.gaps.Load() > before[0] && b.gaps.Load() > before[1]
		})
		version := time.Now().UnixMicro()
		a.Publish(t.Context(), rev(1, version))
		b.has(t, rev(1, version))
	}
}

func TestWhatRedisDidNotTakeIsSharedLater(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := listening(t, server), listening(t, server)
	server.Kill()
	a.Publish(t.Context(), rev(1, 10))
	if err := b.Share(t.Context(), []store.Rev{rev(2, 20), rev(2, 19)}); err == nil {
		t.Error("it was shared with nobody")
	}
	if n := testutil.ToFloat64(a.unpublished); n != 1 {
		t.Errorf("%v not published, want 1", n)
	}
	server.Start()
	for _, i := range []*instance{a, b} {
		if err := i.Share(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	if got := current(t, a, 1) + " " + current(t, b, 2); got != "10 20" {
		t.Errorf("current are %s", got)
	}
}

// A commit of more products than a message holds, over two instances: each page
// is told once of all that it shows, of both modes, and Redis knows what is
// current.
func TestABatchCrossesTheBus(t *testing.T) {
	server := storetest.StartRedis(t)
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
	a.PublishAll(t.Context(), from(1, products, 11))
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
	if got := current(t, b, 1) + " " + current(t, b, products); got != "11 11" {
		t.Errorf("current are %s", got)
	}
	a.PublishAll(t.Context(), nil)
	b.PublishAll(t.Context(), []store.Rev{rev(1, 12), rev(2, 12)})
	a.has(t, rev(1, 12))
	a.has(t, rev(2, 12))
}

// What Redis does not take of a batch is counted by version, and told when it is
// back.
func TestABatchThatRedisDidNotTakeIsSharedLater(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	server.Kill()
	a.PublishAll(t.Context(), from(1, 1500, 10))
	a.has(t, rev(1500, 10))
	if n := testutil.ToFloat64(a.unpublished); n != 1500 {
		t.Errorf("%v not published, want 1500", n)
	}
	server.Start()
	if err := a.Share(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := current(t, b, 1) + " " + current(t, b, 1500); got != "10 10" {
		t.Errorf("current are %s", got)
	}
}

// Of a message that is not ours nothing is taken.
func TestAnArrayWithGarbageIsNoNews(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	for _, garbage := range []string{"[", "[]", "[null]", "[[]]", `[{"id":1,"version":10},{"id":0,"version":10}]`, `[{"id":1,"version":10},{"id":2,"version":"x"}]`} {
		if err := a.rdb.Publish(t.Context(), "product_updates:tests", garbage).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.rdb.Publish(t.Context(), "product_updates:tests", `[{"id":2,"version":11},{"id":3,"version":11}]`).Err(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []*instance{a, b} {
		i.has(t, rev(2, 11))
		i.has(t, rev(3, 11))
		if n := testutil.ToFloat64(i.garbled); n != 6 {
			t.Errorf("%v messages were no versions, want 6", n)
		}
		if !i.shop.Heard(rev(1, 1)) {
			t.Error("a part of a message was taken")
		}
	}
}
