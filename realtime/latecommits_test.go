package realtime

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"shelfcast/realtime/feed"
	"shelfcast/render"
	"shelfcast/store"
)

// A testFeed is a feed with its metrics.
type testFeed struct {
	*feed.Feed
	metrics *prometheus.Registry
}

func newFeed(s *shop, h *Hub, cfg feed.Config) testFeed {
	metrics := prometheus.NewRegistry()
	cfg.Metrics, cfg.Log = metrics, slog.New(slog.DiscardHandler)
	return testFeed{feed.New(s, h, s, cfg), metrics}
}

// metric returns the value of a counter or a gauge.
func (f testFeed) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// startFeed runs a feed until the test ends. It has read once when startFeed returns.
func startFeed(t testing.TB, s *shop, h *Hub, cfg feed.Config) testFeed {
	t.Helper()
	f := newFeed(s, h, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	time.Sleep(10 * time.Millisecond)
	return f
}

// writes has these transactions open, by the number of their connections: the versions that they took when they began.
func (s *shop) writes(open map[int64]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writers = nil
	for thread, since := range open {
		s.writers = append(s.writers, store.Writer{Thread: thread, Started: since / 1e6 * 1e6})
	}
}

// ends commits r, and then leaves these transactions open. As in a database, the row is visible before the transaction
// is gone: a feed that read in between the other way round would take it for one that has written nothing.
func (s *shop) ends(r store.Rev, open map[int64]int64) {
	s.set(r)
	s.writes(open)
}

func (s *shop) certainSince() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.since }
func (s *shop) rowsRead() int           { s.mu.Lock(); defer s.mu.Unlock(); return s.reads }

func TestFeedFindsCommitsOfLongTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 5), rev(2, 5))
		h := quietHub(t, s, Config{Ping: 100 * time.Hour})
		f := startFeed(t, s, h, feed.Config{ReconcileRate: -1})
		b := join(t, h, Full)
		b.watch(rev(1, 5), rev(2, 5))
		synctest.Wait()
		time.Sleep(time.Minute)
		for n, took := range []time.Duration{15 * time.Second, time.Hour} {
			edit := rev(1, time.Now().UnixMicro())
			s.writes(map[int64]int64{7: edit.Version})
			time.Sleep(took)
			open := map[int64]int64(nil)
			if n > 0 { // the connection has begun another one by the next read
				open = map[int64]int64{7: time.Now().UnixMicro()}
			}
			s.ends(edit, open)
			committed := time.Now()
			b.sees(edit)
			if late := time.Since(committed); late > time.Second {
				t.Errorf("transaction of %v: found %v after its commit", took, late)
			}
		}
		synctest.Wait() // it counts after it has delivered
		if n := f.metric(t, "shelfcast_feed_late_commits_total"); n != 2 {
			t.Errorf("%v were late, want 2", n)
		}
		b.conn.Close()
	})
}

// A transaction of an hour costs nothing while it is open, and some reads when it has come to an end.
// Until they are over nothing that was current before is taken to be so still.
func TestLongTransactionNeedsBoundedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		h := quietHub(t, s, Config{Ping: 100 * time.Hour})
		startFeed(t, s, h, feed.Config{ReconcileRate: -1})
		b := join(t, h, Full)
		time.Sleep(time.Minute)
		late := rev(50_000, time.Now().UnixMicro())
		s.writes(map[int64]int64{7: late.Version, 8: time.Now().UnixMicro()})
		for id := int64(1); id <= 50_000; id++ {
			s.set(rev(id, time.Now().UnixMicro()+id)) // in a minute that is long over when the transaction ends
		}
		time.Sleep(5 * time.Minute)
		before := s.rowsRead()
		time.Sleep(10 * time.Second)
		if n := s.rowsRead() - before; n != 0 {
			t.Errorf("%d rows were read while the transaction was open", n)
		}
		b.watch(rev(50_000, late.Version+50_000))
		synctest.Wait()

		newer := rev(late.ID, late.Version+60_000)
		s.ends(newer, map[int64]int64{8: late.Version})
		committed, reads := time.Now(), 0
		for last := s.rowsRead(); ; last = s.rowsRead() {
			time.Sleep(time.Second)
			n := s.rowsRead() - last
			if n > 20_000 {
				t.Errorf("%d rows were read in a second", n)
			}
			since := s.certainSince()
			if reads++; reads < 3 && since.Before(committed) {
				t.Errorf("after %d reads a version from before is certain", reads)
			} else if reads == 4 {
				if since.After(committed) {
					t.Error("no version is certain after the pass")
				}
				break
			}
		}
		b.sees(newer)
		b.conn.Close()
	})
}

// Where nobody can see what is open, or it is open elsewhere, what was committed late is found by reading again.
func TestFeedRereadsWhereTransactionsAreInvisible(t *testing.T) {
	for name, blind := range map[string]func(*shop){
		"without the right": func(s *shop) { s.blind = store.ErrWritersHidden },
		"a node of Galera":  func(s *shop) { s.outside = "the server is a node of Galera" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(rev(1, 5))
				blind(s)
				h := quietHub(t, s, Config{Ping: 100 * time.Hour})
				f := startFeed(t, s, h, feed.Config{ReconcileRate: -1})
				b := join(t, h, Full)
				b.watch(rev(1, 5))
				synctest.Wait()
				time.Sleep(time.Hour)
				edit := rev(1, time.Now().Add(-10*time.Minute).UnixMicro())
				s.set(edit)
				committed := time.Now()
				b.sees(edit)
				if late := time.Since(committed); late > 11*time.Second {
					t.Errorf("found %v after the commit", late)
				}
				if got := time.Since(s.certainSince()); got > 12*time.Second {
					t.Errorf("it is certain of what was current %v ago", got)
				}
				synctest.Wait() // it counts after it has delivered
				if f.metric(t, "shelfcast_feed_late_commits_total") != 1 || f.metric(t, "shelfcast_feed_transactions_hidden") != 1 {
					t.Error("the late commit or the hidden transactions are not counted")
				}
				b.conn.Close()
			})
		})
	}
}

// All that is watched is compared again and again, at a pace.
func TestWatchedProductsAreComparedAtPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		var all []store.Rev
		for id := int64(1); id <= 25; id++ {
			s.set(rev(id, 5))
			all = append(all, rev(id, 5))
		}
		h := quietHub(t, s, Config{Ping: 100 * time.Hour})
		b := join(t, h, Full)
		b.watch(all...)
		synctest.Wait()
		s.blind = store.ErrWritersHidden // so that the bound is that of the comparison
		f := startFeed(t, s, h, feed.Config{ReconcileRate: 10})
		time.Sleep(10 * time.Second)
		if got := f.Bound(); got != time.Second+3*time.Second {
			t.Errorf("the bound is %v, want the second between reads and 3 s for a whole comparison", got)
		}
		for _, id := range []int64{1, 13, 25} {
			edit := rev(id, 6) // of which no version tells
			s.set(edit)
			committed := time.Now()
			b.sees(edit)
			if late := time.Since(committed); late > 4*time.Second {
				t.Errorf("found %v after the commit", late)
			}
		}
		s.fail(errors.New("away"))
		time.Sleep(5 * time.Second)
		s.fail(nil)
		s.set(rev(7, 6))
		b.sees(rev(7, 6))
		b.conn.Close()
	})
}

// What the database lacks is a restore only if the same server had it, or another one has had time to
// catch up. Rows that were deleted are none.
func TestRollbackNeedsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		now := time.Now().UnixMicro()
		for id := int64(1); id <= 40; id++ {
			s.set(rev(id, now+id))
		}
		s.server = "one"
		h := quietHub(t, s, Config{})
		f := startFeed(t, s, h, feed.Config{ReconcileRate: -1})
		restores := func(want float64) {
			t.Helper()
			if n := f.metric(t, "shelfcast_database_rollbacks_total"); n != want {
				t.Errorf("%v restores, want %v", n, want)
			}
		}
		time.Sleep(3 * time.Second)
		s.mu.Lock()
		for id := int64(30); id <= 35; id++ {
			delete(s.rows, id)
		}
		s.mu.Unlock()
		time.Sleep(3 * time.Second)
		restores(0)
		s.mu.Lock()
		for id := int64(10); id <= 40; id++ {
			delete(s.rows, id) // all that it would look for
		}
		s.mu.Unlock()
		time.Sleep(3 * time.Second)
		restores(0)
		s.set(rev(5, now-5))
		time.Sleep(3 * time.Second)
		restores(1)

		s.set(rev(5, time.Now().UnixMicro()))
		time.Sleep(3 * time.Second)
		edited := s.rows[5]
		s.mu.Lock()
		s.server = "two"
		s.rows[5] = now
		s.mu.Unlock()
		time.Sleep(50 * time.Second)
		restores(1)
		s.set(rev(5, edited)) // it has caught up
		time.Sleep(time.Minute)
		restores(1)
		s.mu.Lock()
		s.server = "three"
		s.rows[5] = now
		s.mu.Unlock()
		time.Sleep(render.MaxReplicaLag + 5*time.Second)
		restores(2)
	})
}

// After a failover, a server that loses what it had itself is found out at once, and one that never gets what
// the server before had, however much is edited meanwhile, when it has had time to catch up.
func TestRollbackAfterFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		before := time.Now().UnixMicro()
		all := func(version func() int64) {
			for id := int64(1); id <= 40; id++ {
				s.set(rev(id, version()))
			}
		}
		all(func() int64 { return before })
		s.server = "one"
		f := startFeed(t, s, quietHub(t, s, Config{}), feed.Config{ReconcileRate: -1})
		restores := func(want float64) {
			t.Helper()
			if n := f.metric(t, "shelfcast_database_rollbacks_total"); n != want {
				t.Errorf("%v restores, want %v", n, want)
			}
		}
		time.Sleep(3 * time.Second)
		all(func() int64 { return time.Now().UnixMicro() })
		time.Sleep(3 * time.Second)
		s.mu.Lock()
		s.server = "two"
		s.mu.Unlock()
		time.Sleep(3 * time.Second)
		all(func() int64 { return before })
		time.Sleep(2 * time.Second)
		restores(1)

		all(func() int64 { return time.Now().UnixMicro() })
		time.Sleep(3 * time.Second)
		s.mu.Lock()
		s.server = "three"
		s.mu.Unlock()
		all(func() int64 { return before })
		for range int(render.MaxReplicaLag/time.Second) - 5 {
			for id := int64(1); id <= 20; id++ {
				s.set(rev(id, time.Now().UnixMicro()))
			}
			time.Sleep(time.Second)
		}
		restores(1)
		time.Sleep(10 * time.Second)
		restores(2)
	})
}

// What was heard of and is not there yet is looked for again, and nothing older is told meanwhile.
func TestLaggingVersionIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		full, notified := join(t, h, Full), join(t, h, Notify)
		full.watch(rev(1, 10), rev(2, 10))
		notified.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		s.mu.Lock()
		s.awaited = map[store.Rev]bool{rev(1, 20): true}
		s.mu.Unlock()
		h.Apply(rev(1, 20))
		notified.sees(rev(1, 20)) // it asks for itself
		time.Sleep(10 * time.Second)
		full.nothing()
		s.set(rev(1, 20))
		caughtUp := time.Now()
		full.sees(rev(1, 20))
		if late := time.Since(caughtUp); late > 1200*time.Millisecond {
			t.Errorf("delivered after %v", late)
		}
		if testutil.ToFloat64(h.metrics.versionWaits) < 5 {
			t.Error("version_waits was not counted")
		}
	})
}
