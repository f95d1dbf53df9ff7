package realtime

import "sync"

// A crew works off a queue with some goroutines, of which there are only as
// many as there is work for, and none while there is none.
type crew[T any] struct {
	// Static after construction.
	most  int       // goroutines
	batch int       // of the queue for one call of work; 0: all that there is
	work  func([]T) // must not keep the slice
	hub   *Hub      // which waits for the goroutines

	// Guarded by mu.
	mu      sync.Mutex
	queue   []T
	working int
}

// add never blocks. It says whether the items will be worked on: not once the
// hub has ended.
func (c *crew[T]) add(items ...T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, items...)
	for range min(len(items), c.most-c.working) {
		if c.hub.start(c.loop) { // or else the hub has ended
			c.working++
		}
	}
	if c.working == 0 {
		c.queue = nil
	}
	return c.working > 0
}

func (c *crew[T]) loop() {
	var items []T
	for {
		c.mu.Lock()
		n := len(c.queue)
		if c.batch > 0 {
			n = min(n, c.batch)
		}
		if n == 0 {
			c.working--
			c.queue = nil // a storm's is not kept
			c.mu.Unlock()
			return
		}
		items = append(items[:0], c.queue[:n]...)
		clear(c.queue[:n])
		c.queue = c.queue[n:]
		c.mu.Unlock()
		c.work(items)
		clear(items)
	}
}
