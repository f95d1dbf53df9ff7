package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/realtime/bus"
	"shelfcast/store"
	"shelfcast/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var shop = store.NamedShop("tests")

// contract runs a test with each implementation. open returns the bus of one more instance.
func contract(t *testing.T, test func(t *testing.T, open func() bus.Bus)) {
	t.Run("memory", func(t *testing.T) {
		var shared bus.Memory
		test(t, func() bus.Bus { return &shared })
	})
	t.Run("Redis", func(t *testing.T) {
		server := testkit.StartRedis(t)
		test(t, func() bus.Bus {
			return redisBus(t, redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true}), patient)
		})
	})
	t.Run("Redis Cluster", func(t *testing.T) {
		o, err := redis.ParseClusterURL(testkit.StartRedisCluster(t).URL())
		if err != nil {
			t.Fatal(err)
		}
		o.ContextTimeoutEnabled = true
		test(t, func() bus.Bus { return redisBus(t, redis.NewClusterClient(o), patient) })
	})
}

// patient does not take a slow machine for a Redis that fails.
var patient = bus.RedisConfig{Timeout: 5 * time.Second, Silence: 20 * time.Second}

func redisBus(t *testing.T, rdb redis.UniversalClient, cfg bus.RedisConfig) bus.Bus {
	t.Cleanup(func() { rdb.Close() })
	cfg.Log = slog.New(slog.DiscardHandler)
	return bus.NewRedis(rdb, shop, cfg)
}

// An instance listens to a bus.
type instance struct {
	bus.Bus
	name  string
	gaps  atomic.Int64
	leave func() // ends Listen, and waits for its end

	mu  sync.Mutex
	had map[bus.Channel][]string
}

// listen returns an instance that listens until the test ends.
func listen(t *testing.T, on bus.Bus, name string) *instance {
	t.Helper()
	i := &instance{Bus: on, name: name, had: map[bus.Channel][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- on.Listen(ctx, bus.Listener{Instance: name, Gap: func() { i.gaps.Add(1) }, Deliver: i.deliver})
	}()
	i.leave = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: Listen returned %v", name, err)
		}
	})
	t.Cleanup(i.leave)
	testkit.Eventually(t, name+" listens", func() bool { return i.gaps.Load() > 0 && i.Check(ctx) == nil })
	return i
}

func (i *instance) deliver(from bus.Channel, message string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.had[from] = append(i.had[from], message)
}

// received returns what has arrived on a topic.
func (i *instance) received(from bus.Channel) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.had[from])
}

func (i *instance) receives(t *testing.T, from bus.Channel, message string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%s receives %.20q", i.name, message),
		func() bool { return slices.Contains(i.received(from), message) })
}

// send publishes a message that so many instances have to receive.
func (i *instance) send(t *testing.T, to bus.Channel, message string, instances int) {
	t.Helper()
	if n, err := i.Publish(t.Context(), to, []byte(message)); err != nil || n != instances {
		t.Errorf("%s to %s: %d instances, %v, want %d", i.name, to, n, err, instances)
	}
}

func TestBusDeliversToAllInstances(t *testing.T) {
	contract(t, func(t *testing.T, open func() bus.Bus) {
		a, b, c := listen(t, open(), "a"), listen(t, open(), "b"), listen(t, open(), "c")
		all := []*instance{a, b, c}
		everyone := []bus.Channel{bus.Changes, bus.CountRequests, bus.Broadcasts}
		messages := []string{"one", "", "\x00\xff binary", strings.Repeat("x", 1<<20), "last"}
		for _, topic := range everyone {
			for n, message := range messages {
				all[n%2].send(t, topic, message, 3)
			}
		}
		a.send(t, bus.Inbox("b"), "to b", 1)
		c.send(t, bus.Inbox("c"), "to c itself", 1)
		a.send(t, bus.Inbox("nobody"), "to nobody", 0)
		b.receives(t, bus.Inbox("b"), "to b")
		c.receives(t, bus.Inbox("c"), "to c itself")
		for _, i := range all {
			for _, topic := range everyone {
				i.receives(t, topic, "last")
				for _, message := range messages {
					i.receives(t, topic, message) // those of the other publisher may be later
				}
				if n := len(i.received(topic)); n != len(messages) {
					t.Errorf("%s received %d messages on %s, want %d", i.name, n, topic, len(messages))
				}
			}
			for _, other := range all {
				if got := i.received(bus.Inbox(other.name)); i != other && len(got) > 0 {
					t.Errorf("%s has read the inbox of %s: %q", i.name, other.name, got)
				}
			}
		}
		if got := a.received(bus.Inbox("a")); len(got) > 0 {
			t.Errorf("nobody has written to a, and it received %q", got)
		}
	})
}

// Two publish at the same time: each listener receives the messages of each in order.
func TestBusKeepsOrderPerPublisher(t *testing.T) {
	contract(t, func(t *testing.T, open func() bus.Bus) {
		a, b := listen(t, open(), "a"), listen(t, open(), "b")
		const messages = 200
		var publishing sync.WaitGroup
		for _, i := range []*instance{a, b} {
			publishing.Go(func() {
				for n := range messages {
					i.send(t, bus.Changes, fmt.Sprintf("%s %03d", i.name, n), 2)
				}
			})
		}
		publishing.Wait()
		for _, i := range []*instance{a, b} {
			testkit.Eventually(t, i.name+" has all", func() bool { return len(i.received(bus.Changes)) == 2*messages })
			got := i.received(bus.Changes)
			slices.SortStableFunc(got, func(x, y string) int { return strings.Compare(x[:1], y[:1]) })
			if !slices.IsSorted(got) {
				t.Errorf("%s received them in another order: %q", i.name, got)
			}
		}
	})
}

// An instance that comes is told of a gap and receives what is published from then on; one
// that has gone is not counted any more.
func TestBusTracksJoiningAndLeavingInstances(t *testing.T) {
	contract(t, func(t *testing.T, open func() bus.Bus) {
		a, b := listen(t, open(), "a"), listen(t, open(), "b")
		a.send(t, bus.Changes, "before", 2)
		c := listen(t, open(), "c")
		a.send(t, bus.Changes, "after", 3)
		for _, i := range []*instance{a, b, c} {
			i.receives(t, bus.Changes, "after")
		}
		if got := c.received(bus.Changes); len(got) != 1 || c.gaps.Load() != 1 {
			t.Errorf("c received %q, and was told of %d gaps", got, c.gaps.Load())
		}
		b.leave()
		testkit.Eventually(t, "b is not counted", func() bool {
			n, err := a.Publish(t.Context(), bus.Broadcasts, []byte("who is there?"))
			return err == nil && n == 2
		})
		a.send(t, bus.Changes, "later", 2)
		c.receives(t, bus.Changes, "later")
		if got := b.received(bus.Changes); slices.Contains(got, "later") {
			t.Error("b receives after it has left")
		}
		b = listen(t, b.Bus, "b") // comes back
		a.send(t, bus.Inbox("b"), "welcome", 1)
		b.receives(t, bus.Inbox("b"), "welcome")
	})
}

// A listener that is so slow that messages are dropped is told of the gap, after which it
// receives again.
func TestMemoryDropCausesGap(t *testing.T) {
	var shared bus.Memory
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	slow := make(chan string, 10_000)
	gaps := make(chan struct{}, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		gap := func() { gaps <- struct{}{} }
		shared.Listen(ctx, bus.Listener{Instance: "slow", Gap: gap, Deliver: func(_ bus.Channel, message string) {
			if message == "hold" {
				held <- struct{}{}
				<-hold
			}
			slow <- message
		}})
	}()
	defer func() { cancel(); <-ended }()
	<-gaps // the first
	quick := listen(t, &shared, "quick")
	quick.send(t, bus.Changes, "hold", 2)
	<-held
	const sent = 5000
	for n := range sent {
		quick.send(t, bus.Changes, fmt.Sprint(n), 2)
	}
	close(hold)
	<-gaps
	received := 0
	testkit.Eventually(t, "it receives again", func() bool {
		// The buffer may still be full, and this one dropped too.
		if _, err := shared.Publish(t.Context(), bus.Changes, []byte("end")); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case message := <-slow:
				if message == "end" {
					return true
				}
				received++
			default:
				return false
			}
		}
	})
	if received > sent { // and "hold"
		t.Errorf("all %d messages were delivered, want drops", sent)
	}
}
