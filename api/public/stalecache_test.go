package public

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However many ask, each list is read once a second. What was read last is used for as long as it cannot be read.
func TestStaleCacheReadsOncePerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads, stale atomic.Int64
		var down atomic.Bool
		var epoch atomic.Int64
		var slow atomic.Int64
		now := map[string][]int{"a": {1, 2}, "b": {3}}
		f := newStaleCache(10, &staleCache[[]int]{
			freshFor: time.Second, equal: slices.Equal[[]int], onStale: func(error) { stale.Add(1) }, generation: epoch.Load,
			read: func(_ context.Context, key string) ([]int, time.Duration, error) {
				reads.Add(1)
				time.Sleep(time.Millisecond + time.Duration(slow.Load()))
				if down.Load() {
					return nil, 0, errors.New("away")
				}
				return now[key], 0, nil
			},
		})
		ask := func(key string, want ...int) *[]int {
			t.Helper()
			var all sync.WaitGroup
			got := make([]*[]int, 20)
			for n := range got {
				all.Go(func() { got[n], _ = f.get(t.Context(), key, nil) })
			}
			all.Wait()
			for _, v := range got {
				if v == nil || !slices.Equal(*v, want) || v != got[0] {
					t.Fatalf("got %v, want %v", v, want)
				}
			}
			return got[0]
		}
		took := func(want int64) {
			t.Helper()
			if n := reads.Swap(0); n != want {
				t.Errorf("%d reads, want %d", n, want)
			}
		}
		first := ask("a", 1, 2)
		ask("b", 3)
		ask("a", 1, 2)
		took(2)
		time.Sleep(1100 * time.Millisecond)
		if again := ask("a", 1, 2); again != first {
			t.Error("what is the same is another")
		}
		took(1)
		now["a"] = []int{1, 2, 4}
		ask("a", 1, 2)
		time.Sleep(1100 * time.Millisecond)
		ask("a", 1, 2, 4)
		took(1)

		down.Store(true)
		for range 3 {
			time.Sleep(1100 * time.Millisecond)
			ask("a", 1, 2, 4)
		}
		time.Sleep(10 * time.Millisecond) // who knows that it failed has not waited
		if stale.Load() != 3 {
			t.Errorf("said %d times", stale.Load())
		}
		took(3)
		if _, err := f.get(t.Context(), "c", nil); err == nil {
			t.Error("what was never read was had")
		}
		// One that hangs keeps nobody waiting who knows that it failed.
		slow.Store(int64(time.Minute))
		time.Sleep(1100 * time.Millisecond)
		start := time.Now()
		ask("a", 1, 2, 4)
		if waited := time.Since(start); waited > 0 {
			t.Errorf("it took %v", waited)
		}
		down.Store(false)
		slow.Store(0)
		time.Sleep(2 * time.Minute)
		ask("a", 1, 2, 4)
		time.Sleep(10 * time.Millisecond)
		now["a"] = []int{1, 2}
		ask("a", 1, 2, 4)
		epoch.Add(1) // what was read before is worth nothing
		ask("a", 1, 2)
		down.Store(true)
		epoch.Add(1)
		if v, err := f.get(t.Context(), "a", nil); err == nil {
			t.Errorf("of another epoch: %v", *v)
		}
		synctest.Wait()
	})
}

// A request without a permit gets the stale value, or is refused. Those with a permit are not refused with it, though
// they ask at the same time.
func TestStaleCacheRefusalAffectsNobodyElse(t *testing.T) {
	ctx := t.Context()
	refuse := func(context.Context) (func(time.Duration), error) { return nil, errTooManySearches }
	f := newStaleCache(10, &staleCache[int]{
		freshFor: time.Hour, equal: func(a, b int) bool { return a == b }, onStale: func(error) {},
		read: func(context.Context, string) (int, time.Duration, error) { return 7, 0, nil },
	})
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			may := readPermit(refuse)
			if n%2 == 0 {
				may = nil
			}
			v, err := f.get(ctx, "a", may)
			if may == nil && err != nil || err == nil && *v != 7 || err != nil && !errors.Is(err, errTooManySearches) {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	all.Wait()
	f.freshFor = 0 // from now on all is old at once
	if _, err := f.get(ctx, "b", refuse); !errors.Is(err, errTooManySearches) {
		t.Errorf("never read, and refused: %v", err)
	}
	for range 2 {
		if _, err := f.get(ctx, "b", nil); err != nil {
			t.Error(err)
		}
	}
	if v, err := f.get(ctx, "b", refuse); err != nil || *v != 7 {
		t.Errorf("read before, and refused: %v, %v", v, err)
	}
}
