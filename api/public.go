package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
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
	TrustedProxies []Network   // whose X-Forwarded-… are believed
	OdooView       render.View // of the answers to an Odoo storefront; render.Card
	PageSize       int         // products of a page of the shop; 24
	Metrics        prometheus.Registerer
	Log            *slog.Logger

	numbers *odooNumbers
}

// App makes the Fiber app.
func (p *Public) App() *fiber.App {
	if p.PageSize <= 0 {
		p.PageSize = 24
	}
	if p.Log == nil {
		p.Log = slog.Default()
	}
	var products numberSource
	if p.DB != nil {
		products = p.DB
	}
	p.numbers = newOdooNumbers(p.Cache, products, p.Metrics)
	app := newApp(appConfig{
		name: "shelfcast", bodyLimit: func(string) int { return maxPublicBody },
		trustedProxies: p.TrustedProxies, log: p.Log, fail: p.fail, data: isData,
	})
	app.Server().KeepHijackedConns = true // the hub keeps what live hands over
	p.Health.mount(app, false)
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/shop") })
	app.Get("/shop", p.shop)
	app.Get("/shop/products/:id", p.product)
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
	if path := c.Path(); path != "/shop" && !strings.HasPrefix(path, "/shop/") {
		return failPlain(c, err)
	}
	details, headers, _ := problem(err)
	page := render.Page{Status: details.Status, Title: "Something went wrong", Message: "Please try again in a moment."}
	if details.Status < 500 {
		page.Title, page.Message = "Not found", "There is nothing at this address."
	}
	setHeaders(c, headers)
	return p.page(c, "message", page)
}

func (p *Public) page(c *fiber.Ctx, name string, page render.Page) error {
	page.Assets = p.Assets.Path()
	var html bytes.Buffer
	if err := p.Templates.Page(&html, name, page); err != nil {
		return err
	}
	if page.Status != 0 {
		c.Status(page.Status)
	}
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(html.Bytes())
}

// shop is GET /shop?after=ID or ?before=ID: a page of cards.
func (p *Public) shop(c *fiber.Ctx) error {
	revs, next, previous, err := p.shelf(c.UserContext(), c.Query("after"), c.Query("before"))
	if err != nil {
		return err
	}
	page := render.Page{Title: "Products"}
	if previous {
		page.Previous = fmt.Sprintf("/shop?before=%d", revs[0].ID)
	}
	if next {
		page.Next = fmt.Sprintf("/shop?after=%d", revs[len(revs)-1].ID)
	}
	for _, r := range revs {
		f, err := p.Cache.Fragment(c.UserContext(), render.Card, r)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		page.Fragments = append(page.Fragments, template.HTML(f.HTML))
	}
	return p.page(c, "shop", page)
}

// shelf reads one product more than a page has, to know whether there is more.
func (p *Public) shelf(ctx context.Context, after, before string) (revs []store.Rev, next, previous bool, err error) {
	if before != "" {
		id, err := parseID(before)
		if err != nil {
			return nil, false, false, err
		}
		revs, err = p.DB.ShelfBefore(ctx, id, p.PageSize+1)
		if len(revs) > p.PageSize {
			revs, previous = revs[1:], true
		}
		return revs, len(revs) > 0, previous, err
	}
	var id int64
	if after != "" {
		if id, err = parseID(after); err != nil {
			return nil, false, false, err
		}
	}
	revs, err = p.DB.Shelf(ctx, id, p.PageSize+1)
	if len(revs) > p.PageSize {
		revs, next = revs[:p.PageSize], true
	}
	return revs, next, id > 0 && len(revs) > 0, err
}

// product is GET /shop/products/{id}: a product's own page. Of one that shoppers
// may not see it is the page that says so, and that changes if they may.
func (p *Public) product(c *fiber.Ctx) error {
	id, err := parseID(c.Params("id"))
	if err != nil {
		return fiber.ErrNotFound
	}
	f, err := p.Cache.Fragment(c.UserContext(), render.Detail, store.Rev{ID: id})
	if err != nil {
		return err
	}
	page := render.Page{Title: cmp.Or(f.Title, "Not available"), Fragments: []template.HTML{template.HTML(f.HTML)}}
	if f.Unavailable {
		page.Status = fiber.StatusNotFound
	}
	return p.page(c, "product", page)
}

// parseID reads a product's id.
func parseID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 || id == math.MaxInt64 {
		return 0, fiber.NewError(fiber.StatusBadRequest, "a product's id is a positive number")
	}
	return id, nil
}
