package realtime

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// What Admit says of a browser that is to come back later, or elsewhere.
var (
	ErrDraining = errors.New("this instance is about to stop")
	ErrFull     = errors.New("this instance has all the sessions it may have")
	ErrRate     = errors.New("this instance has had all the new sessions of this second")
	ErrAddress  = errors.New("this address has all the sessions that it may have here")
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

// Admit is to be called for each handshake, which is to be refused with 503
// before the upgrade if it says why: an accept and a close would tell the
// browser that all is well, and to come again at once.
//
// From is the address of the browser; the zero Addr has no limit.
func (h *Hub) Admit(from netip.Addr) error {
	err := h.Admits()
	if err == nil && h.crowded(from) {
		err = ErrAddress
	}
	if err == nil && !h.joins.Allow() {
		err = ErrRate
	}
	h.refuse(err)
	return err
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

func (h *Hub) crowded(from netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cfg.MaxPerClient > 0 && from.IsValid() && h.clients[clientOf(from)] >= h.cfg.MaxPerClient
}
