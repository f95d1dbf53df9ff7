package api

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

// However many ask, a list is read once a second, and each list by itself; what
// was read last is used for as long as it cannot be read.
func TestAListIsReadOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads, stale atomic.Int64
		var down atomic.Bool
		var epoch atomic.Int64
		var slow atomic.Int64
		now := map[string][]int{"a": {1, 2}, "b": {3}}
		f := newFresh(10, &fresh[[]int]{
			keep: time.Second, same: slices.Equal[[]int], stale: func(error) { stale.Add(1) }, epoch: epoch.Load,
			read: func(_ context.Context, key string) ([]int, error) {
				reads.Add(1)
				time.Sleep(time.Millisecond + time.Duration(slow.Load()))
				if down.Load() {
					return nil, errors.New("away")
				}
				return now[key], nil
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

// Who may not have a value read is given that of before, or is refused; and those
// who may are not refused with him, though they ask together.
func TestWhoMayNotReadKeepsNobodyOut(t *testing.T) {
	ctx := t.Context()
	refuse := func(context.Context) error { return ErrSearches }
	f := newFresh(10, &fresh[int]{
		keep: time.Hour, same: func(a, b int) bool { return a == b }, stale: func(error) {},
		read: func(context.Context, string) (int, error) { return 7, nil },
	})
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			leave := refuse
			if n%2 == 0 {
				leave = nil
			}
			v, err := f.get(ctx, "a", leave)
			if leave == nil && err != nil || err == nil && *v != 7 || err != nil && !errors.Is(err, ErrSearches) {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
	all.Wait()
	f.keep = 0 // from now on all is old at once
	if _, err := f.get(ctx, "b", refuse); !errors.Is(err, ErrSearches) {
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
