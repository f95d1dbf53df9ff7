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

// An instance is a bus with a hub, listening.
type instance struct {
	*Bus
	shop *shop
	gaps atomic.Int64
}

func listening(t *testing.T, server *storetest.RedisServer) *instance {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond,
		ReadTimeout: 200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
	})
	log := slog.New(slog.DiscardHandler)
	i := &instance{shop: newShop()}
	i.Bus = NewBus(rdb, NewHub(i.shop, Config{Log: log}), BusConfig{Log: log, Probe: 20 * time.Millisecond, Silence: 100 * time.Millisecond})
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
	return i.rdb.Get(t.Context(), fmt.Sprintf("current:{%d}", id)).Val()
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
		if err := a.rdb.Publish(t.Context(), "product_updates", garbage).Err(); err != nil {
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
