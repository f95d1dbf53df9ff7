// Package realtime knows who watches what and tells them: the hub with its
// sessions, the bus between instances (Redis) and the feed from the database.
// It knows no HTTP and no SQL.
//
// The way of a change: Hub.Apply raises the newest version of a topic (a product
// in a view), fill has its fragment, and a round writes it to all who watch the
// topic. What changed together (Hub.ApplyAll) is a batch, whose fragments go to
// one round. A session that has no room is left out; when it has, it is sent the
// newest of what it lacks.
package realtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"shelfcast/render"
	"shelfcast/store"
)

// Fragments knows what is current and has its fragments. *render.Cache is one.
type Fragments interface {
	// ParseView is the view of that name; false if there is none.
	ParseView(name string) (render.View, bool)
	// Heard takes in a committed version, and says whether that was news.
	Heard(store.Rev) bool
	// Trust says that until then every commit will have been Heard.
	Trust(until time.Time)
	// Known is the current version of a product of which a page shows the
	// given one, if memory knows it for certain. It never blocks.
	Known(shown store.Rev) (version int64, certain bool)
	// Cached is the version wanted or a newer one, if it is in memory, or nil.
	Cached(view render.View, want store.Rev) *render.Fragment
	// Restored says that the database may have lost anything that was Heard.
	Restored(ctx context.Context)
	// Compare has the current Rev of each of these products that exists, asked
	// of the database itself.
	Compare(ctx context.Context, ids []int64) ([]store.Rev, error)
	// Fragment has the version wanted or a newer one; an older one only if the
	// database has lost it.
	Fragment(ctx context.Context, view render.View, want store.Rev) (*render.Fragment, error)
}

// Config tunes a Hub. The zero value means the defaults.
type Config struct {
	MaxSessions  int           // 15000; a process has a limit of open files
	JoinRate     int           // new sessions a second; 1000
	MaxPerClient int           // sessions of an address, or of an IPv6 /64; 0: no limit
	ClientRate   int           // new sessions of an address a second, and as many polls; 0, or without MaxPerClient: no limit
	MaxProducts  int           // a session; 500
	MaxFrame     int           // bytes of a message of a browser; 16 KiB
	Ping         time.Duration // after a browser was last heard from; 25s
	Pong         time.Duration // to wait for the answer; 20s
	MaxAge       time.Duration // of a session, less up to a quarter; 0: none
	Timeout      time.Duration // of what is asked of the Fragments; 10s
	Stall        time.Duration // in which a browser takes no byte of what waits for it, and is closed; 60s
	CloseTimeout time.Duration // from a close frame to the end of the connection; 5s
	Retry        time.Duration // after something could not be had; 1s
	Odoo         OdooConfig
	Portable     bool // a goroutine a session, also where sessions can be parked
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
	joins     *rate.Limiter // sessions
	polls     *rate.Limiter // of pages that have none

	reads   crew[ready]          // what browsers say, and that they have room again
	asks    crew[*session]       // what is current of what they show
	fills   crew[*topic]         // fragments to be had
	bulk    crew[*topic]         // the same, for the batch
	rounds  crew[news]           // and told
	batch   batch                // what changed together
	again   again                // what could not be had
	channel channel              // of those who follow all products
	held    atomic.Int64         // bytes of messages that have come in part
	changed changed              // who waits for news of any product
	slow    [sweeps]atomic.Int32 // sessions without room, by the turn of the sweep that saw them
	swept   atomic.Int64         // when the sessions were last looked after, Unix nanoseconds; 0: not yet

	// Guarded by mu, which is taken before a session's own.
	mu       sync.Mutex
	table    table
	clients  map[client]int     // their sessions
	arrivals arrivals           // new sessions
	polled   arrivals           // polls
	topics   map[int64][]*topic // by product, of each kind that is watched; none is empty
	unknown  map[uint32][]int64 // by the slot of a session: the products that it was told there are not
	draining bool
	gone     chan struct{} // closed when draining has left no session
	pollers  *pollers      // made for the first session that can be parked

	// Guarded by life, which is taken after all others.
	life    sync.Mutex
	ended   bool
	running sync.WaitGroup // the goroutines
}

// fillers is how many fragments are fetched at a time, and as many for batches.
const fillers = 16

// maxStall is the default of Config.Stall.
const maxStall = 60 * time.Second

// NewHub makes a Hub. Run drives it.
func NewHub(fragments Fragments, cfg Config) *Hub {
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 15_000)
	cfg.JoinRate = cmp.Or(cfg.JoinRate, 1000)
	cfg.MaxProducts = cmp.Or(cfg.MaxProducts, 500)
	cfg.MaxFrame = cmp.Or(cfg.MaxFrame, 16<<10)
	cfg.Ping = cmp.Or(cfg.Ping, 25*time.Second)
	cfg.Pong = cmp.Or(cfg.Pong, 20*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Stall = cmp.Or(cfg.Stall, maxStall)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, 5*time.Second)
	cfg.Retry = cmp.Or(cfg.Retry, time.Second)
	cfg.Odoo.Channel = cmp.Or(cfg.Odoo.Channel, "product_updates")
	cfg.Odoo.Again = cmp.Or(cfg.Odoo.Again, 3*time.Second)
	cfg.Odoo.View = cmp.Or(cfg.Odoo.View, render.Card)
	if cfg.MaxPerClient == 0 {
		cfg.ClientRate = 0 // addresses say nothing here
	}
	h := &Hub{
		fragments: fragments,
		cfg:       cfg,
		log:       cmp.Or(cfg.Log, slog.Default()),
		// A burst of a twentieth of a second, so that the rate is one in
		// every second, and browsers that come together by chance may.
		joins:    rate.NewLimiter(rate.Limit(cfg.JoinRate), max(cfg.JoinRate/20, 1)),
		polls:    rate.NewLimiter(rate.Limit(cfg.JoinRate), cfg.JoinRate),
		gone:     make(chan struct{}),
		clients:  map[client]int{},
		arrivals: newArrivals(cfg.ClientRate), polled: newArrivals(cfg.ClientRate),
		topics:  map[int64][]*topic{},
		unknown: map[uint32][]int64{},
		channel: newChannel(),
	}
	each := func(all []ready) {
		for _, r := range all {
			h.handle(r)
		}
	}
	h.reads = crew[ready]{hub: h, most: runtime.GOMAXPROCS(0), batch: 1, work: each}
	h.asks = crew[*session]{hub: h, most: 1, work: h.answer}
	h.fills = crew[*topic]{hub: h, most: fillers, batch: 1, work: func(all []*topic) { h.fill(all[0]) }}
	h.bulk = crew[*topic]{hub: h, most: fillers, batch: 1, work: func(all []*topic) { h.fillOfBatch(all[0]) }}
	h.batch.hub = h
	h.rounds = crew[news]{hub: h, most: 1, work: h.fanOut}
	h.metrics = newMetrics(cfg.Metrics, h)
	return h
}

// start runs f in a goroutine that Run waits for, unless Run has ended.
func (h *Hub) start(f func()) bool {
	h.life.Lock()
	defer h.life.Unlock()
	if h.ended {
		return false
	}
	h.running.Go(f)
	return true
}

// Sessions counts the sessions.
func (h *Hub) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.used
}

// Adopt makes a session of a connection whose handshake is done and was
// admitted. The hub owns the connection from here on, also when it returns an
// error: the hub has begun to drain meanwhile, or the kernel's.
func (h *Hub) Adopt(conn net.Conn, join Join) error {
	s := &session{hub: h, mode: join.Mode, wire: join.Wire, from: clientOf(join.From), born: time.Now().UnixNano()}
	if join.Wire == Odoo {
		s.follower = &follower{}
	}
	s.heard()
	s.link = h.newLink(s, conn)
	if len(join.Head) > 0 {
		s.mu.Lock()
		s.queue(controlLane, join.Head)
		s.mu.Unlock()
	}
	h.mu.Lock()
	draining := h.draining
	if !draining {
		h.table.add(s)
		h.clients[s.from]++
	}
	h.mu.Unlock()
	if draining {
		h.refuse(ErrDraining)
		s.mu.Lock()
		_, _, _ = s.link.write(append(join.Head, s.wire.restart()...)) // it is closed anyway
		s.close()
		s.mu.Unlock()
		return ErrDraining
	}
	h.metrics.opened.WithLabelValues(join.Wire.String()).Inc()
	h.withWork(func(w *work) {
		if len(join.Early) > 0 {
			_ = s.arrived(w, join.Early) // it refuses for itself
		}
		if len(join.Watch) > 0 {
			s.join(w, join.Watch)
		} else if len(join.Head) > 0 {
			s.flush(w)
		}
	})
	if err := s.link.start(); err != nil {
		s.end()
		return err
	}
	return nil
}

// join watches all this from the beginning.
func (s *session) join(w *work, all []Watch) {
	if refused := s.register(nil, all); refused != nil {
		s.refuse(w, refused)
		return
	}
	s.compare(w, all)
	s.flush(w)
}

// newLink parks the session if it can be.
func (h *Hub) newLink(s *session, conn net.Conn) link {
	if !h.cfg.Portable && h.canPark(conn) {
		if l, err := newParked(s, conn); err == nil {
			return l
		}
	}
	return newBlocking(s, conn)
}

// canPark has the pollers made when they are first needed.
func (h *Hub) canPark(conn net.Conn) bool {
	if _, ok := conn.(*net.TCPConn); !ok {
		return false // a pipe of a test, or TLS
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pollers == nil {
		p, err := newPollers(h)
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				h.log.Warn("sessions cannot be parked, and cost a goroutine each", "error", err)
			}
			return false
		}
		h.pollers = p
	}
	return true
}

// remove forgets a session whose connection is closed.
func (h *Hub) remove(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.table.get(s.id) != s {
		return // done
	}
	h.table.remove(s)
	delete(h.unknown, s.slot())
	if h.clients[s.from]--; h.clients[s.from] == 0 {
		delete(h.clients, s.from)
	}
	s.mu.Lock()
	for _, w := range s.watching {
		h.leave(s, w.topic)
	}
	s.watching, s.out = nil, nil
	h.metrics.closed[s.ending].Inc()
	if s.follower != nil {
		h.channel.unfollow(s)
	}
	h.held.Add(-int64(s.held))
	s.mu.Unlock()
	if h.draining && h.table.used == 0 {
		close(h.gone) // once: a hub that drains admits no more
	}
}
