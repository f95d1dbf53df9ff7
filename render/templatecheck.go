package render

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"shelfcast/store"
)

// samples returns products in all states.
func (s *templateSet) samples() []store.Product {
	price, _ := store.ParsePrice("19.90")
	before, _ := store.ParsePrice("24.90")
	plain := store.Product{
		Rev: store.Rev{ID: 4711, Version: 17}, SKU: "sample-1", Title: "Sample <product>", Vendor: "Sample & Co",
		Description: "<p>A <em>sample</em>.</p>", ImageURL: "/sample.jpg", Price: price, Currency: "EUR",
		Stock: s.cfg.Low + 35, Published: true,
	}
	sale, soldOut, bare := plain, plain, plain
	sale.CompareAtPrice, soldOut.Stock = &before, 0
	bare.Vendor, bare.Description, bare.ImageURL = "", "", ""
	all := []store.Product{plain, sale, soldOut, bare, {Rev: plain.Rev}}
	for left := int64(1); left <= min(s.cfg.Low, 30); left++ { // languages count differently
		low := plain
		low.Stock = left
		all = append(all, low)
	}
	return all
}

// try renders products in all states in all views and languages, and each page. It does
// not know the data of admin pages.
func (s *templateSet) try() error {
	cards := map[string][]template.HTML{}
	for _, name := range s.names {
		v := s.views[name]
		for _, p := range s.samples() {
			text, err := s.render(v.name, p)
			if err != nil {
				return err
			}
			if err := v.check(text, p.Rev); err != nil {
				return err
			}
			cards[v.locale.Tag] = append(cards[v.locale.Tag], template.HTML(text))
		}
	}
	for _, l := range s.languages {
		controls := ListControls{Query: "a", Vendor: "b", Sort: "price", Searchable: 9, Next: "/next", Previous: "/previous"}
		controls.Vendors = []Choice{{"b", "b", "/b", true}, {"c", "c", "/c", false}}
		controls.Sorts = []Choice{{"", "", "/", false}, {"price", "price", "/p", true}}
		full := Page{Lang: l.Tag, Title: "a", Canonical: "https://shop.example/a", Image: "https://shop.example/a.jpg",
			Structured: []any{map[string]any{"@type": "Product"}}}
		full.Alternates = []Alternate{{l.Language, "/a", full.Canonical, true},
			{Language{"xx", "/xx", "X"}, "/xx", "https://shop.example/xx", false}}
		full.List, full.Fragments = controls, cards[l.Tag]
		pages := map[string][]Page{
			"shop":    {full, {Lang: l.Tag}, {Lang: l.Tag, List: ListControls{Query: "a"}}},
			"product": {full, {Lang: l.Tag, Status: 404, NoIndex: true}, {Lang: l.Tag, Status: 410, NoIndex: true}},
			"message": {{Lang: l.Tag, Status: 400}, {Lang: l.Tag, Status: 404}, {Lang: l.Tag, Status: 503},
				{Lang: l.Tag, Status: 500, NoIndex: true}},
			"admin": {{}},
		}
		for name, given := range pages {
			for _, p := range given {
				if err := s.page(io.Discard, name, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// check reports an error unless text is one element with the attributes by which pages keep
// it up to date.
func (v *view) check(text string, r store.Rev) error {
	at := fmt.Sprintf("template %s:%d", v.file, v.line())
	nodes, err := html.ParseFragment(strings.NewReader(text),
		&html.Node{Type: html.ElementNode, Data: "template", DataAtom: atom.Template})
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	nodes = slices.DeleteFunc(nodes, func(n *html.Node) bool { return n.Type == html.CommentNode })
	if len(nodes) != 1 || nodes[0].Type != html.ElementNode {
		return fmt.Errorf("%s: it must render one element, and renders %d nodes", at, len(nodes))
	}
	for _, want := range []html.Attribute{
		{Key: "data-product-id", Val: fmt.Sprint(r.ID)},
		{Key: "data-product-version", Val: fmt.Sprint(r.Version)},
		{Key: "data-view", Val: string(v.name)},
	} {
		if !slices.Contains(nodes[0].Attr, want) {
			return fmt.Errorf(`%s: its element <%s> lacks %s="%s", by which pages keep it up to date`,
				at, nodes[0].Data, want.Key, want.Val)
		}
	}
	return nil
}

// line returns the line of the template's first element.
func (v *view) line() int {
	before, _, _ := bytes.Cut(v.text, []byte("<"))
	return bytes.Count(before, []byte("\n")) + 1
}
