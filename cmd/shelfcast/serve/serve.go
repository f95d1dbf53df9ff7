// Package serve is the composition root: it makes an instance of the parts and
// says who starts and stops what.
package serve

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

	"shelfcast/api"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/tracing"
)

// Options are what only a program that embeds an instance sets. The zero value
// is what cmd/shelfcast uses.
type Options struct {
	DB      *store.DB        // used and not closed; nil: the one of the Settings, opened and closed
	Assets  []fs.FS          // stand before those of the Settings
	Reload  <-chan os.Signal // something that comes here has the folders of templates and assets read again
	Version string
	Log     *slog.Logger
}

// An Instance is one Shelfcast. It has its addresses once it is made, and
// answers there while Run runs.
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
	bus   *realtime.Bus
	feed  *realtime.Feed

	templates *render.Templates
	assets    *api.Assets
	reload    <-chan os.Signal
	reloads   *prometheus.CounterVec

	public, admin   *fiber.App
	publicL, adminL net.Listener

	closing chan struct{} // closed when those who wait for changes are to be answered
	forget  func()        // ends what the identity provider's keys need
	flush   func()        // sends the last traces
}

// New makes an instance and takes its addresses. The database and Redis need
// not be reachable; a database that is, and that has an older schema, is an
// error (store.ErrSchema).
func New(ctx context.Context, s Settings, o Options) (_ *Instance, err error) {
	read, err := s.read(o.Assets...)
	if err != nil {
		return nil, err
	}
	i := &Instance{
		settings: s, log: o.Log, db: o.DB, shop: store.NewShop(), metrics: prometheus.NewRegistry(), closing: make(chan struct{}), forget: func() {}, flush: func() {},
		templates: read.templates, assets: read.assets, reload: o.Reload,
	}
	if i.log == nil {
		i.log = slog.Default()
	}
	i.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version))
	i.reloads = newReloads(i.metrics)
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	var tracer trace.Tracer // nil: nothing is traced
	if s.Traces.on() {
		if tracer, i.flush, err = s.Traces.start(ctx, o.Version, i.metrics, i.log); err != nil {
			i.flush = func() {}
			return nil, err
		}
		i.log = slog.New(tracing.Logs(i.log.Handler()))
	}
	if i.rdb, err = newRedis(s.Redis, s.RedisCA); err != nil {
		return nil, err
	}
	measureRedis(i.rdb, i.metrics)
	if i.db == nil {
		i.ownDB = true
		if i.db, err = s.Database.Open(s.Videos, i.metrics); err != nil {
			return nil, err
		}
	}
	err = i.db.CheckSchema(ctx)
	if err == nil {
		err = i.shop.Learn(ctx, i.db)
	}
	switch {
	case errors.Is(err, store.ErrSchema):
		return nil, err
	case err != nil:
		i.log.Warn("the database does not answer yet", "error", err)
	}

	cache := render.NewCache(i.db, i.rdb, i.shop, i.templates, render.CacheConfig{Memory: s.Memory << 20, Fills: s.Fills, Metrics: i.metrics, Log: i.log})
	i.hub = realtime.NewHub(cache, realtime.Config{
		MaxSessions: s.MaxSessions, JoinRate: s.JoinRate, MaxPerClient: s.MaxPerAddress, ClientRate: s.AddressRate, MaxAge: s.MaxAge, MaxProducts: s.MaxProducts, Ping: s.Ping,
		Odoo: realtime.OdooConfig{Channel: s.Odoo.Channel, View: read.odooView, Changes: i.db, Again: s.Odoo.Again}, Metrics: i.metrics, Log: i.log,
	})
	i.bus = realtime.NewBus(i.rdb, i.shop, i.hub, realtime.BusConfig{Tracer: tracer, Metrics: i.metrics, Log: i.log})
	i.feed = realtime.NewFeed(i.db, i.hub, i.bus, realtime.FeedConfig{Metrics: i.metrics, Log: i.log})

	if read.publicURL == "" {
		i.log.Warn("no --public-url: pages name no host in links for search engines, and there is no sitemap")
	}
	health := i.health() // of both apps, as it knows what was well once
	limiter := api.NewLimiter(i.rdb, i.shop, i.metrics, i.log)
	i.public = (&api.Public{
		DB: i.db, Cache: cache, Hub: i.hub, Templates: i.templates, Assets: i.assets, Health: health,
		Origins: s.Origins, TrustedProxies: read.proxies, PageSize: s.PageSize, Videos: s.Videos, PublicURL: read.publicURL, Limiter: limiter, Searches: s.Searches, OdooView: read.odooView, Metrics: i.metrics, Log: i.log,
	}).App()
	providers, err := i.jwt()
	if err != nil {
		return nil, err
	}
	i.admin = (&api.Admin{
		DB: i.db, Hub: i.hub, Bus: i.bus, Templates: i.templates, Assets: i.assets, Health: health,
		Token: s.AdminToken, JWT: providers, Limiter: limiter,
		CallsPerMinute: s.AdminCalls, TriesPerMinute: s.AdminTries, TrustedProxies: read.proxies, Hosts: s.adminHosts(), Closing: i.closing,
		Metrics: promhttp.HandlerFor(i.metrics, promhttp.HandlerOpts{}), Tracer: tracer, Registerer: i.metrics, Version: o.Version, Log: i.log,
	}).App()
	if i.publicL, err = net.Listen("tcp", s.Listen); err != nil {
		return nil, err
	}
	if i.adminL, err = net.Listen("tcp", s.AdminListen); err != nil {
		return nil, err
	}
	return i, nil
}

// buildInfo says which program it is.
func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_build_info", Help: "Always 1: the versions of the program and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// jwt is nil if no identity provider is named.
func (i *Instance) jwt() (*api.JWT, error) {
	s := i.settings.JWT
	if s.JWKS == "" {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.forget = cancel
	return api.NewJWT(ctx, api.JWTConfig{
		JWKS: s.JWKS, Issuer: s.Issuer, Audience: s.Audience, ScopeClaim: s.ScopeClaim, NameClaim: s.NameClaim, Typ: s.Typ, Metrics: i.metrics, Log: i.log,
	})
}

// PublicAddr is where the public app listens, AdminAddr where the admin app
// does.
func (i *Instance) PublicAddr() string { return i.publicL.Addr().String() }

// AdminAddr: see PublicAddr.
func (i *Instance) AdminAddr() string { return i.adminL.Addr().String() }

// Sessions counts those that are open.
func (i *Instance) Sessions() int { return i.hub.Sessions() }

// Metrics are the instance's own.
func (i *Instance) Metrics() prometheus.Gatherer { return i.metrics }

var (
	errFeed = errors.New("the last read of changes is too long ago")
	errBus  = errors.New("what is published to Redis does not come back; edits come through the database")
)

// health: whoever starts needs MySQL, or a release with a wrong password would take
// the place of one that works. Later on it is away from all instances, mostly, and
// what they have in memory and Redis is better than none of them.
func (i *Instance) health() api.Health {
	return api.Health{
		{Name: "hub", Fatal: true, Check: func(context.Context) error { return i.hub.Alive() }},
		{Name: "mysql", Once: new(atomic.Bool), Check: i.db.Ping},
		{Name: "feed", Once: new(atomic.Bool), Check: func(context.Context) error {
			if !i.feed.Healthy() {
				return errFeed
			}
			return nil
		}},
		{Name: "draining", Check: func(context.Context) error {
			if i.draining.Load() {
				return realtime.ErrDraining
			}
			return nil
		}},
		{Name: "sessions", Check: func(context.Context) error { return i.hub.Admits() }},
		{Name: "bus", Optional: true, Check: func(context.Context) error {
			if !i.bus.Healthy() {
				return errBus
			}
			return nil
		}},
	}
}

// Run serves until ctx ends, drains as design and Settings.Drain say, and
// returns when all that it started has ended.
func (i *Instance) Run(ctx context.Context) error {
	defer i.close()
	i.log.Info("serving", "public", i.PublicAddr(), "admin", i.AdminAddr())

	// What delivers goes on while sessions are being closed, and ends after.
	delivering, stopDelivering := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDelivering()
	g, running := errgroup.WithContext(ctx) // ends when the first part fails, too
	g.Go(func() error { return i.hub.Run(delivering) })
	g.Go(func() error { return i.bus.Listen(delivering, i.feed.Ask) })
	g.Go(func() error { return i.feed.Run(delivering) })
	g.Go(func() error { return i.learnShop(delivering) })
	g.Go(func() error { return i.tidy(running) })
	g.Go(func() error { return i.reloadWhenTold(running) })
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

// learnShop reads the shop's id when MySQL was away as this instance was made.
// Until it is known, Redis is left alone.
func (i *Instance) learnShop(ctx context.Context) error {
	for {
		switch err := i.shop.Learn(ctx, i.db); {
		case err == nil:
			return nil
		case ctx.Err() == nil:
			i.log.Debug("the shop's id cannot be read yet", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// tidy drops the answers that nobody asks for again. All instances do, now and
// then.
func (i *Instance) tidy(ctx context.Context) error {
	for {
		select {
		case <-time.After(10*time.Minute + rand.N(10*time.Minute)):
		case <-ctx.Done():
			return nil
		}
		switch dropped, err := i.db.ForgetAnswers(ctx, api.AnswersAge); {
		case err != nil && ctx.Err() == nil:
			i.log.Warn("old answers could not be dropped", "error", err)
		case dropped > 0:
			i.log.Debug("old answers were dropped", "answers", dropped)
		}
	}
}

// shutDown: not ready → the load balancer notices → sessions are closed one by
// one while deliveries go on → requests under way end.
func (i *Instance) shutDown() error {
	whole := i.settings.Drain
	i.draining.Store(true)
	i.log.Info("draining", "for", whole, "sessions", i.hub.Sessions())
	<-time.After(whole / 4) // a second signal ends the process meanwhile
	ctx, cancel := context.WithTimeout(context.Background(), whole*3/4)
	defer cancel()
	i.hub.Drain(ctx, whole/2)
	close(i.closing)
	// For requests under way; mostly there are none. A connection that a browser
	// has opened ahead, and said nothing on, is only closed after 5 s (fasthttp).
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
	i.forget()
	i.flush()
	if i.rdb != nil {
		i.rdb.Close()
	}
	if i.ownDB && i.db != nil {
		i.db.Close()
	}
}
