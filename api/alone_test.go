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
				if got := a.ask(rate, key, 0); !got.OK || got.Remaining != 3-i {
					t.Errorf("before call %d of %s: %+v", i, key, got)
				}
				want := Allowance{OK: true, Remaining: 2 - i, Reset: time.Duration(i+1) * time.Minute}
				if got := a.ask(rate, key, 1); got != want {
					t.Errorf("call %d of %s: %+v, want %+v", i, key, got, want)
				}
			}
		}
		time.Sleep(59 * time.Second)
		for take := range 2 {
			want := Allowance{Reset: 2*time.Minute + time.Second, Retry: time.Second}
			if got := a.ask(rate, "one", take); got.OK || !within(want.Reset-got.Reset, -time.Microsecond, time.Microsecond) ||
				!within(want.Retry-got.Retry, -time.Microsecond, time.Microsecond) {
				t.Errorf("take %d: %+v, want %+v", take, got, want)
			}
		}
		time.Sleep(time.Second)
		for _, ok := range []bool{true, false} {
			if got := a.ask(rate, "one", 0); got.OK != ok {
				t.Errorf("peek: %+v", got)
			}
			if got := a.ask(rate, "one", 1); got.OK != ok {
				t.Errorf("take: %+v", got)
			}
		}
	})
}

// However many keys there are, so many are kept: the ones that took a call last.
func TestCountingAloneIsBounded(t *testing.T) {
	a := newAlone()
	once := Rate{Name: "calls", Calls: 1, Per: time.Hour}
	a.ask(once, "old", 1)
	a.ask(once, "kept", 1)
	for i := range 2 * manyKeys {
		a.ask(once, fmt.Sprint(i), 1)
		if got := a.ask(once, "kept", 1); got.OK {
			t.Fatalf("after %d others: %+v", i, got)
		}
		a.ask(once, fmt.Sprint("peeked at ", i), 0)
	}
	if len(a.byKey) != manyKeys || a.latest.Len() != manyKeys {
		t.Errorf("%d and %d keys", len(a.byKey), a.latest.Len())
	}
	for key, known := range map[string]bool{
		"kept": true, fmt.Sprint(2*manyKeys - 1): true, fmt.Sprint(manyKeys + 1): true, fmt.Sprint(manyKeys): false, "old": false,
	} {
		if got := a.ask(once, key, 0); got.OK == known {
			t.Errorf("%s: %+v", key, got)
		}
	}
}
