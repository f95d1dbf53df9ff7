package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/store"
	"shelfcast/store/storetest"
)

// aLimiter is one instance's.
type aLimiter struct {
	*Limiter
	metrics *prometheus.Registry
}

// limiters makes two, as of two instances, on one Redis.
func limiters(t *testing.T, addrs ...string) (a, b *aLimiter) {
	t.Helper()
	return limitersWithin(t, limitTimeout, 300*time.Millisecond, addrs...)
}

// patient makes two for which a machine that is slow is no Redis that fails.
func patient(t *testing.T, addr string) (a, b *aLimiter) {
	t.Helper()
	return limitersWithin(t, time.Minute, time.Minute, addr)
}

func limitersWithin(t *testing.T, answer, dial time.Duration, addrs ...string) (a, b *aLimiter) {
	t.Helper()
	of := func() *aLimiter {
		rdb := redis.NewUniversalClient(&redis.UniversalOptions{
			Addrs: addrs, ContextTimeoutEnabled: true, DialTimeout: dial, DialerRetries: 1, MaxRetries: 1,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolTimeout: time.Minute, IsClusterMode: len(addrs) > 1,
		})
		t.Cleanup(func() { rdb.Close() })
		metrics := prometheus.NewRegistry()
		l := &aLimiter{NewLimiter(rdb, store.NamedShop("tests"), metrics, slog.New(slog.DiscardHandler)), metrics}
		l.timeout = answer
		return l
	}
	return of(), of()
}

// count is what the metric of that name says, over all its labels.
func count(t testing.TB, metrics *prometheus.Registry, name string) (n int) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == name {
				n += int(metric.Counter.GetValue())
			}
		}
	}
	return n
}

func (l *aLimiter) local(t *testing.T) int {
	return count(t, l.metrics, "shelfcast_ratelimit_local_total")
}

var perHour = Rate{Name: "calls", Calls: 5, Per: time.Hour}

func TestInstancesShareAQuota(t *testing.T) {
	for name, addrs := range map[string]func(*testing.T) []string{
		"one Redis": func(t *testing.T) []string { return []string{storetest.StartRedis(t).Addr()} },
		"a Cluster": func(t *testing.T) (addrs []string) {
			for _, node := range storetest.StartRedisCluster(t).Nodes {
				addrs = append(addrs, node.Addr())
			}
			return addrs
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := limiters(t, addrs(t)...)
			// The client of a Cluster first learns who has what, which may take longer
			// than a call is given.
			for i, l := range []*aLimiter{a, b} {
				if err := l.rdb.Ping(t.Context()).Err(); err != nil {
					t.Fatal(i, err)
				}
			}
			for i := range perHour.Calls {
				for _, key := range []string{"one", "two {braces}"} {
					l := []*aLimiter{a, b}[i%2]
					if got := l.Take(t.Context(), perHour, key); !got.OK || got.Remaining != perHour.Calls-1-i || got.Retry != 0 {
						t.Errorf("call %d of %s: %+v", i, key, got)
					}
				}
			}
			for i, l := range []*aLimiter{a, b} {
				got := l.Take(t.Context(), perHour, "one")
				if got.OK || got.Remaining != 0 || !within(got.Retry, 11*time.Minute, 12*time.Minute) || !within(got.Reset, 59*time.Minute, time.Hour) {
					t.Errorf("limiter %d, over the limit: %+v", i, got)
				}
				if n := count(t, l.metrics, "shelfcast_ratelimit_refused_total"); n != 1 {
					t.Errorf("limiter %d counted %d refused", i, n)
				}
				if n := l.local(t); n != 0 {
					t.Errorf("limiter %d counted %d calls by itself", i, n)
				}
			}
			other := Rate{Name: "edits", Calls: 1, Per: time.Hour}
			if got := b.Take(t.Context(), other, "one"); !got.OK {
				t.Errorf("the rates are not told apart: %+v", got)
			}
			if got := a.Take(t.Context(), perHour, "three"); !got.OK {
				t.Errorf("the keys are not told apart: %+v", got)
			}
		})
	}
}

func within(d, least, most time.Duration) bool { return least <= d && d <= most }

// Calls come back one by one, and none before its time.
func TestAQuotaFillsAgain(t *testing.T) {
	a, b := limiters(t, storetest.StartRedis(t).Addr())
	rate := Rate{Name: "calls", Calls: 2, Per: 400 * time.Millisecond}
	start := time.Now()
	a.Take(t.Context(), rate, "one")
	b.Take(t.Context(), rate, "one")
	refused := a.Take(t.Context(), rate, "one")
	if refused.OK || !within(refused.Retry, 0, 200*time.Millisecond) {
		t.Fatalf("%+v", refused)
	}
	for i := 1; i <= 3; i++ {
		storetest.Eventually(t, "a call is back", func() bool { return b.Take(t.Context(), rate, "one").OK })
		if took := time.Since(start); took < time.Duration(i)*rate.each() {
			t.Errorf("call %d is back after %v", i, took)
		}
	}
	storetest.Eventually(t, "Redis has forgotten the key", func() bool { return a.rdb.DBSize(t.Context()).Val() == 0 })
	if a.local(t)+b.local(t) > 0 {
		t.Error("some were counted without Redis")
	}
}

// Of 200 guesses at once on two instances no more pass than the limit has, with Redis
// and without; those that are given back can be taken again, and never more of them.
func TestAQuotaHoldsAgainstGuessesAtOnce(t *testing.T) {
	thirty := Rate{Name: "tries", Calls: 30, Per: time.Hour}
	for name, c := range map[string]struct {
		addr string
		most int
	}{"with Redis": {storetest.StartRedis(t).Addr(), 30}, "without": {"127.0.0.1:1", 60}} {
		t.Run(name, func(t *testing.T) {
			a, b := patient(t, c.addr)
			both := []*aLimiter{a, b}
			for round := range 2 {
				var passed atomic.Int64
				var guesses sync.WaitGroup
				for i := range 200 {
					guesses.Go(func() {
						if both[i%2].Take(t.Context(), thirty, "192.0.2.7").OK {
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
						l.GiveBack(t.Context(), thirty, "192.0.2.7", Allowance{OK: true, alone: c.most > 30})
					}
				}
			}
			for _, l := range both {
				l.GiveBack(t.Context(), thirty, "203.0.113.9", Allowance{OK: true, alone: c.most > 30}) // of whom nothing was taken
				if got := l.Take(t.Context(), thirty, "203.0.113.9"); !got.OK || got.Remaining > 29 {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// What was refused gives nothing back.
func TestARefusedCallIsNotGivenBack(t *testing.T) {
	a, _ := patient(t, storetest.StartRedis(t).Addr())
	once := Rate{Name: "tries", Calls: 1, Per: time.Hour}
	first := a.Take(t.Context(), once, "one")
	refused := a.Take(t.Context(), once, "one")
	a.GiveBack(t.Context(), once, "one", refused)
	if got := a.Take(t.Context(), once, "one"); got.OK {
		t.Errorf("%+v", got)
	}
	a.GiveBack(t.Context(), once, "one", first)
	if got := a.Take(t.Context(), once, "one"); !got.OK || a.local(t) > 0 {
		t.Errorf("%+v", got)
	}
}

// A clock of Redis that was set back does not shut anybody out for longer than
// the rate does.
func TestAQuotaOutlivesAClock(t *testing.T) {
	a, _ := limiters(t, storetest.StartRedis(t).Addr())
	ahead := time.Now().Add(1000 * time.Hour).UnixMicro()
	if err := a.rdb.Set(t.Context(), "shelfcast:tests:ratelimit:calls:one", ahead, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := a.Take(t.Context(), perHour, "one"); got.OK || got.Retry > perHour.each() || got.Reset > perHour.Per {
		t.Errorf("%+v", got)
	}
	if err := a.rdb.Set(t.Context(), "shelfcast:tests:ratelimit:calls:two", "no number", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := a.Take(t.Context(), perHour, "two"); !got.OK || got.Remaining != 4 || a.local(t) > 0 {
		t.Errorf("%+v, %d counted without Redis", got, a.local(t))
	}
}

func TestWithoutRedisEachLimitsByItself(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*storetest.RedisServer) }{
		"killed": {func(r *storetest.RedisServer) { r.Kill() }, func(r *storetest.RedisServer) { r.Start() }},
		"frozen": {func(r *storetest.RedisServer) { r.Pause() }, func(r *storetest.RedisServer) { r.Resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			server := storetest.StartRedis(t)
			a, b := limiters(t, server.Addr())
			for _, l := range []*aLimiter{a, b} {
				if !l.Take(t.Context(), perHour, "before").OK {
					t.Fatal("no call")
				}
			}
			fault.begin(server)
			start, passed := time.Now(), map[string]int{}
			const calls = 100
			for range calls {
				for i, l := range []*aLimiter{a, b} {
					for _, key := range []string{"one", "two"} {
						if l.Take(t.Context(), perHour, key).OK {
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
			if took := time.Since(start); took > 6*limitTimeout+time.Second {
				t.Errorf("%d calls took %v", 4*calls, took)
			}
			for _, l := range []*aLimiter{a, b} {
				if n := l.local(t); n != 2*calls {
					t.Errorf("%d were counted without Redis", n)
				}
			}
			fault.end(server)
			for _, l := range []*aLimiter{a, b} {
				storetest.Eventually(t, "Redis is asked again", func() bool {
					before := l.local(t)
					l.Take(t.Context(), perHour, "one")
					return l.local(t) == before
				})
			}
			for i := range perHour.Calls + 1 {
				got := []*aLimiter{a, b}[i%2].Take(t.Context(), perHour, "after")
				if got.OK != (i < perHour.Calls) {
					t.Errorf("call %d after: %+v", i, got)
				}
			}
		})
	}
}

func TestNoLimit(t *testing.T) {
	a, _ := limiters(t, "127.0.0.1:1") // nobody is there, and nobody is asked
	none := Rate{Name: "calls", Per: time.Minute}
	for range 2 {
		if got := a.Take(t.Context(), none, "one"); !got.OK || len(got.headers(none)) > 0 {
			t.Errorf("%+v", got)
		}
	}
	if a.GiveBack(t.Context(), none, "one", Allowance{OK: true}); a.local(t) > 0 {
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
		{"one taken", perMinute, Allowance{OK: true, Remaining: 99, Reset: 600 * time.Millisecond}, `"calls";q=100;w=60`, `"calls";r=99;t=1`, ""},
		{"some taken", perMinute, Allowance{OK: true, Remaining: 80, Reset: 12 * time.Second}, `"calls";q=100;w=60`, `"calls";r=80;t=12`, ""},
		{"the last taken", hourly, Allowance{OK: true, Reset: time.Hour}, `"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=360`, ""},
		{"none left", hourly, Allowance{Reset: time.Hour - time.Minute, Retry: 5 * time.Minute}, `"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=300`, "300"},
		{"a moment more", hourly, Allowance{Reset: 54*time.Minute + time.Nanosecond, Retry: time.Nanosecond}, `"failed-tries";q=10;w=3600`, `"failed-tries";r=0;t=1`, "1"},
		{"below a second", quick, Allowance{Reset: 90 * time.Millisecond, Retry: 20 * time.Millisecond}, `"quick";q=3;w=1`, `"quick";r=0;t=1`, "1"},
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

func TestAddressKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":      "2001:db8:1:3::/64",
		"fe80::1%eth0":         "fe80::/64",
		"::1":                  "::/64",
	} {
		if got := addressKey(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
