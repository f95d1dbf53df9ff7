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

	"shelfcast/render"
	"shelfcast/store/storetest"
)

// Each page counts once for a product, whatever its views and its mode, and once
// for all of them together.
func TestACensusOfAHub(t *testing.T) {
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
			if pages, products := h.Census(ids); pages != wantPages || !maps.Equal(products, want) {
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
func TestACensusOfManySessions(t *testing.T) {
	h := NewHub(newShop(), Config{Log: slog.New(slog.DiscardHandler)})
	enter := func(id func() int64) *session {
		s := &session{hub: h, link: &sink{}, mode: Mode(rand.N(2))}
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
		got, products := h.Census(mixed)
		if delete(products, 99); got < pages || !maps.Equal(products, want) {
			t.Errorf("%d pages, %v, want %d at least, %v", got, products, pages, want)
		}
	}
	others.Wait()
	if got, products := h.Census(alone); got != pages || !maps.Equal(products, want) {
		t.Errorf("%d pages, %v, want %d, %v", got, products, pages, want)
	}
}

// open has that many pages that show these products.
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

func (c Census) String() string {
	return fmt.Sprintf("%d pages, %v, of %d instances, complete: %v", c.Pages, c.Products, c.Instances, c.Complete)
}

// says: the census from any of these instances is that.
func says(t *testing.T, want string, ids []int64, all ...*instance) {
	t.Helper()
	for n, i := range all {
		if got := i.Census(t.Context(), ids).String(); got != want {
			t.Errorf("instance %d: %s, want %s", n, got, want)
		}
	}
}

// slowly waits for answers as long as a busy machine takes.
var slowly = BusConfig{Timeout: 5 * time.Second, Silence: 20 * time.Second, Census: 10 * time.Second}

func counting3(t *testing.T, server *storetest.RedisServer, cfg BusConfig) []*instance {
	t.Helper()
	var all []*instance
	for range 3 {
		rdb := redis.NewClient(&redis.Options{
			Addr: server.Addr(), ContextTimeoutEnabled: true, DialTimeout: 200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
		})
		all = append(all, listeningBy(t, rdb, cfg))
	}
	all[0].open(t, 2, 1, 2)
	all[0].open(t, 1, 3)
	all[1].open(t, 3, 2, 4)
	return all
}

func TestACensusOfAFleet(t *testing.T) {
	all := counting3(t, storetest.StartRedis(t), slowly)
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{2, 1, 2, 7}, all...)
	says(t, "3 pages, map[4:3], of 3 instances, complete: true", []int64{4}, all...)
	says(t, "0 pages, map[], of 3 instances, complete: true", nil, all...)

	// Of more than may be asked for it counts what it may, and says so.
	many := make([]int64, 0, MaxCensus+1)
	for id := range int64(MaxCensus) {
		many = append(many, id+2)
	}
	says(t, "6 pages, map[2:5 3:1 4:3], of 3 instances, complete: true", append(many, 2), all...)
	says(t, "6 pages, map[2:5 3:1 4:3], of 3 instances, complete: false", append(many, MaxCensus+2), all...)

	// Questions of all at the same time are not mixed up.
	var asking sync.WaitGroup
	for n, i := range all {
		for id, want := range map[int64]string{
			1: "2 pages, map[1:2], of 3 instances, complete: true",
			4: "3 pages, map[4:3], of 3 instances, complete: true",
		} {
			asking.Go(func() {
				if got := i.Census(t.Context(), []int64{id}).String(); got != want {
					t.Errorf("instance %d of product %d: %s, want %s", n, id, got, want)
				}
			})
		}
	}
	asking.Wait()
	for n, i := range all {
		if open := len(i.inbox.questions); open != 0 {
			t.Errorf("instance %d has %d questions open", n, open)
		}
	}
}

// An instance that hangs is not waited for beyond the bound, and its answer is
// dropped when it comes.
func TestACensusDoesNotWaitForAnInstanceThatHangs(t *testing.T) {
	cfg := slowly
	cfg.Census = time.Second
	all := counting3(t, storetest.StartRedis(t), cfg)
	resume := hang(t, all[1].hub)
	start := time.Now()
	says(t, "2 pages, map[1:2 2:2], of 2 instances, complete: false", []int64{1, 2}, all[0], all[2])
	if took := time.Since(start); took < 2*cfg.Census || took > 2*cfg.Census+2*time.Second {
		t.Errorf("two questions took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c := all[0].Census(ctx, []int64{1}); c.Pages != 2 || c.Complete {
		t.Errorf("whoever asked has gone: %s", c)
	}
	resume()
	for _, i := range []*instance{all[0], all[2]} {
		storetest.Eventually(t, "the late answer is dropped", func() bool {
			return testutil.ToFloat64(i.counted.dropped.WithLabelValues("late")) >= 1
		})
	}
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{1, 2}, all...)
	if n := testutil.ToFloat64(all[2].counted.incomplete); n != 1 {
		t.Errorf("%v were incomplete, want 1", n)
	}
}

// Without Redis an instance counts its own pages, and knows that it is not all.
func TestACensusWithoutRedis(t *testing.T) {
	server := storetest.StartRedis(t)
	cfg := slowly
	cfg.Probe, cfg.Silence, cfg.Census = 20*time.Millisecond, time.Second, 500*time.Millisecond
	all := counting3(t, server, cfg)
	for _, outage := range []struct{ begin, end func() }{{server.Kill, server.Start}, {server.Pause, server.Resume}} {
		outage.begin()
		start := time.Now()
		for n, i := range all[:2] {
			if c := i.Census(t.Context(), []int64{1, 2}); c.Pages != 2+n || c.Instances != 1 || c.Complete {
				t.Errorf("instance %d: %s", n, c)
			}
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("two questions took %v", took)
		}
		outage.end()
		for _, i := range all {
			storetest.Eventually(t, "all are counted again", func() bool {
				return i.Census(t.Context(), []int64{1, 2}).String() == "5 pages, map[1:2 2:5], of 3 instances, complete: true"
			})
		}
	}
}

// One whose subscription is down hears nobody, and knows it, whether there are
// others or not.
func TestACensusByWhoDoesNotListen(t *testing.T) {
	server := storetest.StartRedis(t)
	deaf := &instance{shop: newShop()}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	deaf.Bus = NewBus(rdb, named, quietHub(t, deaf.shop, Config{}), BusConfig{Timeout: 5 * time.Second, Census: time.Second})
	deaf.open(t, 2, 1, 2)
	says(t, "2 pages, map[1:2 2:2], of 1 instances, complete: false", []int64{1, 2}, deaf)
	other := patient(t, server)
	other.open(t, 1, 1)
	says(t, "2 pages, map[1:2 2:2], of 1 instances, complete: false", []int64{1, 2}, deaf)
}

func TestACensusInACluster(t *testing.T) {
	cluster := storetest.StartRedisCluster(t)
	o, err := redis.ParseClusterURL(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	var all []*instance
	for n := range 2 {
		i := listeningBy(t, redis.NewClusterClient(o), slowly)
		i.open(t, n+1, 1, 2)
		all = append(all, i)
	}
	says(t, "3 pages, map[1:3 2:3], of 2 instances, complete: true", []int64{1, 2, 3}, all...)

	// And a batch, whose products are in several slots.
	all[0].PublishAll(t.Context(), from(1, 50, 10))
	for _, i := range all {
		i.has(t, rev(50, 10))
		for id := int64(1); id <= 50; id++ {
			if got := current(t, i, id); got != "10" {
				t.Errorf("current of product %d is %q", id, got)
			}
		}
	}
	if n := testutil.ToFloat64(all[0].published); n != 50 {
		t.Errorf("%v were published, want 50", n)
	}
}

// Another program may say anything on these channels: it is counted, and
// believed in nothing.
func TestGarbageInACensus(t *testing.T) {
	server := storetest.StartRedis(t)
	cfg := slowly
	cfg.Census = time.Second
	all := counting3(t, server, cfg)
	a, b := all[0], all[1]
	rdb := a.rdb
	long := strings.Repeat("x", 100)
	tooMany := `{"from":"x","ids":[` + strings.Repeat("1,", MaxCensus) + `1]}`
	garbage := []string{"", "x", "x {", "x []", `x {"from":7}`, `x {"from":"","ids":[1]}`, `x {"from":"` + long + `"}`, long + ` {"from":"x"}`, "x " + tooMany}
	for _, question := range garbage {
		if err := rdb.Publish(t.Context(), of(questions), question).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, answer := range []string{"", "x", "x {}", "??"} {
		if err := rdb.Publish(t.Context(), of(inboxOf(b.name)), answer).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for n, i := range all {
		storetest.Eventually(t, "what is no question is counted", func() bool {
			return testutil.ToFloat64(i.counted.dropped.WithLabelValues("garbled"))+testutil.ToFloat64(i.counted.dropped.WithLabelValues("busy")) == float64(len(garbage))
		})
		want := 0.0
		if n == 1 {
			want = 4
		}
		// The answers were published after the questions, and may come later.
		storetest.Eventually(t, "answers that nobody waits for are counted", func() bool {
			return testutil.ToFloat64(i.counted.dropped.WithLabelValues("late")) == want
		})
	}
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: true", []int64{1, 2}, all...)

	// One that hears the question, and answers before the others.
	listener := rdb.Subscribe(t.Context(), of(questions))
	defer listener.Close()
	if _, err := listener.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers := []string{"{", "[]", `{"pages":7}`, `{"from":"x","pages":-1}`, `{"from":"x","pages":1,"products":{"3":1}}`,
		`{"from":"x","pages":1,"products":{"1":2}}`, `{"from":"x","pages":1,"products":{"1":-1}}`, `{"from":"x","pages":1e99}`, `{"from":"` + a.name + `","pages":5}`}
	var liar sync.WaitGroup
	liar.Go(func() {
		m, err := listener.ReceiveMessage(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		number, _, _ := strings.Cut(m.Payload, " ")
		for _, answer := range append(answers, "") {
			rdb.Publish(t.Context(), of(inboxOf(a.name)), number+" "+answer)
		}
	})
	before := testutil.ToFloat64(a.counted.dropped.WithLabelValues("garbled"))
	says(t, "5 pages, map[1:2 2:5], of 3 instances, complete: false", []int64{1, 2}, a)
	liar.Wait()
	if got := testutil.ToFloat64(a.counted.dropped.WithLabelValues("garbled")) - before; got != float64(len(answers)) {
		t.Errorf("%v answers were garbled, want %d", got, len(answers))
	}
}

// hang has a hub answer nothing.
func hang(t *testing.T, h *Hub) (resume func()) {
	t.Helper()
	h.mu.Lock()
	resume = sync.OnceFunc(h.mu.Unlock)
	t.Cleanup(resume)
	return resume
}

// Questions that come faster than they are answered are not all kept, and the
// news on the same connection does not wait for them.
func TestNewsDoesNotWaitForACensus(t *testing.T) {
	server := storetest.StartRedis(t)
	a, b := patient(t, server), patient(t, server)
	resume := hang(t, b.hub)
	for range 2*cap(b.asked) + 1 {
		if err := a.rdb.Publish(t.Context(), of(questions), `x {"from":"x","ids":[1]}`).Err(); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Eventually(t, "questions are dropped", func() bool {
		return testutil.ToFloat64(b.counted.dropped.WithLabelValues("busy")) >= float64(cap(b.asked))
	})
	a.Publish(t.Context(), rev(1, 10))
	b.has(t, rev(1, 10))
	resume()
	storetest.Eventually(t, "the others are answered", func() bool {
		return testutil.ToFloat64(b.counted.answered)+testutil.ToFloat64(b.counted.dropped.WithLabelValues("busy")) == float64(2*cap(b.asked)+1)
	})
}
