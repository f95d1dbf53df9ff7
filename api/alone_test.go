package api

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestCountingAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAlone()
		rate := Rate{Name: "calls", Calls: 3, Per: 3 * time.Minute}
		for _, key := range []string{"one", "two"} {
			for i := range 3 {
				want := Allowance{OK: true, Remaining: 2 - i, Reset: time.Duration(i+1) * time.Minute, alone: true}
				if got := a.take(rate, key); got != want {
					t.Errorf("call %d of %s: %+v, want %+v", i, key, got, want)
				}
			}
		}
		time.Sleep(59 * time.Second)
		want := Allowance{Reset: 2*time.Minute + time.Second, Retry: time.Second, alone: true}
		if got := a.take(rate, "one"); got != want {
			t.Errorf("over the limit: %+v, want %+v", got, want)
		}
		time.Sleep(time.Second)
		for _, ok := range []bool{true, false} {
			if got := a.take(rate, "one"); got.OK != ok {
				t.Errorf("a minute later: %+v, want %v", got, ok)
			}
		}
		// One is given back, and not the other.
		a.giveBack(rate, "one")
		a.giveBack(rate, "nobody")
		for _, ok := range []bool{true, false} {
			if got := a.take(rate, "one"); got.OK != ok {
				t.Errorf("after one was given back: %+v, want %v", got, ok)
			}
		}
		for range 100 {
			a.giveBack(rate, "two")
		}
		for i := range 4 {
			if got := a.take(rate, "two"); got.OK != (i < 3) {
				t.Errorf("call %d after too many were given back: %+v", i, got)
			}
		}
	})
}

// However many keys there are, so many are kept: the ones that took a call last.
func TestCountingAloneIsBounded(t *testing.T) {
	a := newAlone()
	once := Rate{Name: "calls", Calls: 1, Per: time.Hour}
	a.take(once, "old")
	a.take(once, "kept")
	for i := range 2 * manyKeys {
		a.take(once, fmt.Sprint(i))
		if got := a.take(once, "kept"); got.OK {
			t.Fatalf("after %d others: %+v", i, got)
		}
		a.giveBack(once, fmt.Sprint("given back to ", i))
	}
	if len(a.byKey) != manyKeys || a.latest.Len() != manyKeys {
		t.Errorf("%d and %d keys", len(a.byKey), a.latest.Len())
	}
	for key, known := range map[string]bool{
		"kept": true, fmt.Sprint(2*manyKeys - 1): true, fmt.Sprint(manyKeys + 1): true, fmt.Sprint(manyKeys): false, "old": false,
	} {
		if _, has := a.byKey[rated{once, key}]; has != known {
			t.Errorf("%s is known: %v", key, has)
		}
	}
}
