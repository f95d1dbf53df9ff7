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

// A templateSet is all templates as they were when they were read. It is immutable.
type templateSet struct {
	cfg       Config
	files     files
	hash      string
	languages []*locale // the default one first
	names     []View    // sorted
	views     map[View]*view
	pages     map[pageKey]*template.Template
}

// A view is the template of a View.
type view struct {
	name     View
	locale   *locale
	file     string
	text     []byte
	template *template.Template
}

type pageKey struct{ name, language string }

// htmlForm is part of the hash, because another release may sanitize descriptions
// differently.
const htmlForm = "html 1"

// newTemplateSet reads all templates, and renders samples with them.
func newTemplateSet(cfg Config) (*templateSet, error) {
	s := &templateSet{cfg: cfg, files: cfg.Files, views: map[View]*view{}, pages: map[pageKey]*template.Template{}}
	tags, err := parseLocales(cfg.Locales)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n%s\n%t\n", metaFormat, cfg.Low, htmlForm, cfg.Videos)
	for i, tag := range tags {
		l, err := newLocale(tag, i == 0, s.files, sum)
		if err != nil {
			return nil, err
		}
		s.languages = append(s.languages, l)
	}
	for _, l := range s.languages {
		if err := s.parse(l, sum); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.names)
	s.hash = hex.EncodeToString(sum.Sum(nil))[:12]
	return s, s.try()
}

// variant returns the variant of a view that this set renders, and false if there is no such view.
func (s *templateSet) variant(name View) (variant, bool) {
	v, ok := s.views[name]
	if !ok {
		return variant{}, false
	}
	return variant{v.name, s.hash}, true
}

// parse reads the templates in a language.
func (s *templateSet) parse(l *locale, sum hash.Hash) error {
	common, err := s.parseParts(l, sum)
	if err != nil {
		return err
	}
	names, err := s.files.list("views", ".html")
	if err != nil {
		return err
	}
	for _, always := range []View{Card, Detail} {
		if !slices.Contains(names, string(always)) {
			names = append(names, string(always))
		}
	}
	for _, name := range names {
		v, err := s.parseView(name, l, common)
		if err != nil {
			return err
		}
		note(sum, string(v.name), v.text)
		s.views[v.name] = v
		s.names = append(s.names, v.name)
	}
	for _, name := range slices.Concat(pageNames, wholePages) {
		if s.pages[pageKey{name, l.Tag}], err = s.parsePage(name, common); err != nil {
			return err
		}
	}
	return nil
}

// parseParts reads the parts that all templates may use.
func (s *templateSet) parseParts(l *locale, sum hash.Hash) (*template.Template, error) {
	names, err := s.files.list("parts", ".html")
	if err != nil {
		return nil, err
	}
	common := template.New("parts").Funcs(template.FuncMap{"t": l.text})
	for _, name := range names {
		file := "parts/" + name + ".html"
		text, err := s.files.read(file)
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

func (s *templateSet) parseView(name string, l *locale, common *template.Template) (*view, error) {
	if !viewName.MatchString(name) {
		return nil, fmt.Errorf("views/%s.html: the name of a view is up to 32 lowercase letters, "+
			"digits and dashes, and begins with a letter", name)
	}
	v := &view{name: l.View(View(name)), locale: l}
	var err error
	if v.file, v.text, err = s.files.view(name); err != nil {
		return nil, err
	}
	if v.template, err = common.Clone(); err != nil {
		return nil, err
	}
	v.template, err = v.template.New(v.file).Parse(string(v.text))
	return v, err
}

func (s *templateSet) parsePage(name string, common *template.Template) (*template.Template, error) {
	page, err := common.Clone()
	if err != nil {
		return nil, err
	}
	names := []string{name + ".html"}
	if !slices.Contains(wholePages, name) {
		names = []string{"layout.html", name + ".html"} // a page redefines blocks of the layout
	}
	for _, file := range names {
		text, err := s.files.read(file)
		if err != nil {
			return nil, err
		}
		if _, err := page.New(file).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// fragmentData is the data of a view's template: the fields of the product, and those
// below, which hide the product's fields of the same name.
type fragmentData struct {
	store.Product
	// Those that the shop's own views show: a template finds them without a search through
	// the fields of Product, which would cost a fifth of rendering a card.
	ID, Version, Stock           int64
	SKU, Title, Vendor, ImageURL string

	View         View   // for data-view
	Shop         string // the path of the shop in the view's language
	Available    bool   // false: the rest is empty
	Price        string // formatted for the language: €19.90
	CompareAt    string // the price before a sale; "" if there is no sale
	Off          int64  // the discount of the sale in whole percent
	SoldOut, Low bool
	URL          string // of the product's own page
	videos       bool
}

// Description returns HTML. It was sanitized when it was stored, and is sanitized again
// because another program may have written the row. Views that do not show it do not pay
// for it.
func (d fragmentData) Description() template.HTML {
	return template.HTML(store.SanitizeHTML(d.Product.Description, d.videos))
}

func (s *templateSet) render(name View, p store.Product) (string, error) {
	v, ok := s.views[name]
	if !ok {
		return "", ErrNoView
	}
	data := fragmentData{
		Product: store.Product{Rev: p.Rev}, ID: p.ID, Version: p.Version, View: name, Shop: v.locale.ShopPath(),
	}
	if p.Available() {
		data = fragmentData{
			Product: p, ID: p.ID, Version: p.Version, Stock: p.Stock,
			SKU: p.SKU, Title: p.Title, Vendor: p.Vendor, ImageURL: p.ImageURL,
			View: name, Shop: data.Shop, Available: true,
			Price:   v.locale.money(p.Price, p.Currency),
			SoldOut: p.Stock <= 0,
			Low:     p.Stock > 0 && p.Stock <= s.cfg.Low,
			URL:     v.locale.ProductPath(p.ID),
			videos:  s.cfg.Videos,
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
