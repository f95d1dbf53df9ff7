package realtime

import "sync"

// A workerPool processes a queue with up to maxWorkers goroutines. It starts them when
// there is work, and they end when the queue is empty.
type workerPool[T any] struct {
	// Static after construction.
	maxWorkers int
	batch      int       // most items per call of run; 0: everything that is queued
	run        func([]T) // must not keep the slice
	hub        *Hub      // waits for the goroutines

	// Guarded by mu.
	mu      sync.Mutex
	queue   []T
	working int
}

// add queues items and never blocks. It reports whether they will be processed: they
// will not once the hub has ended.
func (c *workerPool[T]) add(items ...T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, items...)
	for range min(len(items), c.maxWorkers-c.working) {
		if c.hub.start(c.loop) { // or else the hub has ended
			c.working++
		}
	}
	if c.working == 0 {
		c.queue = nil
	}
	return c.working > 0
}

func (c *workerPool[T]) loop() {
	var items []T
	for {
		c.mu.Lock()
		n := len(c.queue)
		if c.batch > 0 {
			n = min(n, c.batch)
		}
		if n == 0 {
			c.working--
			c.queue = nil // do not keep the memory of a burst
			c.mu.Unlock()
			return
		}
		items = append(items[:0], c.queue[:n]...)
		clear(c.queue[:n])
		c.queue = c.queue[n:]
		c.mu.Unlock()
		c.run(items)
		clear(items)
	}
}
