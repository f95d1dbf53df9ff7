package realtime

import "time"

// A redelivery is news that will be delivered a second time.
type redelivery struct {
	at   time.Time
	news news
}

// redeliverLater delivers n again after a delay, unless there is a newer version by then.
// Hub.mu must be held.
//
// When Odoo's client hears of a change it fetches the product. That request may reach an
// instance that has not observed the version yet; responses may arrive out of order; and
// the client does not retry a request that failed. By the second delivery every instance
// has observed the version, by its feed if not by the bus.
func (c *firehose) redeliverLater(n news, after time.Duration) {
	if after > 0 {
		n.redelivered = true
		c.redeliveries = append(c.redeliveries, redelivery{time.Now().Add(after), n})
	}
}

// runDue delivers what is due.
func (c *firehose) runDue(h *Hub, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []news
	for len(c.redeliveries) > 0 && !now.Before(c.redeliveries[0].at) {
		n := c.redeliveries[0].news
		c.redeliveries = c.redeliveries[1:]
		if c.topics[n.topic.id] == n.topic && n.topic.newest.Load() == n.version {
			all = append(all, n)
		}
	}
	if len(c.redeliveries) == 0 {
		c.redeliveries = nil
	}
	if len(all) > 0 {
		h.flushes.add(all...)
	}
}
