// Package realtime delivers product changes to browsers: the hub with its sessions, and the
// fleet of instances that tell each other of changes over a bus. It knows nothing of HTTP or
// SQL.
//
// How a change travels: Hub.Apply advances the newest version of a topic (a product in a
// view), a worker loads its fragment, and a flush cycle writes it to every session that
// watches the topic. What was committed together is a batch, whose fragments go into one
// flush cycle. A session that has no room is skipped; when it has room again, it is sent the
// newest version of what it lacks.
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

// Versions knows which version of each product is current. *render.Versions is one.
type Versions interface {
	// Observe takes in a committed version, and reports whether that is news.
	Observe(store.Rev) (news bool)
	// Current returns the current version of a product of which a page shows the given
	// one, and reports whether that is certain. It never blocks.
	Current(shown store.Rev) (version int64, certain bool)
	// Lagging reports whether a version was observed that the database does not have but
	// may still get.
	Lagging(store.Rev) bool
	// Announce tells instances that start later that these versions are current.
	// What it cannot tell them now the feed does later (Versions.Share).
	Announce(ctx context.Context, revs ...store.Rev) error
	// ReadVersions reads the current versions of these products from the database, by ID.
	// Of a product that is Lagging it returns the version that was observed, and of one
	// that was deleted the version that says so. It leaves out products that were never
	// observed.
	ReadVersions(ctx context.Context, ids []int64) (map[int64]int64, error)
}

// Fragments loads the fragments of products. *render.Cache is one.
type Fragments interface {
	Versions
	// ParseView returns the view of that name, and false if there is none.
	ParseView(name string) (render.View, bool)
	// Cached returns the wanted version or a newer one if it is in memory, else nil.
	Cached(view render.View, want store.Rev) *render.Fragment
	// Fragment returns the wanted version or a newer one. It is older only if the
	// database has lost the wanted one, or is Lagging.
	Fragment(ctx context.Context, view render.View, want store.Rev) (*render.Fragment, error)
	// Unavailable returns the fragment that replaces that version of a product that does
	// not exist any more.
	Unavailable(view render.View, shown store.Rev) (*render.Fragment, error)
}

// Config configures a Hub. The zero value means the defaults.
type Config struct {
	MaxSessions  int           // 15000; a process has a limit of open files
	JoinRate     int           // new sessions a second; 1000
	MaxPerClient int           // sessions of an address, or of an IPv6 /64; 0: no limit
	ClientRate   int           // new sessions of an address a second, and as many polls; 0 or no MaxPerClient: no limit
	MaxProducts  int           // watched by a session; 500
	MaxFrame     int           // maximum size of a message from a browser, in bytes; 16 KiB
	Ping         time.Duration // idle time before a browser is pinged; 25s, as in server.Settings, which sets it
	Pong         time.Duration // time to answer a ping; 20s
	MaxAge       time.Duration // maximum age of a session, shortened randomly by up to a quarter; 0: no limit
	Timeout      time.Duration // of each call to Fragments; 10s
	StallTimeout time.Duration // how long a browser may accept no byte before it is closed; 60s
	CloseTimeout time.Duration // time to answer a close frame; 5s
	Retry        time.Duration // delay before a failed load or check is retried; 1s
	Odoo         OdooConfig
	Portable     bool // a goroutine for each session, even where epoll can be used
	Metrics      prometheus.Registerer
	Log          *slog.Logger
}

// A Hub delivers new versions of products to the sessions that watch them. Its methods may be
// called concurrently.
type Hub struct {
	fragments Fragments
	cfg       Config
	log       *slog.Logger
	metrics   metrics
	joins     *rate.Limiter // sessions
	polls     *rate.Limiter // of pages that have none

	reads         workerPool[ready]    // messages from browsers, and connections that have room again
	versionChecks workerPool[*session] // sessions whose products are compared with the database
	loads         workerPool[*topic]   // topics whose fragments are loaded
	batchLoads    workerPool[*topic]   // the same, for batches
	flushes       workerPool[news]     // news to be delivered
	batch         batch                // versions that were committed together
	retries       retryQueue           // failed loads and checks
	firehose      firehose             // changes of all products, for Odoo sessions
	partialBytes  atomic.Int64         // bytes of messages that have arrived in part
	changed       changed              // wakes those who wait for a change of any product
	slow          [sweeps]atomic.Int32 // sessions whose write is blocked, by turn of the sweep
	swept         atomic.Int64         // when the last sweep ended, Unix nanoseconds; 0: there was none

	// Guarded by mu, which is taken before a session's own.
	mu       sync.Mutex
	table    table
	clients  map[client]int     // number of sessions
	arrivals arrivals           // new sessions
	polled   arrivals           // polls
	topics   map[int64][]*topic // by product ID; no list is empty
	unknown  map[uint32][]int64 // by slot of a session: unknown products that were reported to it
	draining bool
	gone     chan struct{} // closed when draining has left no session
	pollers  *pollers      // made for the first session that can be polled

	// Guarded by life, which is taken after all others.
	life    sync.Mutex
	ended   bool
	running sync.WaitGroup // the goroutines
}

// maxLoads is how many fragments are loaded at a time, and as many again for batches.
const maxLoads = 16

// defaultStallTimeout is the default of Config.StallTimeout.
const defaultStallTimeout = 60 * time.Second

// NewHub returns a Hub that Run drives.
func NewHub(fragments Fragments, cfg Config) *Hub {
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 15_000)
	cfg.JoinRate = cmp.Or(cfg.JoinRate, 1000)
	cfg.MaxProducts = cmp.Or(cfg.MaxProducts, 500)
	cfg.MaxFrame = cmp.Or(cfg.MaxFrame, 16<<10)
	cfg.Ping = cmp.Or(cfg.Ping, 25*time.Second)
	cfg.Pong = cmp.Or(cfg.Pong, 20*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.StallTimeout = cmp.Or(cfg.StallTimeout, defaultStallTimeout)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, 5*time.Second)
	cfg.Retry = cmp.Or(cfg.Retry, time.Second)
	cfg.Odoo.Channel = cmp.Or(cfg.Odoo.Channel, "product_updates")
	cfg.Odoo.RedeliveryDelay = cmp.Or(cfg.Odoo.RedeliveryDelay, 3*time.Second)
	cfg.Odoo.View = cmp.Or(cfg.Odoo.View, render.Card)
	if cfg.MaxPerClient == 0 {
		cfg.ClientRate = 0 // addresses say nothing here
	}
	h := &Hub{
		fragments: fragments,
		cfg:       cfg,
		log:       cmp.Or(cfg.Log, slog.Default()),
		// A burst of a quarter of a second, for browsers that come together: those of
		// an office whose network was away, and of a page that a campaign leads to.
		joins:    rate.NewLimiter(rate.Limit(cfg.JoinRate), max(cfg.JoinRate/4, 1)),
		polls:    rate.NewLimiter(rate.Limit(cfg.JoinRate), cfg.JoinRate),
		gone:     make(chan struct{}),
		clients:  map[client]int{},
		arrivals: newArrivals(cfg.ClientRate), polled: newArrivals(cfg.ClientRate),
		topics:   map[int64][]*topic{},
		unknown:  map[uint32][]int64{},
		firehose: newFirehose(),
	}
	each := func(all []ready) {
		for _, r := range all {
			h.handle(r)
		}
	}
	h.reads = workerPool[ready]{hub: h, maxWorkers: runtime.GOMAXPROCS(0), batch: 1, run: each}
	h.versionChecks = workerPool[*session]{hub: h, maxWorkers: 1, run: h.runVersionChecks}
	h.loads = workerPool[*topic]{hub: h, maxWorkers: maxLoads, batch: 1,
		run: func(all []*topic) { h.loadTopic(all[0], false) }}
	h.batchLoads = workerPool[*topic]{hub: h, maxWorkers: maxLoads, batch: 1,
		run: func(all []*topic) { h.loadTopic(all[0], true) }}
	h.batch.hub = h
	h.flushes = workerPool[news]{hub: h, maxWorkers: 1, run: h.runFlushCycle}
	h.metrics = newMetrics(cfg.Metrics, h)
	return h
}

// start runs f in a goroutine that Run waits for. It returns false if Run has ended.
func (h *Hub) start(f func()) bool {
	h.life.Lock()
	defer h.life.Unlock()
	if h.ended {
		return false
	}
	h.running.Go(f)
	return true
}

// Sessions returns the number of open sessions.
func (h *Hub) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table.used
}

// Adopt makes a session of a connection whose handshake was admitted and is done. The hub
// owns the connection from here on, also if Adopt returns an error: ErrDraining, or one of
// the kernel's.
func (h *Hub) Adopt(conn net.Conn, join Join) error {
	s := &session{hub: h, mode: join.Mode, protocol: join.Protocol, from: clientOf(join.From),
		createdAt: time.Now().UnixNano()}
	if join.Protocol == Odoo {
		s.subscriber = &subscriber{}
	}
	s.noteActivity()
	s.conn = h.newConnection(s, conn)
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
		_, _, _ = s.conn.write(append(join.Head, s.speaks().restart()...)) // it is closed anyway
		s.close()
		s.mu.Unlock()
		return ErrDraining
	}
	h.metrics.opened.WithLabelValues(join.Protocol.String()).Inc()
	h.withScratch(func(w *scratch) {
		if len(join.Early) > 0 {
			_ = s.receiveBytes(w, join.Early) // it refuses for itself
		}
		if len(join.Watch) > 0 {
			s.join(w, join.Watch)
		} else if len(join.Head) > 0 {
			s.flush(w)
		}
	})
	if err := s.conn.start(); err != nil {
		s.end()
		return err
	}
	return nil
}

// join subscribes the session to what its request says that the page shows.
func (s *session) join(w *scratch, all []Watch) {
	if refused := s.register(nil, all); refused != nil {
		s.refuse(w, refused)
		return
	}
	s.startVersionCheck(w, all)
	s.flush(w)
}

// newConnection returns an epoll connection where that is possible.
func (h *Hub) newConnection(s *session, conn net.Conn) connection {
	if !h.cfg.Portable && h.canUseEpoll(conn) {
		if l, err := newEpollConn(s, conn); err == nil {
			return l
		}
	}
	return newGoroutineConn(s, conn)
}

// canUseEpoll reports whether conn can be polled, and starts the pollers when they are first
// needed.
func (h *Hub) canUseEpoll(conn net.Conn) bool {
	if _, ok := conn.(*net.TCPConn); !ok {
		return false // a pipe of a test, or TLS
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pollers == nil {
		p, err := newPollers(h)
		if err != nil {
			if !errors.Is(err, errors.ErrUnsupported) {
				h.log.Warn("epoll cannot be used; each session costs a goroutine", "error", err)
			}
			return false
		}
		h.pollers = p
	}
	return true
}

// remove removes a session whose connection is closed.
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
	h.metrics.closed[s.closeReason].Inc()
	if s.subscriber != nil {
		h.firehose.removeSubscriber(s)
	}
	h.partialBytes.Add(-int64(s.partialBytes))
	s.mu.Unlock()
	if h.draining && h.table.used == 0 {
		close(h.gone) // once: a draining hub admits no sessions
	}
}
