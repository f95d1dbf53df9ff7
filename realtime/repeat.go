package realtime

import "time"

// A repeat is news that is told once more.
type repeat struct {
	at   time.Time
	news news
}

// repeat has the news told once more after a while, if there is none newer by
// then; Hub.mu held. Odoo's client asks for a product when it is told, whatever
// instance that question comes to, which may have yet to hear of the change; it
// lets answers overtake each other; and it does not ask again if one fails. By the
// second time every instance has heard, by the feed at the latest.
func (c *channel) repeat(n news, after time.Duration) {
	if after > 0 {
		n.again = true
		c.repeats = append(c.repeats, repeat{time.Now().Add(after), n})
	}
}

// due tells once more what it is time for.
func (c *channel) due(h *Hub, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []news
	for len(c.repeats) > 0 && !now.Before(c.repeats[0].at) {
		n := c.repeats[0].news
		c.repeats = c.repeats[1:]
		if c.topics[n.topic.id] == n.topic && n.topic.newest.Load() == n.version {
			all = append(all, n)
		}
	}
	if len(c.repeats) == 0 {
		c.repeats = nil
	}
	if len(all) > 0 {
		h.rounds.add(all...)
	}
}
