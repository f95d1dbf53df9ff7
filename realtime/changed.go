package realtime

import "sync/atomic"

// Changed is closed by the next news that the hub hears of, of any product,
// watched or not, and is another channel then. Whoever waits takes it first and
// looks for changes then, so that nothing falls between the two.
func (h *Hub) Changed() <-chan struct{} { return h.changed.wait() }

// changed is a channel for all who wait, which there is only while somebody does.
type changed struct {
	closing atomic.Pointer[chan struct{}] // nil: nobody waits
	newest  atomic.Int64                  // version that was applied, of all products
}

func (c *changed) wait() <-chan struct{} {
	for {
		if to := c.closing.Load(); to != nil {
			return *to
		}
		to := make(chan struct{})
		if c.closing.CompareAndSwap(nil, &to) {
			return to
		}
	}
}

// note takes the newest version of what was applied. Heard says that any of it
// was news to the fragments. What a page was loaded with before the bus told of
// it was not, and nobody was woken for it: it is newer than all that was applied.
func (c *changed) note(version int64, heard bool) {
	newest := c.newest.Load()
	for newest < version && !c.newest.CompareAndSwap(newest, version) {
		newest = c.newest.Load()
	}
	if (heard || newest < version) && c.closing.Load() != nil {
		if to := c.closing.Swap(nil); to != nil {
			close(*to)
		}
	}
}
