package api

import (
	"log/slog"
	"math"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// Public is what the public app is made of.
type Public struct {
	DB             *store.DB
	Cache          *render.Cache
	Hub            *realtime.Hub
	Templates      *render.Templates
	Assets         *Assets
	Health         Health
	Origins        []string    // that may open sessions, besides the app's own; "*": all
	TrustedProxies []Network   // whose X-Forwarded-For is believed
	OdooView       render.View // of the answers to an Odoo storefront; render.Card
	PageSize       int         // products of a page of the shop; 24
	Videos         bool        // descriptions may have videos, and the pages play them
	PublicURL      string      // the shop's origin, as ParseOrigin has it; "": answers name no host, as a visitor's word may be a lie
	Limiter        *Limiter    // of searches; nil: no limit
	Searches       int         // of an address in a minute: lists and searches that are not in memory; 0: no limit
	Metrics        prometheus.Registerer
	Log            *slog.Logger

	Answers, AnswersPerAddress int // of many fragments at a time; 1000 and 100

	storefront
	bodies  *intake
	numbers *odooNumbers
	answers *underWay
}

// App makes the Fiber app.
func (p *Public) App() *fiber.App {
	if p.PageSize <= 0 {
		p.PageSize = 24
	}
	if p.Log == nil {
		p.Log = slog.Default()
	}
	p.open()
	var products numberSource
	if p.DB != nil {
		products = p.DB
	}
	p.numbers = newOdooNumbers(p.Cache, products, p.Metrics)
	p.answers = newUnderWay(p.Answers, p.AnswersPerAddress, p.Metrics)
	p.bodies = newIntake("public", maxPublicBodies, maxPublicBodies, 16*maxPublicBody, p.Metrics)
	app := newApp(appConfig{
		name: "shelfcast", csp: shopCSP(p.Videos), bodies: p.bodies,
		trustedProxies: p.TrustedProxies, log: p.Log, fail: p.fail, data: isData,
	})
	app.Server().KeepHijackedConns = true // the hub keeps what live hands over
	p.Health.mount(app, false)
	app.Get("/", p.home())
	for _, l := range p.Templates.Languages() {
		getPage(app, l.ShopPath(), p.shop(l))
		getPage(app, l.ShopPath()+"/products/:id", p.product(l))
		if l.Prefix != "" {
			getPage(app, l.Prefix, func(c *fiber.Ctx) error { return c.Redirect(l.ShopPath()) })
		}
	}
	app.Get("/robots.txt", p.robots)
	app.Get("/sitemap.xml", p.sitemap)
	app.Get("/sitemaps/products-:number.xml", p.products)
	app.Get("/assets/*", p.Assets.serve)
	app.Get("/favicon.ico", func(c *fiber.Ctx) error { return c.Redirect(p.Assets.Path() + "/favicon.svg") })
	app.Use([]string{"/fragments", "/live/sse", "/live/poll"}, p.crossOrigin())
	app.Get("/fragments", p.fragments)
	app.Get("/fragments/:view/:id", p.fragment)
	app.Post("/product/tree/sync", p.sync)
	app.Get("/product/tree/sync", func(*fiber.Ctx) error { // as Odoo has it, and no 405
		return fiber.NewError(fiber.StatusBadRequest, "a call is a POST of application/json")
	})
	app.Get("/websocket", p.odooBus())
	app.Get("/websocket/", p.odooBus()) // as Odoo takes it too
	app.Get("/websocket/health", odooHealth)
	app.Get("/live", p.live())
	app.Get("/live/sse", p.stream)
	app.Get("/live/poll", p.poll)
	return app
}

// isData: the client's calls, and those of an Odoo storefront.
func isData(path string) bool {
	return strings.HasPrefix(path, "/fragments") || strings.HasPrefix(path, "/live") || strings.HasPrefix(path, "/product/") || strings.HasPrefix(path, "/websocket")
}

// fail answers a shopper with a page and a program with problem details.
func (p *Public) fail(c *fiber.Ctx, err error) error {
	lang, ofShop := p.language(c.Path())
	if !ofShop {
		return failPlain(c, err)
	}
	details, headers, _ := problem(err)
	setHeaders(c, headers)
	m, err := p.make(pageKey{}, "message", render.Page{Lang: lang.Tag, Status: details.Status, NoIndex: true}, &made{assets: p.Assets.Path()})
	if err != nil {
		return failPlain(c, err)
	}
	return m.send(c)
}

// language is that of a shop's path; false if it is another path.
func (p *Public) language(path string) (render.Language, bool) {
	for _, l := range p.Templates.Languages() {
		if shop := l.ShopPath(); path == shop || strings.HasPrefix(path, shop+"/") {
			return l, true
		}
	}
	return render.Language{}, false
}

// parseID reads a product's id.
func parseID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 || id == math.MaxInt64 || strconv.FormatInt(id, 10) != s { // 042 would be one more address of it
		return 0, fiber.NewError(fiber.StatusBadRequest, "a product's id is a positive number")
	}
	return id, nil
}
