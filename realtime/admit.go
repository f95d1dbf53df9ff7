package realtime

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"time"
)

// What Admit says of a browser that is to come back later, or elsewhere.
var (
	ErrDraining = errors.New("this instance is about to stop")
	ErrFull     = errors.New("this instance has all the sessions it may have")
	ErrRate     = errors.New("this instance has had all the new sessions of this second")
	ErrAddress  = errors.New("this address has all the sessions that it may have here")
	ErrHurry    = errors.New("this address has had all its new sessions of this second")
)

// Admits is nil if there is room for sessions, or ErrDraining or ErrFull: the
// health of the instance.
func (h *Hub) Admits() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return ErrDraining
	case h.table.used >= h.cfg.MaxSessions:
		return ErrFull
	}
	return nil
}

// Admit is to be called for each handshake, which is to be refused with 503 (429
// if it is for the address) before the upgrade if it says why: an accept and a
// close would tell the browser that all is well, and to come again at once.
//
// From is the address of the browser; the zero Addr has no limit.
func (h *Hub) Admit(from netip.Addr) error {
	return h.admit(from, &h.arrivals, h.joins.Allow)
}

// AdmitPoll is Admit for a page that asks once and holds no session. It is
// refused whenever a session would be: a browser takes a poll that is answered
// for a sign that only its sockets do not come through.
func (h *Hub) AdmitPoll(from netip.Addr) error {
	return h.admit(from, &h.polled, func() bool { return h.joins.Tokens() >= 1 && h.polls.Allow() })
}

// admit asks take last: an address that is refused takes nothing from others.
func (h *Hub) admit(from netip.Addr, of *arrivals, take func() bool) error {
	err := h.Admits()
	c, now := clientOf(from), time.Now().UnixNano()
	h.mu.Lock()
	switch {
	case err != nil:
	case from.IsValid() && h.cfg.MaxPerClient > 0 && h.clients[c] >= h.cfg.MaxPerClient:
		err = ErrAddress
	case from.IsValid() && !(of.room(c, now) && h.arrivals.room(c, now)):
		err = ErrHurry
	case !take():
		err = ErrRate
	case from.IsValid():
		of.note(c, now)
	}
	h.mu.Unlock()
	h.refuse(err)
	return err
}

// arrivals are how many have come from each address of late. Each has as many a
// second as the rate says, and a fifth of that at once: no address has what all
// have at once (NewHub). One that has all of its own back is forgotten; as only
// those count that were let in, Config.JoinRate bounds how many are remembered.
type arrivals struct {
	each  int64            // nanoseconds; 0: there is no limit
	burst int64            // nanoseconds
	back  map[client]int64 // when all that it may have are back, in Unix nanoseconds
	prune int              // when there are so many
}

func newArrivals(rate int) arrivals {
	if rate <= 0 {
		return arrivals{}
	}
	each := int64(time.Second) / int64(rate)
	return arrivals{each: each, burst: max(each, int64(time.Second)/5), back: map[client]int64{}, prune: 1000}
}

func (a *arrivals) room(c client, now int64) bool {
	return a.each == 0 || max(a.back[c], now)+a.each-now <= a.burst
}

func (a *arrivals) note(c client, now int64) {
	if a.each == 0 {
		return
	}
	a.back[c] = max(a.back[c], now) + a.each
	if len(a.back) >= a.prune {
		maps.DeleteFunc(a.back, func(_ client, back int64) bool { return back <= now })
		a.prune = 2*len(a.back) + 1000
	}
}

// refuse counts a refusal.
func (h *Hub) refuse(err error) {
	if counter := h.metrics.refused[err]; counter != nil {
		counter.Inc()
	}
}

// A client is an IPv4 address, or the first half of an IPv6 one: a household or
// a server gets 2^64 of those at once (RFC 6177).
type client uint64

// clientOf is 0 for the zero Addr.
func clientOf(from netip.Addr) client {
	if from = from.Unmap(); from.Is4() {
		b := from.As4()
		return 0xffff<<32 | client(binary.BigEndian.Uint32(b[:])) // no IPv6 network is there
	}
	b := from.As16()
	return client(binary.BigEndian.Uint64(b[:8]))
}
