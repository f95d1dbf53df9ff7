package bus_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/realtime/bus"
	"shelfcast/testkit"
)

// dials notes when a client dials.
type dials struct {
	mu    sync.Mutex
	times []time.Time
}

func (d *dials) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d.mu.Lock()
		d.times = append(d.times, time.Now())
		d.mu.Unlock()
		return next(ctx, network, addr)
	}
}

func (d *dials) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d *dials) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A user that may not subscribe will not for as long as nobody mends it: the bus
// dials less and less often, and works once it may.
func TestRefusedSubscriptionBacksOff(t *testing.T) {
	server := testkit.StartRedis(t)
	server.Command("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", "resetchannels")
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "shop", Password: "secret", MaxRetries: -1})
	defer rdb.Close()
	if err := rdb.Ping(t.Context()).Err(); err != nil { // so that all that is dialled from now on is for the subscription
		t.Fatal(err)
	}
	counted := &dials{}
	rdb.AddHook(counted)
	refused := bus.NewRedis(rdb, shop, bus.RedisConfig{Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		refused.Listen(ctx, bus.Listener{Instance: "refused", Gap: func() {}, Deliver: func(bus.Channel, string) {}})
	}()
	defer func() { cancel(); <-ended }()
	const tries = 7
	var times []time.Time
	testkit.Eventually(t, "it has tried some times", func() bool {
		counted.mu.Lock()
		defer counted.mu.Unlock()
		times = append([]time.Time(nil), counted.times...)
		return len(times) >= tries
	})
	// Without back-off there are at most 150 ms between two tries.
	if took := times[tries-1].Sub(times[0]); took < tries*150*time.Millisecond {
		t.Errorf("got %d attempts in %v", tries, took)
	}
	server.Command("ACL", "SETUSER", "shop", "allchannels")
	testkit.Eventually(t, "it works", func() bool { return refused.Check(t.Context()) == nil })
}

// While Redis is down or hangs without closing a connection Check fails, and the
// subscription after that is a gap.
func TestRedisOutageCausesGap(t *testing.T) {
	server := testkit.StartRedis(t)
	open := func() bus.Bus { // notices at once when Redis is away
		return redisBus(t, redis.NewClient(&redis.Options{
			Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond,
			ReadTimeout: 200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
		}), bus.RedisConfig{Probe: 20 * time.Millisecond, Silence: 100 * time.Millisecond})
	}
	a, b := listen(t, open(), "a"), listen(t, open(), "b")
	for name, fault := range map[string]func(){
		"killed": func() { server.Kill(); server.Start() },
		"hung": func() {
			server.Pause()
			// The answer to a probe is awaited, and then another connection.
			testkit.Eventually(t, "the silence is noticed", func() bool {
				return a.Bus.(*bus.Redis).Failing() && b.Bus.(*bus.Redis).Failing()
			})
			server.Resume()
		},
	} {
		before := []int64{a.gaps.Load(), b.gaps.Load()}
		fault()
		testkit.Eventually(t, name+": both have subscribed again", func() bool {
			return a.gaps.Load() > before[0] && b.gaps.Load() > before[1]
		})
		if _, err := a.Publish(t.Context(), bus.Changes, []byte(name)); err != nil {
			t.Error(name, err)
		}
		a.receives(t, bus.Changes, name)
		b.receives(t, bus.Changes, name)
		testkit.Eventually(t, name+": both are well again", func() bool {
			return a.Check(t.Context()) == nil && b.Check(t.Context()) == nil
		})
	}
}
