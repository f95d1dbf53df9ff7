package auth

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLocalLimiterTakesAndGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLocalLimiter()
		rate := Rate{Name: "calls", Calls: 3, Per: 3 * time.Minute}
		for _, key := range []string{"one", "two"} {
			for i := range 3 {
				want := Allowance{OK: true, Remaining: 2 - i, Reset: time.Duration(i+1) * time.Minute, local: true}
				if got := a.take(rate, key, 1); got != want {
					t.Errorf("call %d of %s: %+v, want %+v", i, key, got, want)
				}
			}
		}
		time.Sleep(59 * time.Second)
		want := Allowance{Reset: 2*time.Minute + time.Second, Retry: time.Second, local: true}
		if got := a.take(rate, "one", 1); got != want {
			t.Errorf("over the limit: %+v, want %+v", got, want)
		}
		time.Sleep(time.Second)
		for _, ok := range []bool{true, false} {
			if got := a.take(rate, "one", 1); got.OK != ok {
				t.Errorf("a minute later: %+v, want %v", got, ok)
			}
		}
		// One is given back, and not the other.
		a.giveBack(rate, "one", 1)
		a.giveBack(rate, "nobody", 1)
		for _, ok := range []bool{true, false} {
			if got := a.take(rate, "one", 1); got.OK != ok {
				t.Errorf("after one was given back: %+v, want %v", got, ok)
			}
		}
		for range 100 {
			a.giveBack(rate, "two", 1)
		}
		for i := range 4 {
			if got := a.take(rate, "two", 1); got.OK != (i < 3) {
				t.Errorf("call %d after too many were given back: %+v", i, got)
			}
		}
		// As many as are wanted, or none.
		for i, n := range []int{4, 2, 2, 1} {
			if got := a.take(rate, "three", n); got.OK != (n == 2 && i == 1 || n == 1) {
				t.Errorf("%d calls: %+v", n, got)
			}
		}
		a.giveBack(rate, "three", 2)
		if got := a.take(rate, "three", 3); got.OK || got.Retry != time.Minute {
			t.Errorf("3 calls where 2 are left: %+v", got)
		}
	})
}

// However many keys there are, only those that took a call last are kept.
func TestLocalLimiterForgetsOldestKeys(t *testing.T) {
	a := newLocalLimiter()
	once := Rate{Name: "calls", Calls: 1, Per: time.Hour}
	a.take(once, "old", 1)
	a.take(once, "kept", 1)
	for i := range 2 * maxLocalKeys {
		a.take(once, fmt.Sprint(i), 1)
		if got := a.take(once, "kept", 1); got.OK {
			t.Fatalf("after %d others: %+v", i, got)
		}
		a.giveBack(once, fmt.Sprint("given back to ", i), 1)
	}
	if len(a.byKey) != maxLocalKeys || a.recent.Len() != maxLocalKeys {
		t.Errorf("%d and %d keys", len(a.byKey), a.recent.Len())
	}
	for key, known := range map[string]bool{
		"kept": true, fmt.Sprint(2*maxLocalKeys - 1): true,
		fmt.Sprint(maxLocalKeys + 1): true, fmt.Sprint(maxLocalKeys): false, "old": false,
	} {
		if _, has := a.byKey[rateKey{once, key}]; has != known {
			t.Errorf("%s is known: %v", key, has)
		}
	}
}
