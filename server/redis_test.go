package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit"
)

// whole waits until every instance is healthy.
func (f *fleet) whole(t testing.TB) {
	t.Helper()
	for _, i := range f.instances {
		testkit.Eventually(t, "all is well", func() bool {
			status, _, answer := call(t, "GET", "http://"+i.AdminAddr()+"/readyz", "", nil)
			return status == http.StatusOK && strings.Contains(answer, `"status":"ok"`)
		})
	}
}

// With each form of Redis the bus delivers an edit, a fragment is rendered once, and a
// failover needs no restart.
func TestRedisForms(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, s *server.Settings) (kill func(*fleet)){
		"password": func(t *testing.T, s *server.Settings) func(*fleet) {
			s.Redis = strings.Replace(testkit.StartRedis(t, "--requirepass", "secret").URL(), "//", "//:secret@", 1)
			return nil
		},
		"TLS": func(t *testing.T, s *server.Settings) func(*fleet) {
			server, ca := testkit.StartRedisTLS(t)
			s.Redis, s.RedisCA = "rediss://:secret@"+server.Addr()+"/0", ca
			return nil
		},
		"Sentinel": func(t *testing.T, s *server.Settings) func(*fleet) {
			redis := testkit.StartSentinel(t)
			s.Redis = redis.URL()
			return func(*fleet) { redis.Primary.Kill() }
		},
		"Cluster": func(t *testing.T, s *server.Settings) func(*fleet) {
			redis := testkit.StartRedisCluster(t)
			s.Redis = "redis+cluster" + strings.TrimPrefix(redis.URL(), "redis")
			return func(f *fleet) { redis.Owner(f.channel(t)).Kill() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var settings server.Settings
			kill := start(t, &settings)
			f := startFleet(t, func(s *server.Settings) { s.Redis, s.RedisCA = settings.Redis, settings.RedisCA })
			f.whole(t)
			lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
			shoppers := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
			for _, s := range shoppers {
				s.watch("card", lamp.Rev, mug.Rev)
				s.settled()
			}
			// edited returns the number of renders of an edit.
			edited := func() float64 {
				t.Helper()
				received := f.counter(t, "shelfcast_bus_received_total")
				renders := f.counter(t, "shelfcast_fragment_renders_total")
				lamp = f.edit(t, 0, lamp.Rev, `{"stock":`+string("12"[lamp.Stock%2])+`}`)
				for _, s := range shoppers {
					if got := s.next().Fragments; len(got) != 1 || got[0].Rev != lamp.Rev {
						t.Errorf("got %v, want %v", got, lamp.Rev)
					}
				}
				testkit.Eventually(t, "the bus carried it to both", func() bool {
					return f.counter(t, "shelfcast_bus_received_total") >= received+2
				})
				return f.counter(t, "shelfcast_fragment_renders_total") - renders
			}
			if n := edited(); n != 1 {
				t.Errorf("%v renders of one version", n)
			}
			if kill == nil {
				return
			}
			gaps := f.counter(t, "shelfcast_bus_gaps_total")
			kill(f)
			mug = f.edit(t, 1, mug.Rev, `{"stock":1}`)
			for _, s := range shoppers {
				if got := s.next().Fragments; len(got) != 1 || got[0].Rev != mug.Rev {
					t.Errorf("without a primary: got %v, want %v", got, mug.Rev)
				}
			}
			testkit.Eventually(t, "both have subscribed to another primary", func() bool {
				return f.counter(t, "shelfcast_bus_gaps_total") >= gaps+2
			})
			f.whole(t)
			// The cache does not use Redis for a moment after a failure, and notices with
			// an edit that it is back.
			testkit.Eventually(t, "a version is rendered once again", func() bool { return edited() == 1 })
		})
	}
}

// A subscription that is open but receives no messages is renewed, for example after
// the primary was demoted.
func TestSilentSubscriptionIsRenewed(t *testing.T) {
	t.Parallel()
	sentinel := testkit.StartSentinel(t)
	f := startFleet(t, func(s *server.Settings) { s.Redis = sentinel.URL() })
	f.whole(t)
	gaps := f.counter(t, "shelfcast_bus_gaps_total")
	sentinel.Primary.Pause() // it keeps its connections, but is no longer the primary
	lamp := f.product(t, "lamp")
	testkit.Eventually(t, "both have subscribed to another", func() bool {
		return f.counter(t, "shelfcast_bus_stalls_total") >= 2 && f.counter(t, "shelfcast_bus_gaps_total") >= gaps+2
	})
	f.whole(t)
	received := f.counter(t, "shelfcast_bus_received_total")
	f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	testkit.Eventually(t, "the bus carries again", func() bool {
		return f.counter(t, "shelfcast_bus_received_total") >= received+2
	})
	sentinel.Primary.Resume()
}

func TestBadRedisURLIsRejected(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"redis://:pass word@x":                     "not a valid URL",
		"http://127.0.0.1:6379":                    "scheme",
		"redis+magic://127.0.0.1:6379":             "no form",
		"redis://127.0.0.1:6379/0?pool_size=9":     "pool_size",
		"redis://127.0.0.1:6379/x":                 "database number",
		"redis+cluster://127.0.0.1:6379?addr=none": "addr",
	} {
		s := server.Settings{Database: server.Database{MySQL: "root@tcp(127.0.0.1:1)/x"}, Redis: url, RootToken: token,
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0"}
		_, err := server.New(t.Context(), s, server.Options{})
		if err == nil || !strings.Contains(err.Error(), says) || slices.Contains(strings.Fields(err.Error()), "word@x") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
