package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"shelfcast/realtime/bus"
	"shelfcast/render"
	"shelfcast/testkit"
)

// Each page counts once for a product, whatever its views and its mode, and once
// for all of them together.
func TestCountWatchersOfHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 1), rev(2, 1), rev(3, 1), rev(4, 1)), Config{})
		a, b, c, d := join(t, h, Full), join(t, h, Full), join(t, h, Notify), join(t, h, Full)
		a.watch(rev(1, 1), rev(2, 1))
		b.say(request{Watch: []Watch{{rev(1, 1), render.Detail}, {rev(1, 1), render.Card}}})
		c.say(request{Watch: []Watch{{rev(1, 1), render.Card}, {rev(1, 1), render.Detail}, {rev(3, 1), render.Card}}})
		d.watch(rev(4, 1))
		synctest.Wait()
		count := func(ids []int64, wantPages int, want map[int64]int) {
			t.Helper()
			if pages, products := h.CountWatchers(ids); pages != wantPages || !maps.Equal(products, want) {
				t.Errorf("%v: %d pages, %v, want %d and %v", ids, pages, products, wantPages, want)
			}
		}
		count([]int64{1, 2, 3, 99, 1, -1}, 3, map[int64]int{1: 3, 2: 1, 3: 1})
		count([]int64{4}, 1, map[int64]int{4: 1})
		count(nil, 0, map[int64]int{})
		b.say(request{Unwatch: []int64{1}})
		c.conn.Close()
		synctest.Wait()
		count([]int64{1, 2, 3}, 1, map[int64]int{1: 1, 2: 1})
	})
}

// Of thousands of sessions, while others come and go: those that stay are
// counted exactly.
func TestCountWatchersOfManySessions(t *testing.T) {
	h := NewHub(newShop(), Config{Log: slog.New(slog.DiscardHandler)})
	enter := func(id func() int64) *session {
		s := &session{hub: h, conn: &sink{}, mode: Mode(rand.N(2))}
		h.mu.Lock()
		h.table.add(s)
		h.clients[s.from]++
		h.mu.Unlock()
		var all []Watch
		for range 10 {
			all = append(all, Watch{rev(id(), 0), []render.View{render.Card, render.Detail}[rand.N(2)]})
		}
		if refused := s.register(nil, all); refused != nil {
			t.Error(refused)
		}
		return s
	}
	want, pages := map[int64]int{}, 0
	for range 3000 {
		s, watches := enter(func() int64 { return rand.N[int64](50) + 1 }), map[int64]bool{}
		for _, w := range s.watching {
			if w.topic.id <= 40 {
				watches[w.topic.id] = true
			}
		}
		for id := range watches {
			want[id]++
		}
		pages += min(len(watches), 1)
	}
	var alone, mixed []int64
	for id := int64(1); id <= 40; id++ {
		alone = append(alone, id, 100+id)
		mixed = append(mixed, id, 99)
	}
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for n := range 4000 {
				s := enter(func() int64 { return 99 - rand.N[int64](10) })
				if n%4 == 0 {
					s.end()
				}
			}
		})
	}
	for range 200 {
		got, products := h.CountWatchers(mixed)
		if delete(products, 99); got < pages || !maps.Equal(products, want) {
			t.Errorf("%d pages, %v, want %d at least, %v", got, products, pages, want)
		}
	}
	others.Wait()
	if got, products := h.CountWatchers(alone); got != pages || !maps.Equal(products, want) {
		t.Errorf("%d pages, %v, want %d, %v", got, products, pages, want)
	}
}

// open opens that many pages that show these products.
func (i *instance) open(t *testing.T, pages int, ids ...int64) {
	t.Helper()
	for _, id := range ids {
		i.shop.set(rev(id, 1))
	}
	for range pages {
		page := join(t, i.hub, Full)
		for _, id := range ids {
			page.watch(rev(id, 1))
		}
		page.nothing()
	}
}

func (c WatcherCounts) String() string {
	return fmt.Sprintf("%d pages, %v, of %d instances, complete: %v", c.Pages, c.Products, c.Instances, c.Complete)
}

// says checks that each of these instances counts that.
func says(t *testing.T, want string, ids []int64, all ...*instance) {
	t.Helper()
	for n, i := range all {
		if got := i.CountWatchers(t.Context(), ids).String(); got != want {
			t.Errorf("instance %d: %s, want %s", n, got, want)
		}
	}
}

// slowly waits for answers as long as a busy machine takes.
var (
	slowly    = FleetConfig{Timeout: 5 * time.Second, CountTimeout: 10 * time.Second}
	slowlyBus = bus.RedisConfig{Timeout: 5 * time.Second, Silence: 20 * time.Second}
)

func counting3(t *testing.T, server *testkit.RedisServer, busCfg bus.RedisConfig, cfg FleetConfig) []*instance {
	t.Helper()
	var all []*instance
	for range 3 {
		rdb := redis.NewClient(&redis.Options{
			Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond, DialerRetries: 1,
			MaxRetries: -1,
		})
		all = append(all, startInstance(t, rdb, busCfg, cfg))
	}
	all[0].open(t, 2, 1, 2)
	all[0].open(t, 1, 3)
	all[1].open(t, 3, 2, 4)
	return all
}

func TestCountWatchersOfFleet(t *testing.T) {
	all := counting3(t, testkit.StartRedis(t), slowlyBus, slowly)
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{2, 1, 2, 7}, all...)
	says(t, "3 pages, map[4:3], of 3 instances, complete: true", []int64{4}, all...)
	says(t, "0 pages, map[], of 3 instances, complete: true", nil, all...)

	// Of more than may be asked for it counts what it may, and says so.
	many := make([]int64, 0, MaxCounted+1)
	for id := range int64(MaxCounted) {
		many = append(many, id+2)
	}
	says(t, "6 pages, map[2:5 3:1 4:3], of 3 instances, complete: true", append(many, 2), all...)
	says(t, "6 pages, map[2:5 3:1 4:3], of 3 instances, complete: false", append(many, MaxCounted+2), all...)

	// Concurrent requests are not mixed up.
	var asking sync.WaitGroup
	for n, i := range all {
		for id, want := range map[int64]string{
			1: "2 pages, map[1:2], of 3 instances, complete: true",
			4: "3 pages, map[4:3], of 3 instances, complete: true",
		} {
			asking.Go(func() {
				if got := i.CountWatchers(t.Context(), []int64{id}).String(); got != want {
					t.Errorf("instance %d of product %d: %s, want %s", n, id, got, want)
				}
			})
		}
	}
	asking.Wait()
	for n, i := range all {
		if open := len(i.inbox.requests); open != 0 {
			t.Errorf("instance %d has %d open requests", n, open)
		}
	}
}

// An instance that hangs is waited for only until CountTimeout, and its answer is dropped when
// it arrives.
func TestCountWatchersDoesNotWaitForAHungInstance(t *testing.T) {
	cfg := slowly
	cfg.CountTimeout = time.Second
	all := counting3(t, testkit.StartRedis(t), slowlyBus, cfg)
	resume := hang(t, all[1].hub)
	start := time.Now()
	says(t, "2 pages, map[1:2 2:2], of 2 instances, complete: false", []int64{1, 2}, all[0], all[2])
	if took := time.Since(start); took < 2*cfg.CountTimeout || took > 2*cfg.CountTimeout+2*time.Second {
		t.Errorf("two requests took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c := all[0].CountWatchers(ctx, []int64{1}); c.Pages != 2 || c.Complete {
		t.Errorf("canceled request: %s", c)
	}
	resume()
	for _, i := range []*instance{all[0], all[2]} {
		testkit.Eventually(t, "the late answer is dropped", func() bool {
			return testutil.ToFloat64(i.counted.dropped.WithLabelValues("late")) >= 1
		})
	}
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{1, 2}, all...)
	if n := testutil.ToFloat64(all[2].counted.incomplete); n != 1 {
		t.Errorf("%v were incomplete, want 1", n)
	}
}

// Without Redis an instance counts its own pages, and reports that as incomplete.
func TestCountWatchersWithoutRedis(t *testing.T) {
	server := testkit.StartRedis(t)
	cfg, busCfg := slowly, slowlyBus
	busCfg.Probe, busCfg.Silence, cfg.CountTimeout = 20*time.Millisecond, time.Second, 500*time.Millisecond
	all := counting3(t, server, busCfg, cfg)
	for _, outage := range []struct{ begin, end func() }{{server.Kill, server.Start}, {server.Pause, server.Resume}} {
		outage.begin()
		start := time.Now()
		for n, i := range all[:2] {
			if c := i.CountWatchers(t.Context(), []int64{1, 2}); c.Pages != 2+n || c.Instances != 1 || c.Complete {
				t.Errorf("instance %d: %s", n, c)
			}
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("two requests took %v", took)
		}
		outage.end()
		for _, i := range all {
			testkit.Eventually(t, "all are counted again", func() bool {
				got := i.CountWatchers(t.Context(), []int64{1, 2}).String()
				return got == "5 pages, map[1:2 2:5], of 3 instances, complete: true"
			})
		}
	}
}

// An instance without a subscription receives no answers and reports its count as incomplete,
// whether there are other instances or not.
func TestCountWatchersWithoutSubscriptionIsIncomplete(t *testing.T) {
	server := testkit.StartRedis(t)
	deaf := &instance{shop: newShop()}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	deaf.Fleet = NewFleet(bus.NewRedis(rdb, named, slowlyBus), quietHub(t, deaf.shop, Config{}),
		FleetConfig{Timeout: 5 * time.Second, CountTimeout: time.Second})
	deaf.open(t, 2, 1, 2)
	says(t, "2 pages, map[1:2 2:2], of 1 instances, complete: false", []int64{1, 2}, deaf)
	other := patient(t, server)
	other.open(t, 1, 1)
	says(t, "2 pages, map[1:2 2:2], of 1 instances, complete: false", []int64{1, 2}, deaf)
}

func TestCountWatchersInRedisCluster(t *testing.T) {
	cluster := testkit.StartRedisCluster(t)
	o, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	var all []*instance
	for n := range 2 {
		i := startInstance(t, redis.NewClusterClient(o), slowlyBus, slowly)
		i.open(t, n+1, 1, 2)
		all = append(all, i)
	}
	says(t, "3 pages, map[1:3 2:3], of 2 instances, complete: true", []int64{1, 2, 3}, all...)

	// And a batch.
	all[0].Publish(t.Context(), from(1, 50, 10)...)
	for _, i := range all {
		i.has(t, rev(50, 10))
	}
	if n := testutil.ToFloat64(all[0].published); n != 50 {
		t.Errorf("%v were published, want 50", n)
	}
}

// Another program may publish anything to these topics: what is invalid is counted and dropped.
func TestCountWatchersDropsInvalidMessages(t *testing.T) {
	server := testkit.StartRedis(t)
	cfg := slowly
	cfg.CountTimeout = time.Second
	all := counting3(t, server, slowlyBus, cfg)
	a, b := all[0], all[1]
	long := strings.Repeat("x", 100)
	tooMany := `{"from":"x","ids":[` + strings.Repeat("1,", MaxCounted) + `1]}`
	garbage := []string{"", "x", "x {", "x []", `x {"from":7}`, `x {"from":"","ids":[1]}`, `x {"from":"` + long + `"}`,
		long + ` {"from":"x"}`, "x " + tooMany}
	for _, question := range garbage {
		a.tell(t, bus.CountRequests, question)
	}
	for _, answer := range []string{"", "x", "x {}", "??"} {
		a.tell(t, bus.Inbox(b.name), answer)
	}
	for n, i := range all {
		testkit.Eventually(t, "what is no question is counted", func() bool {
			dropped := i.counted.dropped
			return testutil.ToFloat64(dropped.WithLabelValues("invalid"))+
				testutil.ToFloat64(dropped.WithLabelValues("busy")) == float64(len(garbage))
		})
		want := 0.0
		if n == 1 {
			want = 4
		}
		// The answers were published after the questions, and may come later.
		testkit.Eventually(t, "answers that nobody waits for are counted", func() bool {
			return testutil.ToFloat64(i.counted.dropped.WithLabelValues("late")) == want
		})
	}
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{1, 2}, all...)

	// One that hears the question, and answers before the others.
	listens, questions := make(chan struct{}, 1), make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	go func() {
		defer close(ended)
		bus.NewRedis(rdb, named, slowlyBus).Listen(ctx, bus.Listener{
			Instance: "liar", Gap: func() { listens <- struct{}{} },
			Deliver: func(from bus.Channel, message string) {
				if from == bus.CountRequests {
					questions <- message
				}
			},
		})
	}()
	defer func() { cancel(); <-ended }()
	<-listens
	answers := []string{"{", "[]", `{"pages":7}`, `{"from":"x","pages":-1}`, `{"from":"x","pages":1,"products":{"3":1}}`,
		`{"from":"x","pages":1,"products":{"1":2}}`, `{"from":"x","pages":1,"products":{"1":-1}}`,
		`{"from":"x","pages":1e99}`, `{"from":"` + a.name + `","pages":5}`}
	var liar sync.WaitGroup
	liar.Go(func() {
		number, _, _ := strings.Cut(<-questions, " ")
		for _, answer := range append(answers, "") {
			a.bus.Publish(t.Context(), bus.Inbox(a.name), []byte(number+" "+answer))
		}
	})
	before := testutil.ToFloat64(a.counted.dropped.WithLabelValues("invalid"))
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: false", []int64{1, 2}, a)
	liar.Wait()
	if got := testutil.ToFloat64(a.counted.dropped.WithLabelValues("invalid")) - before; got != float64(len(answers)) {
		t.Errorf("%v answers were garbled, want %d", got, len(answers))
	}
}

// hang makes a hub answer nothing until resume is called.
func hang(t *testing.T, h *Hub) (resume func()) {
	t.Helper()
	h.mu.Lock()
	resume = sync.OnceFunc(h.mu.Unlock)
	t.Cleanup(resume)
	return resume
}

// Requests that arrive faster than they are answered are dropped, and changes over the same
// connection do not wait for them.
func TestChangesDoNotWaitForCountRequests(t *testing.T) {
	server := testkit.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	resume := hang(t, b.hub)
	for range 2*cap(b.countRequests) + 1 {
		a.tell(t, bus.CountRequests, `x {"from":"x","ids":[1]}`)
	}
	testkit.Eventually(t, "questions are dropped", func() bool {
		return testutil.ToFloat64(b.counted.dropped.WithLabelValues("busy")) >= float64(cap(b.countRequests))
	})
	a.Publish(t.Context(), rev(1, 10))
	b.has(t, rev(1, 10))
	resume()
	testkit.Eventually(t, "the others are answered", func() bool {
		busy := testutil.ToFloat64(b.counted.dropped.WithLabelValues("busy"))
		return testutil.ToFloat64(b.counted.answered)+busy == float64(2*cap(b.countRequests)+1)
	})
}
