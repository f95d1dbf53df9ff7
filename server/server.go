// Package server is the composition root: it makes the parts of an instance,
// connects them, and starts and stops them. cmd/shelfcast, the demo
// and the tests run instances through it.
//
// New makes, in this order: templates and assets, metrics, tracing, the Redis
// client, the store and the shop's id, the fragment cache, the hub, the bus, the fleet, the
// feed, the public and the admin app, and their listeners. When it fails, it
// closes what it has made.
//
// Run starts the hub, the fleet, the feed and the two apps, each in a goroutine,
// and three loops: one reads the shop's id if MySQL did not answer in New, one
// deletes old idempotency keys, one reloads templates and assets. When ctx ends,
// or one of them fails:
//
//  1. /readyz answers 503 for a quarter of Settings.Drain, so that load balancers
//     send no more sessions.
//  2. Sessions are closed during half of it. Updates are still delivered.
//  3. Requests that wait for changes are answered, and the apps shut down.
//  4. The hub, the fleet and the feed stop.
//  5. When all goroutines have ended, traces are flushed, and Redis and the store
//     are closed. A store that was passed in Options stays open.
package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"shelfcast/api/admin"
	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/public"
	"shelfcast/internal/tracing"
	"shelfcast/realtime"
	"shelfcast/realtime/bus"
	"shelfcast/realtime/feed"
	"shelfcast/render"
	"shelfcast/store"
)

// Options are for programs that embed an instance. The zero value is valid.
type Options struct {
	DB      *store.DB        // used instead of the Settings' database, and not closed
	Bus     bus.Bus          // between the instances; nil: Redis
	Assets  []fs.FS          // override those of the Settings
	Reload  <-chan os.Signal // each value calls Instance.Reload
	Version string           // of the program, for metrics, traces and the API
	Log     *slog.Logger     // default slog.Default()
}

// An Instance is one Shelfcast server. Its listeners are open from New on; it answers
// requests while Run runs.
type Instance struct {
	settings Settings
	log      *slog.Logger
	metrics  *prometheus.Registry
	draining atomic.Bool

	db    *store.DB
	ownDB bool
	rdb   redis.UniversalClient
	shop  *store.Shop
	hub   *realtime.Hub
	bus   bus.Bus
	fleet *realtime.Fleet
	feed  *feed.Feed

	templates *render.Templates
	assets    *httpx.Assets
	reload    <-chan os.Signal
	reloads   *prometheus.CounterVec

	public, admin   *fiber.App
	publicL, adminL net.Listener

	closing  chan struct{} // closed to end requests that wait for changes
	stopKeys func()        // stops the refresh of the identity provider's keys
	flush    func()        // exports the last traces
}

// New makes an instance and opens its listeners. The database and Redis need not be
// reachable, but a reachable database with an older schema is an error
// (store.ErrSchema).
func New(ctx context.Context, s Settings, o Options) (_ *Instance, err error) {
	parsed, err := s.parse(o.Assets...)
	if err != nil {
		return nil, err
	}
	i := &Instance{
		settings: s, log: o.Log, db: o.DB, bus: o.Bus, shop: store.NewShop(), metrics: prometheus.NewRegistry(),
		closing: make(chan struct{}), stopKeys: func() {}, flush: func() {},
		templates: parsed.templates, assets: parsed.assets, reload: o.Reload,
	}
	if i.log == nil {
		i.log = slog.Default()
	}
	i.metrics.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version))
	i.reloads = newReloads(i.metrics)
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	var tracer trace.Tracer // nil without tracing
	if s.Traces.on() {
		if tracer, i.flush, err = s.Traces.start(ctx, o.Version, i.metrics, i.log); err != nil {
			i.flush = func() {}
			return nil, err
		}
		i.log = slog.New(tracing.LogHandler(i.log.Handler()))
	}
	if i.rdb, err = newRedis(s.Redis, s.RedisCA); err != nil {
		return nil, err
	}
	measureRedis(i.rdb, i.metrics, i.log)
	if i.db == nil {
		i.ownDB = true
		if i.db, err = s.Database.Open(s.Videos, i.metrics, i.log); err != nil {
			return nil, err
		}
	}
	err = i.db.CheckSchema(ctx)
	if err == nil {
		err = i.shop.LoadID(ctx, i.db)
	}
	switch {
	case errors.Is(err, store.ErrSchema):
		return nil, err
	case err != nil:
		i.log.Warn("connecting to the database failed; trying again", "error", err)
	}

	cache := render.NewCache(i.db, i.rdb, i.shop, i.templates,
		render.CacheConfig{Memory: s.Memory << 20, MaxLoads: s.MaxLoads, Metrics: i.metrics, Log: i.log})
	i.hub = realtime.NewHub(cache, realtime.Config{
		MaxSessions: s.MaxSessions, JoinRate: s.JoinRate, MaxPerClient: s.MaxPerAddress, ClientRate: s.AddressRate,
		MaxAge: s.MaxAge, MaxProducts: s.MaxProducts, Ping: s.Ping,
		Odoo: realtime.OdooConfig{Channel: s.Odoo.Channel, View: parsed.odooView, Changes: i.db,
			RedeliveryDelay: s.Odoo.RedeliveryDelay},
		Metrics: i.metrics, Log: i.log,
	})
	if i.bus == nil {
		i.bus = bus.NewRedis(i.rdb, i.shop, bus.RedisConfig{Metrics: i.metrics, Log: i.log})
	}
	i.fleet = realtime.NewFleet(i.bus, i.hub, realtime.FleetConfig{Tracer: tracer, Metrics: i.metrics, Log: i.log})
	i.feed = feed.New(i.db, i.hub, cache, feed.Config{Metrics: i.metrics, Log: i.log})

	if parsed.publicURL == "" {
		i.log.Warn("--public-url is not set: pages have no absolute links for search engines, and there is no sitemap")
	}
	health := i.health() // shared by both apps: it remembers which checks have succeeded once
	limiter := auth.NewLimiter(i.rdb, i.shop, i.metrics, i.log)
	i.public = (&public.App{
		DB: i.db, Cache: cache, Hub: i.hub, Templates: i.templates, Assets: i.assets, Health: health,
		Origins: s.Origins, TrustedProxies: parsed.proxies, PageSize: s.PageSize, Videos: s.Videos,
		PublicURL: parsed.publicURL, OdooView: parsed.odooView, Limiter: limiter, Searches: s.Searches,
		Metrics: i.metrics, Log: i.log,
	}).Fiber()
	providers, err := i.jwt()
	if err != nil {
		return nil, err
	}
	i.admin = (&admin.App{
		DB: i.db, Hub: i.hub, Fleet: i.fleet, Templates: i.templates, Assets: i.assets, Health: health,
		RootToken: s.RootToken, JWT: providers, Limiter: limiter,
		CallsPerMinute: s.AdminCalls, AttemptsPerMinute: s.AdminTries, TrustedProxies: parsed.proxies, Hosts: s.adminHosts(),
		Metrics: promhttp.HandlerFor(i.metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 8}), Tracer: tracer,
		Registerer: i.metrics, Closing: i.closing, Version: o.Version, Log: i.log,
	}).Fiber()
	if i.publicL, err = net.Listen("tcp", s.Listen); err != nil {
		return nil, err
	}
	if i.adminL, err = net.Listen("tcp", s.AdminListen); err != nil {
		return nil, err
	}
	return i, nil
}

// buildInfo returns a gauge with the versions of the program and of Go.
func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_build_info", Help: "Always 1. The labels have the versions of the program and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// jwt returns nil without an identity provider.
func (i *Instance) jwt() (*auth.JWT, error) {
	s := i.settings.JWT
	if s.JWKS == "" {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.stopKeys = cancel
	return auth.NewJWT(ctx, auth.JWTConfig{
		JWKS: s.JWKS, Issuer: s.Issuer, Audience: s.Audience, ScopeClaim: s.ScopeClaim, NameClaim: s.NameClaim, Typ: s.Typ,
		Metrics: i.metrics, Log: i.log,
	})
}

// PublicAddr returns the address (host:port) of the public app.
func (i *Instance) PublicAddr() string { return i.publicL.Addr().String() }

// AdminAddr returns the address (host:port) of the admin app.
func (i *Instance) AdminAddr() string { return i.adminL.Addr().String() }

// Sessions returns the number of open sessions.
func (i *Instance) Sessions() int { return i.hub.Sessions() }

// Metrics returns the instance's metrics.
func (i *Instance) Metrics() prometheus.Gatherer { return i.metrics }

// health returns the checks of /readyz. A full instance stays ready: it serves pages
// and refuses only handshakes; if full instances left the load balancer, the rest would
// fill up in turn. MySQL must have answered once, or a release with a wrong password
// would replace one that works; later on an outage mostly affects all instances, and
// what they have cached is better than no instance.
func (i *Instance) health() httpx.Health {
	return httpx.Health{
		{Name: "hub", Fatal: true, Check: func(context.Context) error { return i.hub.Alive() }},
		{Name: "mysql", Once: new(atomic.Bool), Check: i.db.Ping},
		{Name: "primary", Optional: true, Check: func(context.Context) error { return i.db.CheckPrimary() }},
		{Name: "feed", Once: new(atomic.Bool), Check: i.feed.Check},
		{Name: "draining", Check: func(context.Context) error {
			if i.draining.Load() {
				return realtime.ErrDraining
			}
			return nil
		}},
		{Name: "sessions", Optional: true, Check: func(context.Context) error { return i.hub.Admits() }},
		{Name: "bus", Optional: true, Check: i.bus.Check},
	}
}

// Run serves until ctx ends, drains (see the package comment) and returns when all
// that it started has ended.
func (i *Instance) Run(ctx context.Context) error {
	defer i.close()
	i.log.Info("serving", "public", i.PublicAddr(), "admin", i.AdminAddr())

	// Updates are delivered until all sessions are closed.
	delivering, stopDelivering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDelivering()
	g, running := errgroup.WithContext(ctx) // also ends when a part fails
	g.Go(func() error { return i.hub.Run(delivering) })
	g.Go(func() error { return i.fleet.Run(delivering, i.feed.Ask) })
	g.Go(func() error { return i.feed.Run(delivering) })
	g.Go(func() error { return i.loadShopID(delivering) })
	g.Go(func() error { return i.deleteStoredResponses(running) })
	g.Go(func() error { return i.reloadOnSignal(running) })
	g.Go(func() error { return i.public.Listener(i.publicL) })
	g.Go(func() error { return i.admin.Listener(i.adminL) })
	g.Go(func() error {
		<-running.Done()
		defer stopDelivering()
		return i.shutDown()
	})
	err := g.Wait()
	i.log.Info("stopped")
	return err
}

// loadShopID reads the shop's id, if MySQL did not answer in New. Until it is known,
// Redis is not used, as its keys contain the id.
func (i *Instance) loadShopID(ctx context.Context) error {
	for {
		switch err := i.shop.LoadID(ctx, i.db); {
		case err == nil:
			return nil
		case ctx.Err() == nil:
			i.log.Debug("reading the shop's id failed; trying again in 1s", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// deleteStoredResponses deletes expired responses to calls with idempotency keys, every 10
// to 20 minutes.
func (i *Instance) deleteStoredResponses(ctx context.Context) error {
	for {
		select {
		case <-time.After(10*time.Minute + rand.N(10*time.Minute)):
		case <-ctx.Done():
			return nil
		}
		switch deleted, err := i.db.DeleteStoredResponses(ctx, admin.StoredResponseLifetime); {
		case err != nil && ctx.Err() == nil:
			i.log.Warn("deleting expired idempotency responses failed", "error", err)
		case deleted > 0:
			i.log.Debug("deleted expired idempotency responses", "responses", deleted)
		}
	}
}

// shutDown fails readiness, waits for load balancers to notice, closes the sessions
// one by one while updates are still delivered, and waits for running requests.
func (i *Instance) shutDown() error {
	whole := i.settings.Drain
	i.draining.Store(true)
	i.log.Info("draining", "for", whole, "sessions", i.hub.Sessions())
	<-time.After(whole / 4) // a second signal ends the process
	ctx, cancel := context.WithTimeout(context.Background(), whole*3/4)
	defer cancel()
	i.hub.Drain(ctx, whole/2)
	close(i.closing)
	// Mostly no request is running. fasthttp closes a connection on which a browser has
	// not sent anything yet only after 5 s.
	rest := max(whole/4, 6*time.Second)
	var both errgroup.Group
	both.Go(func() error { return i.public.ShutdownWithTimeout(rest) })
	both.Go(func() error { return i.admin.ShutdownWithTimeout(rest) })
	return both.Wait()
}

func (i *Instance) close() {
	for _, l := range []net.Listener{i.publicL, i.adminL} {
		if l != nil {
			l.Close()
		}
	}
	i.stopKeys()
	i.flush()
	if i.rdb != nil {
		i.rdb.Close()
	}
	if i.ownDB && i.db != nil {
		i.db.Close()
	}
}
