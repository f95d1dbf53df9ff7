package realtime

import (
	"sync"
	"testing"
	"time"
)

// isClosed looks without waiting.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Two wait, and both are woken by the next news, whatever product it is of and
// whether anybody watches it; what is no news wakes nobody.
func TestChangeSignalWakesAllWaiters(t *testing.T) {
	s := newShop(rev(1, 10), rev(2, 10))
	h := quietHub(t, s, Config{})
	for _, c := range []struct {
		what  string
		apply func()
		wakes bool
	}{
		{"news", func() { h.Apply(rev(1, 10)) }, true},
		{"the same", func() { h.Apply(rev(1, 10)) }, false},
		{"older", func() { h.Apply(rev(1, 9)) }, false},
		{"older, of another", func() { h.Apply(rev(2, 8)) }, true},
		{"a batch", func() { h.Apply(rev(1, 9), rev(2, 9), rev(1, 10)) }, true},
		{"the same batch", func() { h.Apply(rev(1, 9), rev(2, 9), rev(1, 10)) }, false},
		{"no batch", func() { h.Apply() }, false},
		{"a page that is loaded", func() { s.Observe(rev(2, 11)) }, false},
		{"its news", func() { h.Apply(rev(2, 11)) }, true},
		{"its news again", func() { h.Apply(rev(2, 11)) }, false},
		{"a batch with what a page was loaded with", func() { s.Observe(rev(1, 12)); h.Apply(rev(1, 12), rev(2, 11)) }, true},
	} {
		a, b := h.Changed(), h.Changed()
		c.apply()
		if isClosed(a) != c.wakes || isClosed(b) != c.wakes {
			t.Errorf("%s: one was woken: %v, the other: %v, want %v", c.what, isClosed(a), isClosed(b), c.wakes)
		}
		if isClosed(h.Changed()) {
			t.Fatalf("%s: a new waiter was woken at once", c.what)
		}
	}
}

// Two wait and look, over and over, while two others make news: none of it is
// missed.
func TestChangeSignalMissesNoChange(t *testing.T) {
	const edits = 5000
	s := newShop()
	h := quietHub(t, s, Config{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				next := h.Changed()
				if s.has(1, edits) && s.has(2, edits) {
					return
				}
				select {
				case <-next:
				case <-time.After(20 * time.Second):
					t.Error("the waiter was not woken")
					return
				}
			}
		})
	}
	for id := int64(1); id <= 2; id++ {
		all.Go(func() {
			for version := int64(1); version <= edits; version++ {
				if version%2 == 0 {
					h.Apply(rev(id, version))
				} else {
					h.Apply(rev(id, version-1), rev(id, version))
				}
			}
		})
	}
	all.Wait()
}

func (s *shop) has(id, version int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[id] >= version
}
