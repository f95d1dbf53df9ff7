package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/api/apitest"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A testLimiter is the limiter of an instance.
type testLimiter struct {
	*Limiter
	metrics *prometheus.Registry
}

// newLimiters returns the limiters of two instances with one Redis.
func newLimiters(t *testing.T, addrs ...string) (a, b *testLimiter) {
	t.Helper()
	return newLimitersWithin(t, redisTimeout, 300*time.Millisecond, addrs...)
}

// newPatientLimiters returns two limiters that do not take a slow machine for a Redis that fails.
func newPatientLimiters(t *testing.T, addr string) (a, b *testLimiter) {
	t.Helper()
	return newLimitersWithin(t, time.Minute, time.Minute, addr)
}

func newLimitersWithin(t *testing.T, answer, dial time.Duration, addrs ...string) (a, b *testLimiter) {
	t.Helper()
	of := func() *testLimiter {
		rdb := redis.NewUniversalClient(&redis.UniversalOptions{
			Addrs: addrs, ContextTimeoutEnabled: true, DialTimeout: dial, DialerRetries: 1, MaxRetries: 1,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute, IsClusterMode: len(addrs) > 1,
		})
		t.Cleanup(func() { rdb.Close() })
		metrics := prometheus.NewRegistry()
		l := &testLimiter{NewLimiter(rdb, store.NamedShop("tests"), metrics, slog.New(slog.DiscardHandler)), metrics}
		l.timeout = answer
		return l
	}
	return of(), of()
}

func (l *testLimiter) localTotal(t *testing.T) int {
	return apitest.Counted(t, l.metrics, "shelfcast_rate_limit_fallbacks_total")
}

var perHour = Rate{Name: "calls", Calls: 5, Per: time.Hour}

func TestInstancesShareARateLimit(t *testing.T) {
	for name, addrs := range map[string]func(*testing.T) []string{
		"one Redis": func(t *testing.T) []string { return []string{testkit.StartRedis(t).Addr()} },
		"a Cluster": func(t *testing.T) (addrs []string) {
			for _, node := range testkit.StartRedisCluster(t).Nodes {
				addrs = append(addrs, node.Addr())
			}
			return addrs
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newLimiters(t, addrs(t)...)
			// The client of a Cluster first learns who has what, which may take longer
			// than a call is given.
			for i, l := range []*testLimiter{a, b} {
				if err := l.rdb.Ping(t.Context()).Err(); err != nil {
					t.Fatal(i, err)
				}
			}
			for i := range perHour.Calls {
				for _, key := range []string{"one", "two {braces}"} {
					l := []*testLimiter{a, b}[i%2]
					if got := l.Take(t.Context(), perHour, key, 1); !got.OK || got.Remaining != perHour.Calls-1-i || got.Retry != 0 {
						t.Errorf("call %d of %s: %+v", i, key, got)
					}
				}
			}
			for i, l := range []*testLimiter{a, b} {
				got := l.Take(t.Context(), perHour, "one", 1)
				if got.OK || got.Remaining != 0 || !within(got.Retry, 11*time.Minute, 12*time.Minute) ||
					!within(got.Reset, 59*time.Minute, time.Hour) {
					t.Errorf("limiter %d, over the limit: %+v", i, got)
				}
				if n := apitest.Counted(t, l.metrics, "shelfcast_rate_limit_refused_total"); n != 1 {
					t.Errorf("limiter %d counted %d refused", i, n)
				}
				if n := l.localTotal(t); n != 0 {
					t.Errorf("limiter %d counted %d calls by itself", i, n)
				}
			}
			other := Rate{Name: "edits", Calls: 1, Per: time.Hour}
			if got := b.Take(t.Context(), other, "one", 1); !got.OK {
				t.Errorf("the rates are not told apart: %+v", got)
			}
			if got := a.Take(t.Context(), perHour, "three", 1); !got.OK {
				t.Errorf("the keys are not told apart: %+v", got)
			}
		})
	}
}

func within(d, least, most time.Duration) bool { return least <= d && d <= most }

// Calls come back one by one, and none too early.
func TestRateLimitRefills(t *testing.T) {
	a, b := newLimiters(t, testkit.StartRedis(t).Addr())
	rate := Rate{Name: "calls", Calls: 2, Per: 400 * time.Millisecond}
	start := time.Now()
	a.Take(t.Context(), rate, "one", 1)
	b.Take(t.Context(), rate, "one", 1)
	refused := a.Take(t.Context(), rate, "one", 1)
	if refused.OK || !within(refused.Retry, 0, 200*time.Millisecond) {
		t.Fatalf("%+v", refused)
	}
	for i := 1; i <= 3; i++ {
		testkit.Eventually(t, "a call is back", func() bool { return b.Take(t.Context(), rate, "one", 1).OK })
		if took := time.Since(start); took < time.Duration(i)*rate.interval() {
			t.Errorf("call %d is back after %v", i, took)
		}
	}
	testkit.Eventually(t, "Redis has forgotten the key", func() bool { return a.rdb.DBSize(t.Context()).Val() == 0 })
	if a.localTotal(t)+b.localTotal(t) > 0 {
		t.Error("some were counted without Redis")
	}
}

// Of 200 concurrent guesses on two instances no more pass than the limit allows, with Redis and without. What is given
// back can be taken again, but never more.
func TestRateLimitHoldsAgainstConcurrentCalls(t *testing.T) {
	thirty := Rate{Name: "tries", Calls: 30, Per: time.Hour}
	for name, c := range map[string]struct {
		addr string
		most int
	}{"with Redis": {testkit.StartRedis(t).Addr(), 30}, "without": {"127.0.0.1:1", 60}} {
		t.Run(name, func(t *testing.T) {
			a, b := newPatientLimiters(t, c.addr)
			both := []*testLimiter{a, b}
			for round := range 2 {
				var passed atomic.Int64
				var guesses sync.WaitGroup
				for i := range 200 {
					guesses.Go(func() {
						if both[i%2].Take(t.Context(), thirty, "192.0.2.7", 1).OK {
							passed.Add(1)
						}
					})
				}
				guesses.Wait()
				if n := int(passed.Load()); n != c.most {
					t.Errorf("round %d: %d of 200 guesses passed, the limit has %d", round, n, c.most)
				}
				for range 100 { // more than were taken
					for _, l := range both {
						l.GiveBack(t.Context(), thirty, "192.0.2.7", 1, Allowance{OK: true, local: c.most > 30})
					}
				}
			}
			for _, l := range both {
				// Nothing was taken from this address.
				l.GiveBack(t.Context(), thirty, "203.0.113.9", 1, Allowance{OK: true, local: c.most > 30})
				if got := l.Take(t.Context(), thirty, "203.0.113.9", 1); !got.OK || got.Remaining > 29 {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// A refused call gives nothing back.
func TestRefusedCallsGiveNothingBack(t *testing.T) {
	a, _ := newPatientLimiters(t, testkit.StartRedis(t).Addr())
	once := Rate{Name: "tries", Calls: 1, Per: time.Hour}
	first := a.Take(t.Context(), once, "one", 1)
	refused := a.Take(t.Context(), once, "one", 1)
	a.GiveBack(t.Context(), once, "one", 1, refused)
	if got := a.Take(t.Context(), once, "one", 1); got.OK {
		t.Errorf("%+v", got)
	}
	a.GiveBack(t.Context(), once, "one", 1, first)
	if got := a.Take(t.Context(), once, "one", 1); !got.OK || a.localTotal(t) > 0 {
		t.Errorf("%+v", got)
	}
}

// If Redis's clock was set back, nobody is locked out for longer than the period of the rate.
func TestRateLimitSurvivesClockSetBack(t *testing.T) {
	a, _ := newLimiters(t, testkit.StartRedis(t).Addr())
	ahead := time.Now().Add(1000 * time.Hour).UnixMicro()
	if err := a.rdb.Set(t.Context(), "shelfcast:tests:ratelimit:calls:one", ahead, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := a.Take(t.Context(), perHour, "one", 1); got.OK || got.Retry > perHour.interval() || got.Reset > perHour.Per {
		t.Errorf("%+v", got)
	}
	if err := a.rdb.Set(t.Context(), "shelfcast:tests:ratelimit:calls:two", "no number", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := a.Take(t.Context(), perHour, "two", 1); !got.OK || got.Remaining != 4 || a.localTotal(t) > 0 {
		t.Errorf("%+v, %d counted without Redis", got, a.localTotal(t))
	}
}

func TestInstancesLimitLocallyWithoutRedis(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*testkit.RedisServer) }{
		"killed": {func(r *testkit.RedisServer) { r.Kill() }, func(r *testkit.RedisServer) { r.Start() }},
		"frozen": {func(r *testkit.RedisServer) { r.Pause() }, func(r *testkit.RedisServer) { r.Resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			server := testkit.StartRedis(t)
			a, b := newLimiters(t, server.Addr())
			for _, l := range []*testLimiter{a, b} {
				if !l.Take(t.Context(), perHour, "before", 1).OK {
					t.Fatal("no call")
				}
			}
			fault.begin(server)
			start, passed := time.Now(), map[string]int{}
			const calls = 100
			for range calls {
				for i, l := range []*testLimiter{a, b} {
					for _, key := range []string{"one", "two"} {
						if l.Take(t.Context(), perHour, key, 1).OK {
							passed[fmt.Sprint(i, key)]++
						}
					}
				}
			}
			if len(passed) != 4 {
				t.Errorf("passed: %v", passed)
			}
			for who, n := range passed {
				if n != perHour.Calls {
					t.Errorf("%s had %d calls", who, n)
				}
			}
			// Three calls of each wait, one at a time here, and then one in a second.
			if took := time.Since(start); took > 6*redisTimeout+time.Second {
				t.Errorf("%d calls took %v", 4*calls, took)
			}
			for _, l := range []*testLimiter{a, b} {
				if n := l.localTotal(t); n != 2*calls {
					t.Errorf("%d were counted without Redis", n)
				}
			}
			fault.end(server)
			for _, l := range []*testLimiter{a, b} {
				testkit.Eventually(t, "Redis is asked again", func() bool {
					before := l.localTotal(t)
					l.Take(t.Context(), perHour, "one", 1)
					return l.localTotal(t) == before
				})
			}
			for i := range perHour.Calls + 1 {
				got := []*testLimiter{a, b}[i%2].Take(t.Context(), perHour, "after", 1)
				if got.OK != (i < perHour.Calls) {
					t.Errorf("call %d after: %+v", i, got)
				}
			}
		})
	}
}

func TestRateWithoutLimit(t *testing.T) {
	a, _ := newLimiters(t, "127.0.0.1:1") // nobody is there, and nobody is asked
	none := Rate{Name: "calls", Per: time.Minute}
	for range 2 {
		if got := a.Take(t.Context(), none, "one", 1); !got.OK || len(got.headers(none)) > 0 {
			t.Errorf("%+v", got)
		}
	}
	if a.GiveBack(t.Context(), none, "one", 1, Allowance{OK: true}); a.localTotal(t) > 0 {
		t.Error("there is a limit")
	}
}

func TestRateLimitHeaders(t *testing.T) {
	perMinute := Rate{Name: "calls", Calls: 100, Per: time.Minute}
	hourly := Rate{Name: "failed-tries", Calls: 10, Per: time.Hour}
	quick := Rate{Name: "quick", Calls: 3, Per: 100 * time.Millisecond}
	for _, c := range []struct {
		name                 string
		rate                 Rate
		a                    Allowance
		policy, limit, retry string
	}{
		{"all left", perMinute, Allowance{OK: true, Remaining: 100}, `"calls";q=100;w=60`, `"calls";r=100;t=0`, ""},
		{"one taken", perMinute, Allowance{OK: true, Remaining: 99, Reset: 600 * time.Millisecond},
			`"calls";q=100;w=60`, `"calls";r=99;t=1`, ""},
		{"some taken", perMinute, Allowance{OK: true, Remaining: 80, Reset: 12 * time.Second},
			`"calls";q=100;w=60`, `"calls";r=80;t=12`, ""},
		{"the last taken", hourly, Allowance{OK: true, Reset: time.Hour},
			`"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=360`, ""},
		{"none left", hourly, Allowance{Reset: time.Hour - time.Minute, Retry: 5 * time.Minute},
			`"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=300`, "300"},
		{"just over a second", hourly, Allowance{Reset: 54*time.Minute + time.Nanosecond, Retry: time.Nanosecond},
			`"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=1`, "1"},
		{"below a second", quick, Allowance{Reset: 90 * time.Millisecond, Retry: 20 * time.Millisecond},
			`"quick";q=3;w=1`, `"quick";r=0;t=1`, "1"},
	} {
		got := c.a.headers(c.rate)
		want := http.Header{"Ratelimit-Policy": {c.policy}, "Ratelimit": {c.limit}}
		if c.retry != "" {
			want["Retry-After"] = []string{c.retry}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}
