package render

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"slices"
)

// The pages: those that are put into the layout, and those that are whole by
// themselves.
var (
	pageNames  = []string{"shop", "product", "message"}
	wholePages = []string{"admin", "docs"}
)

// A Page is what a page's template is given.
type Page struct {
	Lang        string // one of Languages; "": the shop's first
	Title       string // "": as the template has it
	Description string // for those who find the page; "": as the template has it
	Status      int    // of the HTTP response; 0: 200
	NoIndex     bool   // the page is not for search engines
	Assets      string // the path that scripts and styles are below
	Canonical   string // the page's one address, a path if it is not known what the host is called; "" if it has none
	URL         string // the whole of it; "" if that is not known
	Image       string // the URL of a picture of what it is about
	Alternates  []Alternate
	Structured  []any // JSON-LD (schema.org)
	Fragments   []template.HTML
	Shelf       Shelf
	Data        any // of the page alone

	// Filled in by Page.
	ShopName string
	Shop     string // the path of the shop in the page's language
}

// An Alternate is the same page in a language.
type Alternate struct {
	Language
	Path    string // of the page on this host
	URL     string // the whole of it; "" if it is not known what the host is called
	Current bool   // it is this page
}

// A Shelf is what a page that lists products says besides them.
type Shelf struct {
	Query, Vendor, Sort string // as the visitor has them; "" if he has none
	Searchable          int    // characters of a query that are looked at
	Vendors, Sorts      []Choice
	Next, Previous      string // hrefs; "" if there is none
}

// A Choice is a link to another list, or to this one.
type Choice struct {
	Name    string
	Value   string
	URL     string
	Current bool
}

// Default is the language that stands for all others: the shop's first, which
// is where a visitor is sent who speaks none of the shop's.
func (p Page) Default() Alternate {
	if len(p.Alternates) == 0 {
		return Alternate{}
	}
	return p.Alternates[0]
}

func (e *edition) page(w io.Writer, name string, p Page) error {
	at := slices.IndexFunc(e.languages, func(l *locale) bool { return l.Tag == p.Lang })
	l := e.languages[max(at, 0)]
	page, ok := e.pages[pageKey{name, l.Tag}]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	p.ShopName, p.Lang, p.Shop = e.cfg.ShopName, l.Tag, l.ShopPath()
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
