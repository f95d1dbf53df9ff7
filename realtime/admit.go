package realtime

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"time"
)

// Reasons for which Admit refuses a browser, which should try again later or elsewhere.
var (
	ErrDraining    = errors.New("this instance is shutting down")
	ErrFull        = errors.New("this instance has reached its session limit")
	ErrRate        = errors.New("too many new sessions per second on this instance")
	ErrAddressFull = errors.New("session limit for this address reached")
	ErrAddressRate = errors.New("too many new sessions per second from this address")
	ErrOrigin      = errors.New("this origin is not allowed to open sessions")
)

// Admits returns nil if there is room for sessions, and ErrDraining or ErrFull otherwise.
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

// Admit decides about a handshake. On an error refuse it before the upgrade, with 503, or with
// 429 for ErrAddressFull and ErrAddressRate: accepting and then closing would tell the browser that all
// is well, and make it reconnect at once.
//
// from is the address of the browser; the zero Addr has no limit.
func (h *Hub) Admit(from netip.Addr) error {
	return h.admit(from, &h.arrivals, h.joins.Allow)
}

// AdmitPoll is Admit for a poll, which makes no session. Polls are refused whenever a session
// would be: a browser whose poll succeeds concludes that only its sockets are blocked.
func (h *Hub) AdmitPoll(from netip.Addr) error {
	return h.admit(from, &h.polled, func() bool { return h.joins.Tokens() >= 1 && h.polls.Allow() })
}

// admit calls take last, so that an address that is refused takes nothing from others.
func (h *Hub) admit(from netip.Addr, of *arrivals, take func() bool) error {
	err := h.Admits()
	c, now := clientOf(from), time.Now().UnixNano()
	h.mu.Lock()
	switch {
	case err != nil:
	case from.IsValid() && h.cfg.MaxPerClient > 0 && h.clients[c] >= h.cfg.MaxPerClient:
		err = ErrAddressFull
	case from.IsValid() && !(of.room(c, now) && h.arrivals.room(c, now)):
		err = ErrAddressRate
	case !take():
		err = ErrRate
	case from.IsValid():
		of.note(c, now)
	}
	h.mu.Unlock()
	h.refuse(err)
	return err
}

// arrivals limits the rate of each address: so many a second, and half of that at once. An
// address is forgotten when its allowance is full again. Only admitted sessions count, so
// Config.JoinRate bounds how many addresses are remembered.
type arrivals struct {
	each  int64            // nanoseconds; 0: there is no limit
	burst int64            // nanoseconds
	back  map[client]int64 // when the allowance is full again, in Unix nanoseconds
	prune int              // length of back at which full ones are removed
}

func newArrivals(rate int) arrivals {
	if rate <= 0 {
		return arrivals{}
	}
	each := int64(time.Second) / int64(rate)
	return arrivals{each: each, burst: max(each, int64(time.Second)/2), back: map[client]int64{}, prune: 1000}
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

// RefuseOrigin counts a handshake or poll that was refused with ErrOrigin before Admit was
// called.
func (h *Hub) RefuseOrigin() { h.refuse(ErrOrigin) }

// refuse counts a refusal.
func (h *Hub) refuse(err error) {
	if counter := h.metrics.refused[err]; counter != nil {
		counter.Inc()
	}
}

// A client is an IPv4 address, or the first 64 bits of an IPv6 address: one household or
// server gets 2^64 of those at once (RFC 6177).
type client uint64

// clientOf returns the client of an address, and 0 for the zero Addr.
func clientOf(from netip.Addr) client {
	if from = from.Unmap(); from.Is4() {
		b := from.As4()
		return 0xffff<<32 | client(binary.BigEndian.Uint32(b[:])) // not a prefix of any IPv6 network
	}
	b := from.As16()
	return client(binary.BigEndian.Uint64(b[:8]))
}
