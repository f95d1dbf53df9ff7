package realtime

import "sync/atomic"

// Changed returns a channel that is closed when the hub next observes a version of any
// product, watched or not. Take the channel first, then look for changes, then wait: that
// way nothing is missed in between.
func (h *Hub) Changed() <-chan struct{} { return h.changed.wait() }

// ObserveHidden takes in that the database has a version of a product that shoppers may not
// see. It only wakes those who wait for changes.
func (h *Hub) ObserveHidden(version int64) { h.changed.note(version, false) }

// changed wakes everyone who waits for a change. It holds a channel only while somebody
// waits.
type changed struct {
	closing atomic.Pointer[chan struct{}] // closed by the next change; nil: nobody waits
	newest  atomic.Int64                  // greatest version noted, over all products
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

// note wakes the waiters if any of the versions was news. version is the newest of them.
// Nobody knows what is news of products that shoppers may not see: a version of them counts
// as news if it is greater than every version before.
func (c *changed) note(version int64, news bool) {
	newest := c.newest.Load()
	for newest < version && !c.newest.CompareAndSwap(newest, version) {
		newest = c.newest.Load()
	}
	if (news || newest < version) && c.closing.Load() != nil {
		if to := c.closing.Swap(nil); to != nil {
			close(*to)
		}
	}
}
