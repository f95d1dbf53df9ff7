package realtime

import "time"

// What a browser says costs it time out of a budget, which comes back at the rate of the clock. A browser that has
// spent more is not read from until it is back: TCP slows it down, what it has said is not lost, and neither a page
// that opens many tabs at once nor one with a fast connection is closed. So what one session can have done is bounded,
// whatever it sends: 250 products a second with the bytes for them, or 25 KB a second of anything else.
const (
	itemCost     = 2500 * time.Microsecond // a frame, or an element of a list in it
	byteCost     = 40 * time.Microsecond
	odooByteCost = 5 * time.Microsecond // its messages may have 1 MiB, and no lists that cost anything

	budgetLeast      = 10 * time.Second
	budgetPerProduct = 20 * time.Millisecond // a session may watch, unwatch and watch again all that it may have
)

// burst is what a session that was silent for a while may spend at once.
func (h *Hub) burst() time.Duration {
	return max(budgetLeast, time.Duration(h.cfg.MaxProducts)*budgetPerProduct)
}

// charge takes what the browser has said out of the session's budget.
func (s *session) charge(bytes, items int) {
	cost := time.Duration(items) * itemCost
	if s.wire == Odoo {
		cost += time.Duration(bytes) * odooByteCost
	} else {
		cost += time.Duration(bytes) * byteCost
	}
	now := time.Now().UnixNano()
	s.mu.Lock()
	s.paidBy = max(s.paidBy, now) + int64(cost)
	s.mu.Unlock()
}

// overdrawn reports whether the session is not to be read from yet; mu held.
func (s *session) overdrawn(now time.Time) bool {
	return s.paidBy-now.UnixNano() > int64(s.hub.burst())
}

// arrived takes what a link has read. An error ends the connection.
func (s *session) arrived(w *work, data []byte) error {
	s.charge(len(data), 0)
	if s.over() {
		return nil // it is read until the browser closes the connection
	}
	return s.take(w, data)
}
