// Package realtime knows who watches what and tells them: the hub with its
// sessions, the bus between instances (Redis) and the feed from the database.
// It knows no HTTP and no SQL.
package realtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/render"
	"shelfcast/store"
)

// Fragments knows what is current and has its fragments. *render.Cache is one.
type Fragments interface {
	// Heard takes in a committed version, and says whether that was news.
	Heard(store.Rev) bool
	// Trust says that until then every commit will have been Heard.
	Trust(until time.Time)
	// Current has the current Rev of each product that exists, by what a page
	// shows of it.
	Current(ctx context.Context, shown []store.Rev) ([]store.Rev, error)
	// Compare is Current, asked of the database itself.
	Compare(ctx context.Context, ids []int64) ([]store.Rev, error)
	// Fragment has the version wanted or a newer one.
	Fragment(ctx context.Context, view render.View, want store.Rev) (*render.Fragment, error)
}

// Config tunes a Hub. The zero value means the defaults.
type Config struct {
	MaxSessions  int           // 15000; a process has a limit of open files
	MaxProducts  int           // a session; 500
	MaxFrame     int           // bytes of a message of a browser; 16 KiB
	Ping         time.Duration // after a browser was last heard from; 25s
	Pong         time.Duration // to wait for the answer; 20s
	FrameTimeout time.Duration // for the rest of a frame that has begun; 10s
	FlushTimeout time.Duration // to have what a flush sends; 10s
	CloseTimeout time.Duration // from a close frame to the end of the connection; 5s
	Retry        time.Duration // after something could not be had; 1s
	Metrics      prometheus.Registerer
	Log          *slog.Logger
}

// A Hub tells every session that watches a product of its new versions. Its
// methods may be called concurrently.
type Hub struct {
	fragments Fragments
	cfg       Config
	log       *slog.Logger
	metrics   metrics
	running   sync.WaitGroup // the goroutines of the sessions

	// Guarded by mu, which is taken before a session's own.
	mu       sync.Mutex
	sessions map[*session]struct{}
	topics   map[int64]*topic
	draining bool
	gone     chan struct{} // closed when draining has left no session
}

// A topic is a product that somebody watches.
type topic struct {
	applied  int64 // the newest version that was offered to the sessions
	sessions map[*session]struct{}
}

// What Adopt, or Admits before it, may say.
var (
	ErrDraining = errors.New("this instance is about to stop")
	ErrFull     = errors.New("this instance has all the sessions it may have")
)

// NewHub makes a Hub. Run drives it.
func NewHub(fragments Fragments, cfg Config) *Hub {
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 15_000)
	cfg.MaxProducts = cmp.Or(cfg.MaxProducts, 500)
	cfg.MaxFrame = cmp.Or(cfg.MaxFrame, 16<<10)
	cfg.Ping = cmp.Or(cfg.Ping, 25*time.Second)
	cfg.Pong = cmp.Or(cfg.Pong, 20*time.Second)
	cfg.FrameTimeout = cmp.Or(cfg.FrameTimeout, 10*time.Second)
	cfg.FlushTimeout = cmp.Or(cfg.FlushTimeout, 10*time.Second)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, 5*time.Second)
	cfg.Retry = cmp.Or(cfg.Retry, time.Second)
	h := &Hub{
		fragments: fragments,
		cfg:       cfg,
		log:       cmp.Or(cfg.Log, slog.Default()),
		sessions:  map[*session]struct{}{},
		topics:    map[int64]*topic{},
		gone:      make(chan struct{}),
	}
	h.metrics = newMetrics(cfg.Metrics, h.Sessions)
	return h
}

// Sessions counts the sessions.
func (h *Hub) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// Admits is nil, ErrDraining or ErrFull: what Adopt would say. A handshake is
// to be refused before the upgrade, so that the browser backs off.
func (h *Hub) Admits() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.admits()
}

func (h *Hub) admits() error {
	switch {
	case h.draining:
		return ErrDraining
	case len(h.sessions) >= h.cfg.MaxSessions:
		return ErrFull
	}
	return nil
}

// Adopt makes a session of a connection whose handshake is done. The hub owns
// the connection from here on, also when it returns an error.
func (h *Hub) Adopt(conn net.Conn, mode Mode) error {
	s := &session{hub: h, conn: conn, mode: mode, shows: map[target]int64{}}
	s.heard()
	l := &blocking{s: s}
	s.link = l
	h.mu.Lock()
	err := h.admits()
	if err == nil {
		h.sessions[s] = struct{}{}
		h.running.Go(l.read)
	}
	h.mu.Unlock()
	if err != nil {
		h.metrics.turnedAway.Inc()
		conn.SetWriteDeadline(time.Now().Add(h.cfg.CloseTimeout))
		_, _ = conn.Write(closeFrame(ws.StatusCode(1013), "try again later")) // it is closed anyway
		conn.Close()
		return err
	}
	h.metrics.opened.Inc()
	return nil
}

// remove forgets a session, whose connection is closed.
func (h *Hub) remove(s *session) {
	s.mu.Lock()
	ids := make(map[int64]struct{}, len(s.shows))
	for t := range s.shows {
		ids[t.id] = struct{}{}
	}
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s)
	for id := range ids {
		h.leave(s, id)
	}
	if h.draining && len(h.sessions) == 0 {
		close(h.gone) // once: a hub that drains admits no more
	}
}

func (h *Hub) watch(s *session, id int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[id]
	if t == nil {
		t = &topic{sessions: map[*session]struct{}{}}
		h.topics[id] = t
	}
	t.sessions[s] = struct{}{}
}

func (h *Hub) unwatch(s *session, id int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leave(s, id)
}

// leave needs h.mu held.
func (h *Hub) leave(s *session, id int64) {
	if t := h.topics[id]; t != nil {
		delete(t.sessions, s)
		if len(t.sessions) == 0 {
			delete(h.topics, id)
		}
	}
}

// Apply tells every session that watches the product of a committed version,
// and says whether this instance had not heard of it. Duplicates, reordering
// and lateness do no harm. It never blocks on a browser, the database or Redis.
func (h *Hub) Apply(r store.Rev) (news bool) {
	// What was heard and what was offered are two things: a page that is
	// loaded makes a version heard before the news of it comes.
	news = h.fragments.Heard(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[r.ID]
	if t == nil || t.applied >= r.Version {
		return news
	}
	t.applied = r.Version
	for s := range t.sessions {
		s.offer(r)
	}
	return news
}

// Reconcile compares all that is watched with the database, so that a page is
// right in the end whatever was lost on the way, the newest versions of a
// database that was restored from a backup among it.
func (h *Hub) Reconcile(ctx context.Context) error {
	h.mu.Lock()
	ids := make([]int64, 0, len(h.topics))
	for id := range h.topics {
		ids = append(ids, id)
	}
	h.mu.Unlock()
	current, err := h.fragments.Compare(ctx, ids)
	if err != nil {
		return err
	}
	for _, r := range current {
		h.mu.Lock()
		if t := h.topics[r.ID]; t != nil {
			t.applied = max(t.applied, r.Version)
			for s := range t.sessions {
				s.settle(r)
			}
		}
		h.mu.Unlock()
	}
	return nil
}
