package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"html/template"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"shelfcast/store"
)

// An edition is the templates as they were read at one time. It is never
// changed.
type edition struct {
	cfg       Config
	files     files
	hash      string
	languages []*locale // the shop's first in front
	names     []View    // sorted
	views     map[View]*view
	pages     map[pageKey]*template.Template
}

// A view is the template of a View, in its language.
type view struct {
	name     View
	locale   *locale
	file     string
	text     []byte
	template *template.Template
}

type pageKey struct{ name, language string }

// htmlForm is part of the hash, since another release may take other HTML out of a
// description.
const htmlForm = "html 1"

// newEdition reads and tries all templates.
func newEdition(cfg Config) (*edition, error) {
	e := &edition{cfg: cfg, files: cfg.Files, views: map[View]*view{}, pages: map[pageKey]*template.Template{}}
	tags, err := parseLocales(cfg.Locales)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n%s\n%t\n", factsForm, cfg.Low, htmlForm, cfg.Videos)
	for i, tag := range tags {
		l, err := newLocale(tag, i == 0, e.files, sum)
		if err != nil {
			return nil, err
		}
		e.languages = append(e.languages, l)
	}
	for _, l := range e.languages {
		if err := e.parse(l, sum); err != nil {
			return nil, err
		}
	}
	slices.Sort(e.names)
	e.hash = hex.EncodeToString(sum.Sum(nil))[:12]
	return e, e.try()
}

// form is that of a view; false if there is no such view.
func (e *edition) form(name View) (form, bool) {
	if name == Facts {
		return form{Facts, e.hash}, true
	}
	v, ok := e.views[name]
	if !ok {
		return form{}, false
	}
	return form{v.name, e.hash}, true
}

// parse reads all that there is in a language.
func (e *edition) parse(l *locale, sum hash.Hash) error {
	common, err := e.parseParts(l, sum)
	if err != nil {
		return err
	}
	names, err := e.files.list("views", ".html")
	if err != nil {
		return err
	}
	for _, always := range []View{Card, Detail} {
		if !slices.Contains(names, string(always)) {
			names = append(names, string(always))
		}
	}
	for _, name := range names {
		v, err := e.parseView(name, l, common)
		if err != nil {
			return err
		}
		note(sum, string(v.name), v.text)
		e.views[v.name] = v
		e.names = append(e.names, v.name)
	}
	for _, name := range slices.Concat(pageNames, wholePages) {
		if e.pages[pageKey{name, l.Tag}], err = e.parsePage(name, common); err != nil {
			return err
		}
	}
	return nil
}

// parseParts reads what all templates have in common.
func (e *edition) parseParts(l *locale, sum hash.Hash) (*template.Template, error) {
	names, err := e.files.list("parts", ".html")
	if err != nil {
		return nil, err
	}
	common := template.New("parts").Funcs(template.FuncMap{"t": l.text})
	for _, name := range names {
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
	return common, nil
}

func (e *edition) parseView(name string, l *locale, common *template.Template) (*view, error) {
	if name == string(Facts) {
		return nil, fmt.Errorf("views/%s.html: a view of that name is Shelfcast's own", name)
	}
	if !viewName.MatchString(name) {
		return nil, fmt.Errorf("views/%s.html: a view is named with up to 32 small letters, digits and dashes, the first a letter", name)
	}
	v := &view{name: l.View(View(name)), locale: l}
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
		names = []string{"layout.html", name + ".html"} // what a page defines stands for a block of the layout
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
	View         View   // for data-view
	Shop         string // the path of the shop in the view's language
	Available    bool   // false: the rest is empty
	SKU          string
	Title        string
	Vendor       string
	ImageURL     string
	description  string
	videos       bool
	Price        string // as the language writes it: €19.90
	CompareAt    string // the price before a sale; "" if there is no sale
	Off          int64  // by how much the sale is cheaper, in percent; 0 if that is less than one
	Currency     string
	Stock        int64
	SoldOut, Low bool
	URL          string // of the product's own page
}

// Description is HTML. It was cleaned on its way in, and is once more: another
// program may have put it into the row. Views that do not show it do not pay for it.
func (d fragmentData) Description() template.HTML {
	return template.HTML(store.SanitizeHTML(d.description, d.videos))
}

func (e *edition) render(name View, p store.Product) (string, error) {
	if name == Facts {
		return factsOf(p)
	}
	v, ok := e.views[name]
	if !ok {
		return "", ErrNoView
	}
	data := fragmentData{ID: p.ID, Version: p.Version, View: name, Shop: v.locale.ShopPath()}
	if p.Available() {
		data = fragmentData{
			ID: p.ID, Version: p.Version, View: name, Shop: data.Shop, Available: true,
			SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL,
			description: p.Description, videos: e.cfg.Videos,
			Price:    v.locale.money(p.Price, p.Currency),
			Currency: p.Currency,
			Stock:    p.Stock,
			SoldOut:  p.Stock <= 0,
			Low:      p.Stock > 0 && p.Stock <= e.cfg.Low,
			URL:      v.locale.ProductPath(p.ID),
		}
		if was := p.CompareAtPrice; was != nil && was.GreaterThan(p.Price.Decimal) {
			data.CompareAt = v.locale.money(*was, p.Currency)
			data.Off = was.Sub(p.Price.Decimal).Mul(decimal.New(100, 0)).Div(was.Decimal).IntPart()
		}
	}
	var html strings.Builder
	if err := v.template.Execute(&html, data); err != nil {
		return "", fmt.Errorf("product %d: %w", p.ID, err)
	}
	return strings.TrimSpace(html.String()), nil
}
