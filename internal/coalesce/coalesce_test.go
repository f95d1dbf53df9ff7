package coalesce

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"shelfcast/store"
)

// A table returns the values it had when the query started, one millisecond later.
type table struct {
	mu      sync.Mutex
	values  map[int]string
	queries int
	most    int // keys of one query
	down    bool
}

func (s *table) read(ctx context.Context, keys []int) (map[int]string, error) {
	s.mu.Lock()
	s.queries++
	s.most = max(s.most, len(keys))
	found, down := map[int]string{}, s.down
	for _, key := range keys {
		if value, ok := s.values[key]; ok {
			found[key] = value
		}
	}
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	if down {
		return nil, errors.New("down")
	}
	return found, ctx.Err()
}

func loader(s *table) *Loader[int, string] {
	return New(Config[int, string]{Read: s.read, Pace: 10 * time.Millisecond, Timeout: time.Second, Name: "queries"})
}

// 2,000 callers cause a hundred queries a second, of at most a thousand keys; and each
// gets what the database had after it called Load.
func TestLoadSharesQueriesAndReadsAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{values: map[int]string{}}
		l := loader(s)
		var all sync.WaitGroup
		const rounds = 50
		for n := range 2_000 {
			all.Go(func() {
				for round := range rounds {
					key := n*rounds + round
					if key%3 > 0 {
						s.mu.Lock()
						s.values[key] = "here"
						s.mu.Unlock()
					}
					found, err := l.Load(t.Context(), key)
					if value, ok := found[key]; err != nil || ok != (key%3 > 0) || ok && value != "here" {
						t.Errorf("%d: %q, %v, %v", key, value, ok, err)
					}
				}
			})
		}
		began := time.Now()
		all.Wait()
		if most := int(time.Since(began)/l.cfg.Pace) + 1; s.queries > most || s.queries < 2*rounds {
			t.Errorf("%d queries, want at most %d", s.queries, most)
		}
		if s.most > maxKeys {
			t.Errorf("%d keys in a query", s.most)
		}
	})
}

// A caller whose context ends returns at once; the query it started serves the others.
func TestLoadContinuesForOthersWhenACallerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loader(&table{values: map[int]string{1: "one", 2: "two"}})
		l.Load(t.Context(), 1) // so that the next query waits for Pace
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { l.Load(ctx, 1) })
		synctest.Wait()
		all.Go(func() {
			if found, err := l.Load(t.Context(), 2); err != nil || found[2] != "two" {
				t.Errorf("%v, %v", found, err)
			}
		})
		all.Go(func() {
			if _, err := l.Load(ctx, 3); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled caller: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

// For 200 ms after a failed query no caller waits for another one.
func TestLoadFailsFastAfterAFailedQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{values: map[int]string{1: "one"}, down: true}
		l := loader(s)
		for range 500 { // in 500 ms
			if _, err := l.Load(t.Context(), 1); err == nil {
				t.Error("Load succeeded while the database was down")
			}
			time.Sleep(time.Millisecond)
		}
		if s.queries > 3 || testutil.ToFloat64(l.failed) != float64(s.queries) || testutil.ToFloat64(l.skipped) < 450 {
			t.Errorf("%d queries, %v failed, %v skipped", s.queries, testutil.ToFloat64(l.failed), testutil.ToFloat64(l.skipped))
		}
		if _, err := l.Load(t.Context(), 1); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("skipped: %v", err)
		}
		s.down = false
		time.Sleep(200 * time.Millisecond)
		if found, err := l.Load(t.Context(), 1); err != nil || found[1] != "one" {
			t.Errorf("after recovery: %v, %v", found, err)
		}
	})
}
