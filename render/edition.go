package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/bojanz/currency"

	"shelfcast/store"
)

// An edition is the templates as they were read at one time. It is never
// changed.
type edition struct {
	cfg       Config
	files     files
	hash      string
	formatter *currency.Formatter
	names     []View // sorted
	views     map[View]*view
	pages     map[string]*template.Template
}

// A view is the template of a View.
type view struct {
	name     View
	file     string
	text     []byte
	template *template.Template
}

// The pages: those that are put into the layout, and those that are whole by
// themselves.
var (
	pageNames  = []string{"shop", "product", "message"}
	wholePages = []string{"admin", "docs"}
)

// newEdition reads and tries all templates.
func newEdition(cfg Config) (*edition, error) {
	e := &edition{
		cfg: cfg, files: cfg.Files,
		formatter: currency.NewFormatter(currency.NewLocale(cfg.Locale)),
		views:     map[View]*view{},
		pages:     map[string]*template.Template{},
	}
	e.formatter.CurrencyDisplay = currency.DisplaySymbol
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n", cfg.Locale, cfg.Low)
	parts, err := e.files.list("parts", ".html")
	if err != nil {
		return nil, err
	}
	common := template.New("parts")
	for _, name := range parts {
		file := "parts/" + name + ".html"
		text, err := e.files.read(file)
		if err != nil {
			return nil, err
		}
		note(sum, file, text)
		if _, err := common.New(file).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	names, err := e.files.list("views", ".html")
	if err != nil {
		return nil, err
	}
	for _, always := range []View{Card, Detail} {
		if !slices.Contains(names, string(always)) {
			names = append(names, string(always))
		}
	}
	for _, name := range names {
		v, err := e.parseView(name, common)
		if err != nil {
			return nil, err
		}
		note(sum, name, v.text)
		e.views[v.name] = v
		e.names = append(e.names, v.name)
	}
	slices.Sort(e.names)
	e.hash = hex.EncodeToString(sum.Sum(nil))[:12]
	for _, name := range slices.Concat(pageNames, wholePages) {
		if e.pages[name], err = e.parsePage(name, common); err != nil {
			return nil, err
		}
	}
	for _, v := range e.views {
		if err := e.try(v); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *edition) parseView(name string, common *template.Template) (*view, error) {
	if !viewName.MatchString(name) {
		return nil, fmt.Errorf("views/%s.html: a view is named with up to 32 small letters, digits and dashes, the first a letter", name)
	}
	v := &view{name: View(name)}
	var err error
	if v.file, v.text, err = e.files.view(name); err != nil {
		return nil, err
	}
	if v.template, err = common.Clone(); err != nil {
		return nil, err
	}
	v.template, err = v.template.New(v.file).Parse(string(v.text))
	return v, err
}

func (e *edition) parsePage(name string, common *template.Template) (*template.Template, error) {
	page, err := common.Clone()
	if err != nil {
		return nil, err
	}
	names := []string{name + ".html"}
	if !slices.Contains(wholePages, name) {
		names = append(names, "layout.html")
	}
	for _, file := range names {
		text, err := e.files.read(file)
		if err != nil {
			return nil, err
		}
		if _, err := page.New(file).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// A view's template is given this.
type fragmentData struct {
	ID, Version  int64
	View         View // for data-view
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

func (e *edition) render(name View, p store.Product) (string, error) {
	v, ok := e.views[name]
	if !ok {
		return "", ErrNoView
	}
	data := fragmentData{ID: p.ID, Version: p.Version, View: name}
	if p.Available() {
		data = fragmentData{
			ID: p.ID, Version: p.Version, View: name, Available: true,
			SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL,
			// Cleaned on its way in, and once more here: another program may
			// have put it into the row.
			Description: template.HTML(store.SanitizeHTML(p.Description)),
			Price:       e.money(p.Price, p.Currency),
			Currency:    p.Currency,
			Stock:       p.Stock,
			SoldOut:     p.Stock <= 0,
			Low:         p.Stock > 0 && p.Stock <= e.cfg.Low,
			URL:         fmt.Sprintf("/shop/products/%d", p.ID),
		}
		if was := p.CompareAtPrice; was != nil && was.GreaterThan(p.Price.Decimal) {
			data.CompareAt = e.money(*was, p.Currency)
		}
	}
	var html strings.Builder
	if err := v.template.Execute(&html, data); err != nil {
		return "", fmt.Errorf("product %d: %w", p.ID, err)
	}
	return strings.TrimSpace(html.String()), nil
}

func (e *edition) money(p store.Price, code string) string {
	amount, err := currency.NewAmount(p.String(), code)
	if err != nil { // another program's currency, which is none
		return p.String() + " " + code
	}
	return e.formatter.Format(amount)
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

func (e *edition) page(w io.Writer, name string, p Page) error {
	page, ok := e.pages[name]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	p.ShopName, p.Lang = e.cfg.ShopName, e.cfg.Locale
	root := "layout"
	if slices.Contains(wholePages, name) {
		root = name + ".html"
	}
	var html bytes.Buffer // so that a page is whole or not at all
	if err := page.ExecuteTemplate(&html, root, p); err != nil {
		return err
	}
	_, err := html.WriteTo(w)
	return err
}
