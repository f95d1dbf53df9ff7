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

// A session is one page of one browser. It holds no queue and no buffer: for
// each product on the page, which topic it is and what version the page shows.
// There may be a hundred thousand of them: each field counts.
type session struct {
	// Static after construction.
	hub  *Hub
	id   uint64 // slot and turn, see table
	from client

	lastRead atomic.Int64 // when the browser was last heard from, in Unix nanoseconds

	// Owned by whoever handles what the browser says; one at a time.
	in *inbound // nil unless a message has come in part

	// What a round needs is side by side: among thousands of sessions, whose
	// writes go through the kernel, every line of the cache that it touches has
	// to be fetched from memory.

	link link  // static after construction
	born int64 // Unix nanoseconds; static after construction
	mode Mode  // static after construction
	wire Wire  // static after construction
	held int32 // bytes of a message that has come in part, as they count for heldBytes; guarded by mu

	follower *follower // of the Odoo wire, else nil; static after construction

	// Guarded by mu. The connection is written, read and closed with it held:
	// the number of a closed one may be somebody else's the next moment.
	mu       sync.Mutex
	blocked  bool // the link has no room; it says when it has
	closing  bool // the last frame is in out or sent: nothing comes after it
	finished bool // the last frame is sent
	closed   bool
	asking   bool      // it is in the queue of asks
	paused   bool      // it is not read from until its budget is back
	ending   ending    // why it is closed, if it is not the browser's doing
	watching []watched // added to and taken from only with Hub.mu held too
	out      *outbox   // nil if there is nothing to say
	pingedAt int64     // when it was last pinged, or seen unable to read the ping, in Unix nanoseconds
	closeBy  int64     // when closing: to be ended then, in Unix nanoseconds
	paidBy   int64     // when all of its budget is back, in Unix nanoseconds
}

// slot is where the table has it.
func (s *session) slot() uint32 { return uint32(s.id) }

// receive takes a message of the browser.
func (s *session) receive(message []byte, w *work) *refusal {
	if s.wire == Odoo {
		s.hear(message, w)
		return nil
	}
	r, refused := s.hub.parseRequest(message)
	if refused != nil {
		return refused
	}
	s.charge(0, len(r.Watch)+len(r.Unwatch)+len(r.Applied))
	if refused := s.register(r.Unwatch, r.Watch); refused != nil {
		return refused
	}
	if r.Ping != nil {
		s.say(w, echoLane, pongFrame(*r.Ping))
	}
	if len(r.Applied) > 0 {
		s.applied(r.Applied)
	}
	if len(r.Watch) > 0 {
		s.compare(w, r.Watch)
		s.flush(w)
	}
	return nil
}

// fresh is how long ago the version was made, if it was made while the session
// was there: what a page missed while it was away says nothing of this tier.
func (s *session) fresh(version int64, now time.Time) (age time.Duration, counts bool) {
	made := version * 1000
	return time.Duration(max(now.UnixNano()-made, 0)), made > s.born
}

// applied takes the word of a page that it now shows what it was sent, once for
// each version. Of versions that it has only claimed to show nothing is counted.
func (s *session) applied(revs []store.Rev) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range revs {
		for i := range s.watching {
			w := &s.watching[i]
			if w.topic.id != r.ID || w.shown.version() != r.Version || w.shown&(reported|ours) != ours {
				continue
			}
			w.shown |= reported
			if age, counts := s.fresh(r.Version, now); counts {
				s.hub.metrics.applied.Observe(age.Seconds())
			}
		}
	}
}

// refuse says what was wrong, and closes if the refusal says so.
func (s *session) refuse(w *work, r *refusal) {
	s.hub.metrics.refusals.WithLabelValues(r.Code).Inc()
	if s.wire == Odoo { // its client takes no text but notifications
		s.last(w, endRefused, s.wire.end(r.close, r.Code))
		return
	}
	if r.close != 0 {
		s.last(w, endRefused, append(s.wire.message(r.text()), s.wire.end(r.close, r.Code)...))
		return
	}
	s.say(w, controlLane, s.wire.message(r.text()))
}

// heard notes that the browser has been heard from.
func (s *session) heard() { s.lastRead.Store(time.Now().UnixNano()) }

// ping asks the browser for a sign of life, once until it is heard from. One
// that cannot answer has been heard from when it is told.
func (s *session) ping(w *work) {
	if s.wire == EventStream {
		s.heard()
		s.say(w, controlLane, beat)
		return
	}
	s.mu.Lock()
	asked := s.asked()
	if !asked {
		s.pingedAt = time.Now().UnixNano()
	}
	s.mu.Unlock()
	if !asked {
		s.say(w, controlLane, s.wire.ping())
	}
}

// asked needs mu held. It reports whether the browser was pinged, and not heard from
// since.
func (s *session) asked() bool { return s.pingedAt > s.lastRead.Load() }

// end closes the connection, at once.
func (s *session) end() { s.endFor(endLeft) }

// endFor is end for that reason, unless there was one before.
func (s *session) endFor(why ending) {
	s.mu.Lock()
	s.ending = cmp.Or(s.ending, why)
	s.close()
	s.mu.Unlock()
	s.hub.remove(s)
}

// drop is endFor for a browser that does not take what was written to it: the kernel is not to keep that for minutes.
func (s *session) drop(why ending) {
	s.mu.Lock()
	if !s.closed {
		s.link.discard()
	}
	s.mu.Unlock()
	s.endFor(why)
}

// close needs mu held; Hub.remove is to follow, without.
func (s *session) close() {
	if !s.closed {
		s.closed = true
		s.link.close()
	}
}

// survive keeps a fault of ours that one session meets from ending all others.
func (s *session) survive() {
	if fault := recover(); fault != nil {
		s.hub.fault("a session met a fault, and is closed", fault)
		s.endFor(endFault)
	}
}

// fault counts and logs a fault of ours.
func (h *Hub) fault(what string, fault any) {
	h.metrics.faults.Inc()
	h.log.Error(what, "fault", fault, "stack", string(debug.Stack()))
}

// errClosed: the browser has closed the connection, or it is broken.
var errClosed = errors.New("the connection is closed")
