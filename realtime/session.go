package realtime

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// A session is one page of one browser. It holds no queue: for each product on
// the page the newest version it has heard of, and what the page shows.
type session struct {
	// Static after construction.
	hub  *Hub
	conn net.Conn
	mode Mode
	link link

	// Anybody's.
	lastRead atomic.Int64 // when the browser was last heard from, in Unix nanoseconds
	writing  atomic.Bool  // a write has not come back yet

	// Guarded by mu.
	mu       sync.Mutex
	shows    map[target]int64  // what is watched → the version the page shows
	dirty    map[target]change // what there is to send
	asks     targets           // what was watched and not yet compared with what is current
	control  []byte            // frames that go before all else: ping, error, close
	pong     []byte            // the answer to the browser's last ping; the others need none (RFC 6455, 5.5.3)
	echo     []byte            // the answer to its last request that had a ping
	closing  bool              // control ends with a close frame: nothing comes after it
	pingedAt int64             // lastRead at the last ping: one ping a silence
}

// targets is a set, so that what is asked again and again is asked once.
type targets map[target]struct{}

// A change is the newest version heard of, for what a page shows.
type change struct {
	version int64
	reset   bool // the page's version is one that the database has lost
}

// offer folds in that a product has a new version.
func (s *session) offer(r store.Rev) {
	s.mu.Lock()
	news := false
	for _, view := range []render.View{render.Card, render.Detail} {
		t := target{r.ID, view}
		shown, watched := s.shows[t]
		if watched && r.Version > max(shown, s.dirty[t].version) {
			s.mark(t, change{r.Version, s.dirty[t].reset})
			news = true
		}
	}
	s.mu.Unlock()
	if news {
		s.link.wake()
	}
}

// settle is offer for a Rev that was just read from the database: a page that
// shows a newer one shows what the database has lost.
func (s *session) settle(r store.Rev) {
	s.mu.Lock()
	for _, view := range []render.View{render.Card, render.Detail} {
		t := target{r.ID, view}
		switch shown, watched := s.shows[t]; {
		case watched && r.Version > shown:
			s.mark(t, change{max(r.Version, s.dirty[t].version), s.dirty[t].reset})
		case watched && r.Version < shown:
			s.mark(t, change{max(r.Version, s.dirty[t].version), true})
		}
	}
	work := len(s.dirty) > 0
	s.mu.Unlock()
	if work {
		s.link.wake()
	}
}

// mark needs s.mu held.
func (s *session) mark(t target, c change) {
	if s.dirty == nil {
		s.dirty = map[target]change{}
	}
	s.dirty[t] = c
}

// receive takes a message of the browser.
func (s *session) receive(message []byte) *refusal {
	r, refused := parseRequest(message)
	if refused != nil {
		return refused
	}
	for _, id := range r.Unwatch {
		s.unwatch(id)
	}
	s.mu.Lock()
	for _, w := range r.Watch {
		t := target{w.ID, w.View}
		if _, again := s.shows[t]; !again && len(s.shows) >= s.hub.cfg.MaxProducts {
			s.mu.Unlock()
			return &refusal{Code: "too_many_products", Message: fmt.Sprintf("a session watches at most %d products", s.hub.cfg.MaxProducts), close: ws.StatusPolicyViolation}
		}
		s.shows[t] = w.Version
	}
	s.mu.Unlock()

	// Watch, then ask: what changes from here on is offered, so that nothing
	// falls between the answer and the first news.
	for _, w := range r.Watch {
		s.hub.watch(s, w.ID)
	}
	if r.Ping != nil {
		s.mu.Lock()
		s.echo = pongFrame(*r.Ping)
		s.mu.Unlock()
		s.link.wake()
	}
	if len(r.Watch) > 0 {
		s.mu.Lock()
		if s.asks == nil {
			s.asks = targets{}
		}
		for _, w := range r.Watch {
			s.asks[target{w.ID, w.View}] = struct{}{}
		}
		s.mu.Unlock()
		s.link.wake()
	}
	return nil
}

func (s *session) unwatch(id int64) {
	s.mu.Lock()
	for _, view := range []render.View{render.Card, render.Detail} {
		delete(s.shows, target{id, view})
		delete(s.dirty, target{id, view})
	}
	s.mu.Unlock()
	s.hub.unwatch(s, id)
}

// say queues frames that go before all else. With last nothing is sent after
// them, and the connection is closed.
func (s *session) say(frames []byte, last bool) {
	s.mu.Lock()
	if !s.closing {
		s.control = append(s.control, frames...)
		s.closing = last
	}
	s.mu.Unlock()
	s.link.wake()
}

// answer answers a ping.
func (s *session) answer(ping []byte) {
	s.mu.Lock()
	s.pong = ws.MustCompileFrame(ws.NewPongFrame(ping))
	s.mu.Unlock()
	s.link.wake()
}

// refuse says what was wrong, and closes if the refusal says so.
func (s *session) refuse(r *refusal) {
	frames := r.frame()
	if r.close != 0 {
		frames = append(frames, closeFrame(r.close, r.Code)...)
	}
	s.hub.metrics.refusals.WithLabelValues(r.Code).Inc()
	s.say(frames, r.close != 0)
}

func closeFrame(code ws.StatusCode, reason string) []byte {
	return ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
}

// heard notes that the browser has been heard from.
func (s *session) heard() { s.lastRead.Store(time.Now().UnixNano()) }

var pingFrame = ws.MustCompileFrame(ws.NewPingFrame(nil))

// ping asks the browser for a sign of life, once until it is heard from.
func (s *session) ping() {
	now := s.lastRead.Load()
	s.mu.Lock()
	asked := s.pingedAt == now
	s.pingedAt = now
	s.mu.Unlock()
	if !asked {
		s.say(pingFrame, false)
	}
}
