package public

import (
	"context"
	"html/template"

	"github.com/gofiber/fiber/v2"

	"shelfcast/render"
	"shelfcast/store"
)

// product is GET /shop/products/{id} in a language. For a product that shoppers may not see, it is a page that says so,
// and that shows the product once they may.
func (p *App) product(lang render.Language) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id, err := parseID(c.Params("id"))
		if err != nil {
			return fiber.ErrNotFound
		}
		key := pageKey{lang: lang.Tag, product: id}
		m, found := p.pages.GetIfPresent(key)
		found = found && p.isCurrent(m, [2]any{})
		if _, certain := p.Cache.Current(store.Rev{ID: id}); found && certain {
			return m.send(c)
		}
		now, err := p.renderProduct(c.UserContext(), lang, key)
		if err == nil {
			return now.send(c)
		}
		if found && isUnavailable(err) {
			return m.send(c) // nothing newer is known
		}
		return err
	}
}

// renderProduct renders a product's page.
func (p *App) renderProduct(ctx context.Context, lang render.Language, key pageKey) (*cachedPage, error) {
	m := &cachedPage{snapshot: p.Templates.Snapshot(), assets: p.Assets.Path(), complete: true} // read before rendering
	detail, err := p.Cache.Fragment(ctx, lang.View(render.Detail), store.Rev{ID: key.product})
	if err != nil {
		return nil, err
	}
	meta := detail.PageMeta()
	m.shown = []store.Rev{detail.Rev}
	page := p.newPage(lang, func(l render.Language) string { return l.ProductPath(key.product) })
	page.Title, page.Description = meta.Title, meta.Summary
	page.Fragments = []template.HTML{template.HTML(detail.HTML)}
	switch {
	case meta.Archived:
		page.Status, page.NoIndex = fiber.StatusGone, true
	case !meta.Available:
		page.Status, page.NoIndex = fiber.StatusNotFound, true
	default:
		if meta.Vendor != "" {
			page.List.Vendors = []render.Choice{{Name: meta.Vendor, Value: meta.Vendor,
				URL: shopQuery{vendor: meta.Vendor}.path(lang.ShopPath())}}
		}
		page.Image = p.absoluteURL(meta.ImageURL)
		all, err := p.Templates.Text(lang.Tag, "all_products")
		if err != nil {
			return nil, err
		}
		page.Structured = []any{productData(p.PublicURL, page.Canonical, meta), breadcrumbs(p.PublicURL, lang, all, meta)}
	}
	return p.renderPage(key, "product", page, m)
}
