// Package public is the public app: the shop's pages, live sessions, fragments, the calls of Odoo storefronts,
// sitemaps. A handler parses, makes one call and answers. Concurrent requests share the goroutine that reads a
// list, which ends by the store's time limits.
package public

import (
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// An App is the public app: the shop's pages, and what browsers and Odoo storefronts call. The fields are its
// dependencies and settings.
type App struct {
	DB             *store.DB
	Cache          *render.Cache
	Hub            *realtime.Hub
	Templates      *render.Templates
	Assets         *httpx.Assets
	Health         httpx.Health
	Origins        []string        // that may open sessions, besides the app's own; "*": all
	TrustedProxies []httpx.Network // whose X-Forwarded-For is trusted
	OdooView       render.View     // of the answers to an Odoo storefront; render.Card
	PageSize       int             // products on a page of the shop; 24
	Videos         bool            // descriptions may have videos, and the pages play them
	PublicURL      string          // the shop's origin, from ParseOrigin; "": no answer names a host: Host may be forged
	Limiter        *auth.Limiter   // limits searches; nil: no limit
	Searches       int             // per address and minute: lists and searches that are not in memory; 0: no limit
	Metrics        prometheus.Registerer
	Log            *slog.Logger

	Answers, AnswersPerAddress int // with many fragments, at a time; 1000 and 100

	storefront
	bodies  *httpx.BodyLimiter
	odooIDs *odooIDs
	answers *answerLimiter

	originsLogged rate.Sometimes // when a refused origin was logged
}

// Limits of request bodies.
const (
	maxBody   = 64 << 10
	maxBodies = 32 << 20 // of all that are being received
)

// shopCSP returns the policy of the shop's pages: CSP, and what a sanitised description may have, which is text-align
// as a style, and videos.
func shopCSP(videos bool) string {
	policy := httpx.CSP + "; style-src-attr 'unsafe-inline'"
	if videos {
		policy += "; media-src 'self' https:; frame-src " + strings.Join(store.FrameSources, " ")
	}
	return policy
}

// Fiber returns the Fiber app.
func (p *App) Fiber() *fiber.App {
	if p.PageSize <= 0 {
		p.PageSize = 24
	}
	if p.Log == nil {
		p.Log = slog.Default()
	}
	p.openStorefront()
	var products externalIDSource
	if p.DB != nil {
		products = p.DB
	}
	p.originsLogged.Interval = time.Minute
	p.odooIDs = newOdooIDs(p.Cache, products, p.Metrics)
	p.answers = newAnswerLimiter(p.Answers, p.AnswersPerAddress, p.Metrics)
	p.bodies = httpx.NewBodyLimiter("public", maxBodies, maxBodies, 16*maxBody, p.Metrics)
	app := httpx.NewApp(httpx.AppConfig{
		Name: "shelfcast", CSP: shopCSP(p.Videos), Bodies: p.bodies,
		TrustedProxies: p.TrustedProxies, Log: p.Log, Fail: p.fail, IsData: isData,
	})
	app.Server().KeepHijackedConns = true // the hub goes on with the connections that live hands over
	p.Health.Mount(app, false)
	app.Get("/", p.home())
	for _, l := range p.Templates.Languages() {
		httpx.GetPage(app, l.ShopPath(), p.shop(l))
		httpx.GetPage(app, l.ShopPath()+"/products/:id", p.product(l))
		if l.Prefix != "" {
			httpx.GetPage(app, l.Prefix, func(c *fiber.Ctx) error { return c.Redirect(l.ShopPath()) })
		}
	}
	app.Get("/robots.txt", p.robots)
	app.Get("/sitemap.xml", p.sitemap)
	app.Get("/sitemaps/products-:number.xml", p.sitemapFile)
	app.Get("/assets/*", p.Assets.Serve)
	app.Get("/favicon.ico", func(c *fiber.Ctx) error { return c.Redirect(p.Assets.Path() + "/favicon.svg") })
	app.Use([]string{"/fragments", "/live/"}, p.crossOrigin())
	app.Get("/fragments", p.fragments)
	app.Get("/fragments/:view/:id", p.fragment)
	app.Post("/product/tree/sync", p.sync)
	app.Get("/product/tree/sync", func(*fiber.Ctx) error { // a 400 like Odoo's, not a 405
		return fiber.NewError(fiber.StatusBadRequest, "a call is a POST of application/json")
	})
	app.Get("/websocket", p.odooBus())
	app.Get("/websocket/", p.odooBus()) // Odoo serves both
	app.Get("/websocket/health", odooHealth)
	app.Get("/live", p.live())
	app.Get("/live/poll", p.poll)
	app.Get("/live/:stream", p.stream)
	return app
}

// isData reports whether a path is for scripts: the client's and those of an Odoo storefront.
func isData(path string) bool {
	return strings.HasPrefix(path, "/fragments") || strings.HasPrefix(path, "/live") ||
		strings.HasPrefix(path, "/product/") || strings.HasPrefix(path, "/websocket")
}

// fail answers with a page below the shop's paths, and with problem details elsewhere.
func (p *App) fail(c *fiber.Ctx, err error) error {
	lang, ofShop := p.language(c.Path())
	if !ofShop {
		return problem.Write(c, err)
	}
	details, headers, _ := problem.Of(err)
	problem.SetHeaders(c, headers)
	m, err := p.renderPage(pageKey{}, "message",
		render.Page{Lang: lang.Tag, Status: details.Status, NoIndex: true}, &cachedPage{assets: p.Assets.Path()})
	if err != nil {
		return problem.Write(c, err)
	}
	return m.send(c)
}

// language returns the language of a path of the shop, or false for other paths.
func (p *App) language(path string) (render.Language, bool) {
	for _, l := range p.Templates.Languages() {
		if shop := l.ShopPath(); path == shop || strings.HasPrefix(path, shop+"/") {
			return l, true
		}
	}
	return render.Language{}, false
}

// parseID parses a product's id.
func parseID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	// 042 would be a second address of the same product.
	if err != nil || id <= 0 || id == math.MaxInt64 || strconv.FormatInt(id, 10) != s {
		return 0, fiber.NewError(fiber.StatusBadRequest, "a product's id is a positive number")
	}
	return id, nil
}
