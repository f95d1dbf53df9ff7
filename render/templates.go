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

// Config says which templates to load, and how they render. The zero value of each field
// but Files means its default.
type Config struct {
	Files    []fs.FS  // folders of templates; the first that has a file wins: the shop owner's before ours
	Locales  []string // the shop's languages (BCP 47), the default one first; "en"
	ShopName string   // "Shop"
	Videos   bool     // descriptions may have videos: see store.CleanHTML
	Low      int64    // the greatest stock at which a product is shown as low in stock; 5
}

// Templates renders views and pages. It is safe for concurrent use and pure: until the
// next Reload the same product gives the same bytes.
//
// A view is a file views/NAME.html. card, detail and odoo are built in; the shop owner's folder
// may replace them and add more. parts/NAME.html defines what views and pages share, and
// locales/TAG.json has the messages in a language, in the format of go-i18n.
type Templates struct {
	cfg Config
	now atomic.Pointer[templateSet]
}

// Load parses the templates and renders sample products with each, so that a broken
// template is found here and not by a shopper.
func Load(cfg Config) (*Templates, error) {
	if len(cfg.Locales) == 0 {
		cfg.Locales = []string{"en"}
	}
	cfg.ShopName = cmp.Or(cfg.ShopName, "Shop")
	cfg.Low = cmp.Or(cfg.Low, 5)
	t := &Templates{cfg: cfg}
	first, err := newTemplateSet(cfg)
	if err != nil {
		return nil, err
	}
	t.now.Store(first)
	return t, nil
}

// Reload reads the files again. If it succeeds, everything that is rendered from then on
// uses them; if it fails, nothing changes.
func (t *Templates) Reload() error {
	next, err := newTemplateSet(t.cfg)
	if err != nil {
		return err
	}
	t.now.Store(next)
	return nil
}

// Snapshot returns a value that differs after each successful Reload.
func (t *Templates) Snapshot() any { return t.now.Load() }

// Hash identifies these templates. Fragments of templates with different hashes may differ
// in any byte.
func (t *Templates) Hash() string { return t.now.Load().hash }

// ShopName returns the name of the shop.
func (t *Templates) ShopName() string { return t.cfg.ShopName }

// Languages returns the languages of the shop, the default one first.
func (t *Templates) Languages() []Language {
	var all []Language
	for _, l := range t.now.Load().languages {
		all = append(all, l.Language)
	}
	return all
}

// Views returns all views in all languages, sorted.
func (t *Templates) Views() []View { return slices.Clone(t.now.Load().names) }

// ParseView returns the view of that name, and false if there is none. The returned View
// does not alias name.
func (t *Templates) ParseView(name string) (View, bool) {
	v, ok := t.now.Load().views[View(name)]
	if !ok {
		return "", false
	}
	return v.name, true
}

// Render returns the HTML of a product: one element, with data-product-id,
// data-product-version and data-view.
func (t *Templates) Render(view View, p store.Product) (string, error) {
	return t.now.Load().render(view, p)
}

// Page writes the page of that name: shop, product, message, admin or docs.
func (t *Templates) Page(w io.Writer, name string, p Page) error {
	return t.now.Load().page(w, name, p)
}

// Text returns a message in a language of the shop, as the template function t does.
func (t *Templates) Text(lang, id string, args ...any) (string, error) {
	for _, l := range t.now.Load().languages {
		if l.Tag == lang {
			return l.text(id, args...)
		}
	}
	return "", fmt.Errorf("%q is not a language of the shop", lang)
}
