package render

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"slices"
)

// The pages: those that the layout surrounds, and those that are whole documents.
var (
	pageNames  = []string{"shop", "product", "message"}
	wholePages = []string{"admin", "docs"}
)

// A Page is the data of a page's template.
type Page struct {
	Lang        string // one of Languages; "": the default one
	Title       string // "": as the template has it
	Description string // for search engines and previews; "": as the template has it
	Status      int    // of the HTTP response; 0: 200
	NoIndex     bool   // the page is not for search engines
	Assets      string // the path prefix of scripts and styles
	Canonical   string // the page's canonical URL, or its path if the host is not known; "" if it has none
	URL         string // the absolute canonical URL; "" if the host is not known
	Image       string // the URL of a picture for previews
	Alternates  []Alternate
	Structured  []any // JSON-LD (schema.org)
	Fragments   []template.HTML
	List        ListControls
	Data        any // specific to the page

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

// ListControls are the search, filter, sort order and page links of a list of products.
type ListControls struct {
	Query, Vendor, Sort string // of the visitor's request; "" if absent
	Searchable          int    // maximum length of a query, in characters
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

// Default returns the page in the shop's default language, for visitors who speak none of
// the shop's languages.
func (p Page) Default() Alternate {
	if len(p.Alternates) == 0 {
		return Alternate{}
	}
	return p.Alternates[0]
}

func (s *templateSet) page(w io.Writer, name string, p Page) error {
	at := slices.IndexFunc(s.languages, func(l *locale) bool { return l.Tag == p.Lang })
	l := s.languages[max(at, 0)]
	page, ok := s.pages[pageKey{name, l.Tag}]
	if !ok {
		return fmt.Errorf("no page %q", name)
	}
	p.ShopName, p.Lang, p.Shop = s.cfg.ShopName, l.Tag, l.ShopPath()
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
