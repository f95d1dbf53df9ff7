// Package render turns a product into the HTML that stands for it in a page,
// and keeps what it has made: memory → Redis → store → template. It knows
// nothing of HTTP or of who watches.
package render

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"

	"shelfcast/store"
)

// Config says how templates are made. The zero value means the defaults, but
// for Files.
type Config struct {
	Files    []fs.FS  // where to look for each template, first found wins: the shop owner's before ours
	Locales  []string // the shop's languages (BCP 47), its first in front; "en"
	ShopName string   // "Shop"
	Videos   bool     // descriptions may have videos: see store.CleanHTML
	Low      int64    // at and below this stock a product is shown as nearly gone; 5
}

// Templates make HTML. They are safe for concurrent use and pure: as long as
// they are not loaded anew the same product gives the same bytes.
//
// A view is a file views/NAME.html. Of card and detail there are ours; a shop
// owner's folder may have others of these, and more: each file there is a view.
// What views and pages have in common is defined in parts/NAME.html, and what
// they say in a language is in locales/TAG.json, in the form of go-i18n.
type Templates struct {
	cfg Config
	now atomic.Pointer[edition]
}

// Load parses the templates and tries each on sample products, so that a
// template that cannot be shown is found here and not by a shopper.
func Load(cfg Config) (*Templates, error) {
	if len(cfg.Locales) == 0 {
		cfg.Locales = []string{"en"}
	}
	cfg.ShopName = cmp.Or(cfg.ShopName, "Shop")
	cfg.Low = cmp.Or(cfg.Low, 5)
	t := &Templates{cfg: cfg}
	first, err := newEdition(cfg)
	if err != nil {
		return nil, err
	}
	t.now.Store(first)
	return t, nil
}

// Reload reads the files anew. All that is made from then on is made of what
// they are now; if that cannot be shown, nothing changes.
func (t *Templates) Reload() error {
	next, err := newEdition(t.cfg)
	if err != nil {
		return err
	}
	t.now.Store(next)
	return nil
}

// Edition is another value after each Reload.
func (t *Templates) Edition() any { return t.now.Load() }

// Hash names the fragments that these templates make: two that differ in it
// may differ in any byte.
func (t *Templates) Hash() string { return t.now.Load().hash }

// ShopName is the shop's.
func (t *Templates) ShopName() string { return t.cfg.ShopName }

// Languages are those of the shop, its first in front.
func (t *Templates) Languages() []Language {
	var all []Language
	for _, l := range t.now.Load().languages {
		all = append(all, l.Language)
	}
	return all
}

// Views are all that there are, in all languages, sorted.
func (t *Templates) Views() []View { return slices.Clone(t.now.Load().names) }

// ParseView is the View of that name; false if there is none. The View is ours:
// the name may be on loan.
func (t *Templates) ParseView(name string) (View, bool) {
	v, ok := t.now.Load().views[View(name)]
	if !ok {
		return "", false
	}
	return v.name, true
}

// Render makes the HTML of a product: one element, with data-product-id,
// data-product-version and data-view.
func (t *Templates) Render(view View, p store.Product) (string, error) {
	return t.now.Load().render(view, p)
}

// Page writes the page of that name: shop, product, message, admin or docs.
func (t *Templates) Page(w io.Writer, name string, p Page) error {
	return t.now.Load().page(w, name, p)
}

// Text is a message of the pages in a language of the shop: see the function t
// of the templates.
func (t *Templates) Text(lang, id string, args ...any) (string, error) {
	for _, l := range t.now.Load().languages {
		if l.Tag == lang {
			return l.text(id, args...)
		}
	}
	return "", fmt.Errorf("the shop does not speak %q", lang)
}
