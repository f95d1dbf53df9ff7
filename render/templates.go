// Package render turns a product into the HTML that stands for it in a page,
// and keeps what it has made: memory → Redis → store → template. It knows
// nothing of HTTP or of who watches.
package render

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/bojanz/currency"

	"shelfcast/store"
)

// A View is one of the forms in which a page shows a product.
type View string

// The views. Each has a template of its name.
const (
	Card   View = "card"   // one of many, in a list
	Detail View = "detail" // the product's own page
)

// ParseView is the View of that name; false if there is none.
func ParseView(name string) (View, bool) {
	switch name { // the answer is ours: the name may be on loan
	case string(Card):
		return Card, true
	case string(Detail):
		return Detail, true
	}
	return "", false
}

// Config says how templates are made. The zero value means the defaults, but
// for Files.
type Config struct {
	Files    []fs.FS // where to look for each template, first found wins: the shop owner's before ours
	Locale   string  // how prices are written, as in CLDR; "en"
	ShopName string  // "Shop"
	Low      int64   // at and below this stock a product is shown as nearly gone; 5
}

// Templates make HTML. They are safe for concurrent use and pure: the same
// product gives the same bytes.
type Templates struct {
	cfg       Config
	hash      string
	formatter *currency.Formatter
	views     []View
	fragments map[View]*template.Template
	pages     map[string]*template.Template
}

// The pages: those that are put into the layout, and those that are whole by
// themselves.
var (
	pageNames  = []string{"shop", "product", "message"}
	wholePages = []string{"admin", "docs"}
)

// Load parses the templates and tries each fragment on sample products, so that
// a template that cannot be shown is found here and not by a shopper.
func Load(cfg Config) (*Templates, error) {
	cfg.Locale = cmp.Or(cfg.Locale, "en")
	cfg.ShopName = cmp.Or(cfg.ShopName, "Shop")
	cfg.Low = cmp.Or(cfg.Low, 5)
	t := &Templates{
		cfg:       cfg,
		formatter: currency.NewFormatter(currency.NewLocale(cfg.Locale)),
		fragments: map[View]*template.Template{},
		pages:     map[string]*template.Template{},
	}
	t.formatter.CurrencyDisplay = currency.DisplaySymbol
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n", cfg.Locale, cfg.Low)
	var err error
	if t.views, err = t.listViews(); err != nil {
		return nil, err
	}
	for _, view := range t.views {
		text, err := t.read(view.file())
		if err != nil {
			return nil, err
		}
		sum.Write(text)
		t.fragments[view], err = template.New(string(view)).Parse(string(text))
		if err != nil {
			return nil, err
		}
		if err := t.try(view); err != nil {
			return nil, err
		}
	}
	t.hash = hex.EncodeToString(sum.Sum(nil))[:12]
	for _, name := range slices.Concat(pageNames, wholePages) {
		page, err := t.parsePage(name)
		if err != nil {
			return nil, err
		}
		t.pages[name] = page
	}
	return t, nil
}

// Hash names the fragments that these templates make: two that differ in it
// may differ in any byte.
func (t *Templates) Hash() string { return t.hash }

func (t *Templates) read(name string) ([]byte, error) {
	for _, files := range t.cfg.Files {
		text, err := fs.ReadFile(files, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fmt.Errorf("template %s: %w", name, fs.ErrNotExist)
}

func (t *Templates) parsePage(name string) (*template.Template, error) {
	page := template.New(name)
	files := []string{name + ".html"}
	if !slices.Contains(wholePages, name) {
		files = append(files, "layout.html")
	}
	for _, file := range files {
		text, err := t.read(file)
		if err != nil {
			return nil, err
		}
		if _, err := page.Parse(string(text)); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// try renders one product that is shown and one that is not.
func (t *Templates) try(view View) error {
	price, _ := store.ParsePrice("19.90")
	for _, p := range []store.Product{
		{Rev: store.Rev{ID: 4711, Version: 17}, Title: "Sample", Price: price, Currency: "EUR", Published: true},
		{Rev: store.Rev{ID: 4711, Version: 17}},
	} {
		html, err := t.Render(view, p)
		if err != nil {
			return err
		}
		for _, attribute := range []string{`data-product-id="4711"`, `data-product-version="17"`, `data-view="` + string(view) + `"`} {
			if !strings.Contains(html, attribute) {
				return fmt.Errorf("template %s.html: its element lacks %s, without which no page can be kept up to date", view, attribute)
			}
		}
	}
	return nil
}

// A Card or Detail template is given this.
type fragmentData struct {
	ID, Version  int64
	View         View
	Available    bool // false: the rest is empty
	SKU          string
	Title        string
	Vendor       string
	ImageURL     string
	Description  template.HTML
	Price        string // as the locale writes it: €19.90
	CompareAt    string // the price before a sale; "" if there is no sale
	Currency     string
	Stock        int64
	SoldOut, Low bool
	URL          string // of the product's own page
}

// Render makes the HTML of a product: one element, with data-product-id,
// data-product-version and data-view.
func (t *Templates) Render(view View, p store.Product) (string, error) {
	data := fragmentData{ID: p.ID, Version: p.Version, View: view}
	if p.Available() {
		data = fragmentData{
			ID: p.ID, Version: p.Version, View: view, Available: true,
			SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL,
			// Cleaned on its way in, and once more here: another program may
			// have put it into the row.
			Description: template.HTML(store.SanitizeHTML(p.Description)),
			Price:       t.money(p.Price, p.Currency),
			Currency:    p.Currency,
			Stock:       p.Stock,
			SoldOut:     p.Stock <= 0,
			Low:         p.Stock > 0 && p.Stock <= t.cfg.Low,
			URL:         fmt.Sprintf("/shop/products/%d", p.ID),
		}
		if was := p.CompareAtPrice; was != nil && was.GreaterThan(p.Price.Decimal) {
			data.CompareAt = t.money(*was, p.Currency)
		}
	}
	var html strings.Builder
	if err := t.fragments[view].Execute(&html, data); err != nil {
		return "", fmt.Errorf("product %d: %w", p.ID, err)
	}
	return strings.TrimSpace(html.String()), nil
}

func (t *Templates) money(p store.Price, code string) string {
	amount, err := currency.NewAmount(p.String(), code)
	if err != nil { // another program's currency, which is none
		return p.String() + " " + code
	}
	return t.formatter.Format(amount)
}

// A Page is what a page's template is given.
type Page struct {
	Title          string
	ShopName, Lang string // filled in by Page
	Assets         string // the path that scripts and styles are below
	Fragments      []template.HTML
	Next, Previous string // hrefs; "" if there is none
	Status         int    // of the HTTP response
	Message        string
	Data           any // of the page alone
}

// Page writes the page of that name: shop, product, message, admin or docs.
func (t *Templates) Page(w io.Writer, name string, p Page) error {
	page, ok := t.pages[name]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	p.ShopName, p.Lang = t.cfg.ShopName, t.cfg.Locale
	root := "layout"
	if slices.Contains(wholePages, name) {
		root = name
	}
	var html bytes.Buffer // so that a page is whole or not at all
	if err := page.ExecuteTemplate(&html, root, p); err != nil {
		return err
	}
	_, err := html.WriteTo(w)
	return err
}
