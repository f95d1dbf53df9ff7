package realtime

import "time"

// Everything that a browser sends costs time out of its session's budget, which refills at the
// rate of the clock. A session that has spent more is not read from until it has refilled:
// TCP slows the browser down, nothing it has sent is lost, and neither a page that opens many
// tabs at once nor one with a fast connection is closed. This bounds the work that one session
// can cause to 250 products a second with the bytes for them, or 25 KB a second of anything
// else.
const (
	itemCost = 2500 * time.Microsecond // a frame, or an element of a list in it
	byteCost = 40 * time.Microsecond   // unless the protocol says otherwise

	budgetLeast      = 10 * time.Second
	budgetPerProduct = 20 * time.Millisecond // enough to subscribe to everything, unsubscribe and subscribe again
)

// burst returns the size of a full budget.
func (h *Hub) burst() time.Duration {
	return max(budgetLeast, time.Duration(h.cfg.MaxProducts)*budgetPerProduct)
}

// charge takes what the browser has sent out of the session's budget.
func (s *session) charge(bytes, items int) {
	cost := time.Duration(items)*itemCost + time.Duration(bytes)*s.speaks().byteCost()
	now := time.Now().UnixNano()
	s.mu.Lock()
	s.budgetFullAt = max(s.budgetFullAt, now) + int64(cost)
	s.mu.Unlock()
}

// overdrawn reports whether the session must not be read from yet. mu must be held.
func (s *session) overdrawn(now time.Time) bool {
	return s.budgetFullAt-now.UnixNano() > int64(s.hub.burst())
}

// receiveBytes handles what a connection has read. An error ends the connection.
func (s *session) receiveBytes(w *scratch, data []byte) error {
	s.charge(len(data), 0)
	if s.over() {
		return nil // read and drop, until the browser closes the connection
	}
	return s.speaks().receive(s, w, data)
}
