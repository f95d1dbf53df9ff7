package realtime

import (
	"cmp"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"shelfcast/store"
)

// A session is one page in one browser. It has no queue and no buffer: it knows the topic of
// each product on the page, and the version that the page shows. An instance may have a
// hundred thousand sessions, so every byte of this struct counts.
type session struct {
	// Static after construction.
	hub  *Hub
	id   uint64 // slot and generation, see table
	from client

	lastRead atomic.Int64 // when the browser was last heard from, in Unix nanoseconds

	// Owned by the worker that handles what the browser sends; one at a time.
	in *inbound // nil unless part of a message has arrived

	// The fields that a flush cycle needs are side by side: with thousands of sessions, and a
	// system call for each, every cache line that it touches has to come from memory.

	conn         connection // static after construction
	createdAt    int64      // Unix nanoseconds; static after construction
	mode         Mode       // static after construction
	protocol     Protocol   // static after construction
	partialBytes int32      // memory of a partial message, see maxPartialBytes; guarded by mu

	subscriber *subscriber // nil unless the protocol is Odoo; static after construction

	// Guarded by mu, which is also held while the connection is written, read and closed: the
	// file descriptor of a closed connection may belong to another one a moment later.
	mu           sync.Mutex
	blocked      bool // the connection has no room; it calls writable when it has
	closing      bool // the last frame is in out or sent; nothing may follow
	finished     bool // the last frame is sent
	closed       bool
	checking     bool        // it is queued for a version check
	paused       bool        // not read from until its budget is back
	closeReason  closeReason // why this instance closes it
	watching     []watched   // changed only with Hub.mu held as well
	out          *outbox     // nil: nothing to send
	pingedAt     int64       // Unix nanoseconds of the last ping, or of when the browser last had no room for it
	closeBy      int64       // when closing: Unix nanoseconds at which it is closed anyway
	budgetFullAt int64       // Unix nanoseconds at which its whole budget is available again
}

// slot returns the session's place in the table.
func (s *session) slot() uint32 { return uint32(s.id) }

// request handles a message of a browser that speaks shelfcast.v1.
func (s *session) request(message []byte, w *scratch) *refusal {
	r, refused := s.hub.parseRequest(message)
	if refused != nil {
		return refused
	}
	s.charge(0, len(r.Watch)+len(r.Unwatch)+len(r.Applied))
	if refused := s.register(r.Unwatch, r.Watch); refused != nil {
		return refused
	}
	if r.Ping != nil {
		s.send(w, echoLane, pongFrame(*r.Ping))
	}
	if len(r.Applied) > 0 {
		s.applied(r.Applied)
	}
	if len(r.Watch) > 0 {
		s.startVersionCheck(w, r.Watch)
		s.flush(w)
	}
	return nil
}

// latency returns how long ago the version was made. It counts only if that was while the
// session was connected: what a page missed while it was away says nothing about this tier.
func (s *session) latency(version int64, now time.Time) (age time.Duration, counts bool) {
	made := version*1000 - int64(s.hub.firehose.off()) // by our clock
	return time.Duration(max(now.UnixNano()-made, 0)), made > s.createdAt
}

// applied handles a page's report that it now shows these versions. Each counts once, and
// only if this instance sent it.
func (s *session) applied(revs []store.Rev) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range revs {
		for i := range s.watching {
			w := &s.watching[i]
			if w.topic.id != r.ID || w.shown.version() != r.Version || w.shown&(reported|delivered) != delivered {
				continue
			}
			w.shown |= reported
			if age, counts := s.latency(r.Version, now); counts {
				s.hub.metrics.applied.Observe(age.Seconds())
			}
		}
	}
}

// refuse tells the browser what was wrong, and closes the session if the refusal says so.
func (s *session) refuse(w *scratch, r *refusal) {
	s.hub.metrics.refusals.WithLabelValues(r.Code).Inc()
	frames, last := s.speaks().refusal(r)
	if last {
		s.sendLast(w, refusedInput, frames)
		return
	}
	s.send(w, controlLane, frames)
}

// noteActivity records that the browser has sent something.
func (s *session) noteActivity() { s.lastRead.Store(time.Now().UnixNano()) }

// ping pings the browser, unless a ping is pending. Over a protocol without answers a ping
// that was queued counts as activity.
func (s *session) ping(w *scratch) {
	frames, answered := s.speaks().ping()
	if !answered {
		s.noteActivity()
		s.send(w, controlLane, frames)
		return
	}
	s.mu.Lock()
	asked := s.pingPending()
	if !asked {
		s.pingedAt = time.Now().UnixNano()
	}
	s.mu.Unlock()
	if !asked {
		s.send(w, controlLane, frames)
	}
}

// pingPending reports whether the browser has sent nothing since it was last pinged. mu must
// be held.
func (s *session) pingPending() bool { return s.pingedAt > s.lastRead.Load() }

// end closes the connection at once.
func (s *session) end() { s.endFor(closedByClient) }

// endFor is end for a reason, unless there already is one.
func (s *session) endFor(why closeReason) {
	s.mu.Lock()
	s.closeReason = cmp.Or(s.closeReason, why)
	s.close()
	s.mu.Unlock()
	s.hub.remove(s)
}

// drop is endFor for a browser that does not read what was written. The kernel discards it,
// which it would otherwise keep for minutes.
func (s *session) drop(why closeReason) {
	s.mu.Lock()
	if !s.closed {
		s.conn.discard()
	}
	s.mu.Unlock()
	s.endFor(why)
}

// close closes the connection. mu must be held; the caller then calls Hub.remove without it.
func (s *session) close() {
	if !s.closed {
		s.closed = true
		s.conn.close()
	}
}

// survive recovers a panic, so that it ends one session and not all of them. Defer it.
func (s *session) survive() {
	if cause := recover(); cause != nil {
		s.hub.logPanic("handling a session panicked; the session is closed", cause)
		s.endFor(panicked)
	}
}

// logPanic counts and logs a recovered panic.
func (h *Hub) logPanic(what string, cause any) {
	h.metrics.panics.Inc()
	h.log.Error(what, "panic", cause, "stack", string(debug.Stack()))
}

// errClosed means that the browser has closed the connection, or that it broke.
var errClosed = errors.New("the connection is closed")
