package api

import (
	"context"
	"html/template"

	"github.com/gofiber/fiber/v2"

	"shelfcast/render"
	"shelfcast/store"
)

// product is GET /shop/products/{id} in a language: a product's own page. Of one
// that shoppers may not see it is the page that says so, and that changes if they
// may.
func (p *Public) product(lang render.Language) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id, err := parseID(c.Params("id"))
		if err != nil {
			return fiber.ErrNotFound
		}
		key := pageKey{lang: lang.Tag, product: id}
		m, found := p.pages.GetIfPresent(key)
		found = found && p.fit(m, [2]any{})
		if _, certain := p.Cache.Known(store.Rev{ID: id}); found && certain {
			return m.send(c)
		}
		now, err := p.makeProduct(c.UserContext(), lang, key)
		if err == nil {
			return now.send(c)
		}
		if found && unavailable(err) {
			return m.send(c) // nothing newer is known
		}
		return err
	}
}

// makeProduct makes a product's page.
func (p *Public) makeProduct(ctx context.Context, lang render.Language, key pageKey) (*made, error) {
	m := &made{edition: p.Templates.Edition(), assets: p.Assets.Path(), whole: true} // before what is made of it
	detail, facts, err := p.about(ctx, lang, key.product)
	if err != nil {
		return nil, err
	}
	m.shown = []store.Rev{detail.Rev}
	page := p.newPage(lang, func(l render.Language) string { return l.ProductPath(key.product) })
	page.Title, page.Description = facts.Title, facts.Summary
	page.Fragments = []template.HTML{template.HTML(detail.HTML)}
	switch {
	case facts.Archived:
		page.Status, page.NoIndex = fiber.StatusGone, true
	case !facts.Available:
		page.Status, page.NoIndex = fiber.StatusNotFound, true
	default:
		if facts.Vendor != "" {
			page.Shelf.Vendors = []render.Choice{{Name: facts.Vendor, Value: facts.Vendor, URL: browse{vendor: facts.Vendor}.path(lang.ShopPath())}}
		}
		page.Image = p.whole(facts.ImageURL)
		all, err := p.Templates.Text(lang.Tag, "all_products")
		if err != nil {
			return nil, err
		}
		page.Structured = []any{productData(p.PublicURL, page.Canonical, facts), crumbs(p.PublicURL, lang, all, facts)}
	}
	return p.make(key, "product", page, m)
}

// about is the product's fragment and the facts of the same version.
func (p *Public) about(ctx context.Context, lang render.Language, id int64) (detail *render.Fragment, facts render.ProductFacts, err error) {
	want := store.Rev{ID: id}
	for range 3 { // it may be edited in between
		if detail, err = p.Cache.Fragment(ctx, lang.View(render.Detail), want); err != nil {
			return nil, facts, err
		}
		of, err := p.Cache.Fragment(ctx, render.Facts, detail.Rev)
		if err != nil {
			return nil, facts, err
		}
		if facts, err = of.Facts(); err != nil {
			return nil, facts, err
		}
		if of.Version == detail.Version {
			break
		}
		want = of.Rev
	}
	return detail, facts, nil
}
