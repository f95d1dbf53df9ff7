package realtime

import (
	"cmp"
	"errors"
	"runtime/debug"
	"slices"
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

	follower *follower // of the Odoo wire, else nil; static after construction

	// Guarded by mu. The connection is written, read and closed with it held:
	// the number of a closed one may be somebody else's the next moment.
	mu       sync.Mutex
	blocked  bool // the link has no room; it says when it has
	closing  bool // the last frame is in out or sent: nothing comes after it
	finished bool // the last frame is sent
	closed   bool
	asking   bool      // it is in the queue of asks
	ending   ending    // why it is closed, if it is not the browser's doing
	watching []watched // added to only with Hub.mu held too
	out      *outbox   // nil if there is nothing to say
	pingedAt int64     // lastRead at the last ping: one ping a silence
	closeBy  int64     // when closing: to be ended then, in Unix nanoseconds
}

// slot is where the table has it.
func (s *session) slot() uint32 { return uint32(s.id) }

// watched is one product of the page.
type watched struct {
	topic *topic
	shown shown
}

// shown is the version that the page shows, 0 for none; whether it is yet to be
// compared with the database's; whether the page has said that it shows it; and
// whether it is owed a newer one.
type shown int64

const (
	unasked    shown = 1 << 62
	reported   shown = 1 << 61
	owed       shown = 1 << 60 // a newer version was passed over for want of room
	maxVersion       = 1 << 53 // of a number in JavaScript; the year 2255
)

func (v shown) version() int64 { return int64(v &^ (unasked | reported | owed)) }

// stale: the page does not show the newest version. One that shows a version
// that nobody here has heard of is either ahead of the news, or shows what the
// database has lost; once it has been asked, it can only be the latter.
func (w watched) stale() bool {
	newest := w.topic.newest.Load()
	if newest == 0 || w.shown&unasked != 0 {
		return w.shown.version() < newest
	}
	return w.shown.version() != newest
}

// takes says whether the page is to be sent that version of the topic: a newer
// one, or an older one if its own is lost.
func (w watched) takes(version int64) bool {
	shows, newest := w.shown.version(), w.topic.newest.Load()
	return shows < version || w.shown&unasked == 0 && version <= newest && newest < shows
}

// outbox has what goes before all fragments.
type outbox struct {
	control []byte // errors, pings, the close frame
	pong    []byte // the answer to the browser's last ping; the others need none (RFC 6455, 5.5.3)
	echo    []byte // the answer to its last request that had a ping
}

// find needs mu held, and has the index of the topic, or -1.
func (s *session) find(t *topic) int {
	for i := range s.watching {
		if s.watching[i].topic == t {
			return i
		}
	}
	return -1
}

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
	for _, id := range r.Unwatch {
		s.unwatch(id)
	}
	if refused := s.watch(r.Watch); refused != nil {
		return refused
	}
	if r.Ping != nil {
		s.say(w, func(o *outbox) { o.echo = pongFrame(*r.Ping) })
	}
	if len(r.Applied) > 0 {
		s.applied(r.Applied)
	}
	if len(r.Watch) > 0 {
		s.compare(r.Watch)
		s.flush(w)
	}
	return nil
}

// watch registers the session for all news of these products, and only then is
// it to ask what is current: nothing falls between the answer and the news.
func (s *session) watch(all []Watch) *refusal {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.watching == nil {
		s.watching = make([]watched, 0, min(len(all), s.hub.cfg.MaxProducts))
	}
	for _, w := range all {
		k := kind{w.View, s.mode}
		if t := s.hub.topic(w.ID, k); t != nil {
			if _, again := t.watchers[s.slot()]; again {
				s.watching[s.find(t)].shown = shown(w.Version) | unasked
				continue
			}
		}
		if len(s.watching) >= s.hub.cfg.MaxProducts {
			return s.hub.tooMany()
		}
		s.watching = append(s.watching, watched{s.hub.watch(s, w.ID, k), shown(w.Version) | unasked})
	}
	return nil
}

func (s *session) unwatch(id int64) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching = slices.DeleteFunc(s.watching, func(w watched) bool {
		if w.topic.id == id {
			s.hub.leave(s, w.topic)
		}
		return w.topic.id == id
	})
}

// compare compares what the page shows with what is current, as far as memory
// knows it for certain. The rest is asked of the database, together with what
// other sessions ask.
func (s *session) compare(all []Watch) {
	ask := false
	for _, w := range all {
		version, certain := s.hub.fragments.Known(w.Rev)
		if certain {
			s.settle(w.ID, version)
		} else {
			ask = true
		}
	}
	if ask {
		s.hub.ask(s)
	}
}

// settle takes the current version of a product that was unasked.
func (s *session) settle(id, version int64) {
	var learned []*topic
	s.mu.Lock()
	for i := range s.watching {
		if w := &s.watching[i]; w.topic.id == id && w.shown&unasked != 0 {
			learned = append(learned, w.topic)
			w.shown &^= unasked
		}
	}
	s.mu.Unlock()
	for _, t := range learned {
		s.hub.learn(t, version)
	}
}

// fresh is how long ago the version was made, if it was made while the session
// was there: what a page missed while it was away says nothing of this tier.
func (s *session) fresh(version int64, now time.Time) (age time.Duration, counts bool) {
	made := version * 1000
	return time.Duration(max(now.UnixNano()-made, 0)), made > s.born
}

// applied takes the word of a page that it now shows what it was sent, once for
// each version.
func (s *session) applied(revs []store.Rev) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range revs {
		for i := range s.watching {
			w := &s.watching[i]
			if w.topic.id != r.ID || w.shown.version() != r.Version || w.shown&reported != 0 {
				continue
			}
			w.shown |= reported
			if age, counts := s.fresh(r.Version, now); counts {
				s.hub.metrics.applied.Observe(age.Seconds())
			}
		}
	}
}

// say puts something into the outbox and sends it.
func (s *session) say(w *work, put func(*outbox)) {
	s.mu.Lock()
	if !s.closing && !s.closed {
		if s.out == nil {
			s.out = &outbox{}
		}
		put(s.out)
	}
	s.mu.Unlock()
	s.flush(w)
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
	s.say(w, func(o *outbox) { o.control = append(o.control, s.wire.message(r.text())...) })
}

// last says the last that this session says. The browser is to close the
// connection then, and has CloseTimeout for it.
func (s *session) last(w *work, why ending, frames []byte) {
	s.say(w, func(o *outbox) {
		s.ending = why
		o.control = append(o.control, frames...)
		s.closing = true
		s.closeBy = time.Now().Add(s.hub.cfg.CloseTimeout).UnixNano()
	})
}

// heard notes that the browser has been heard from.
func (s *session) heard() { s.lastRead.Store(time.Now().UnixNano()) }

// ping asks the browser for a sign of life, once until it is heard from. One
// that cannot answer has been heard from when it is told.
func (s *session) ping(w *work) {
	if s.wire == EventStream {
		s.heard()
		s.say(w, func(o *outbox) { o.control = append(o.control, beat...) })
		return
	}
	now := s.lastRead.Load()
	s.mu.Lock()
	asked := s.pingedAt == now
	s.pingedAt = now
	s.mu.Unlock()
	if !asked {
		s.say(w, func(o *outbox) { o.control = append(o.control, s.wire.ping()...) })
	}
}

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
