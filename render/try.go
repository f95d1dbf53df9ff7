package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"shelfcast/store"
)

// samples are the states in which a product may be.
func samples() []store.Product {
	price, _ := store.ParsePrice("19.90")
	before, _ := store.ParsePrice("24.90")
	plain := store.Product{
		Rev: store.Rev{ID: 4711, Version: 17}, SKU: "sample-1", Title: "Sample <product>", Vendor: "Sample & Co",
		Description: "<p>A <em>sample</em>.</p>", ImageURL: "/sample.jpg", Price: price, Currency: "EUR", Stock: 40, Published: true,
	}
	sale, low, soldOut, bare := plain, plain, plain, plain
	sale.CompareAtPrice, low.Stock, soldOut.Stock = &before, 1, 0
	bare.Vendor, bare.Description, bare.ImageURL = "", "", ""
	return []store.Product{plain, sale, low, soldOut, bare, {Rev: plain.Rev}}
}

// try renders products in all states.
func (e *edition) try(v *view) error {
	for _, p := range samples() {
		text, err := e.render(v.name, p)
		if err != nil {
			return err
		}
		if err := v.check(text, p.Rev); err != nil {
			return err
		}
	}
	return nil
}

// check: it is one element, and that has what pages need to keep it up to date.
func (v *view) check(text string, r store.Rev) error {
	at := fmt.Sprintf("template %s:%d", v.file, v.line())
	nodes, err := html.ParseFragment(strings.NewReader(text), &html.Node{Type: html.ElementNode, Data: "template", DataAtom: atom.Template})
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	nodes = slices.DeleteFunc(nodes, func(n *html.Node) bool { return n.Type == html.CommentNode })
	if len(nodes) != 1 || nodes[0].Type != html.ElementNode {
		return fmt.Errorf("%s: it makes not one element but %d pieces of HTML", at, len(nodes))
	}
	for _, want := range []html.Attribute{
		{Key: "data-product-id", Val: fmt.Sprint(r.ID)},
		{Key: "data-product-version", Val: fmt.Sprint(r.Version)},
		{Key: "data-view", Val: string(v.name)},
	} {
		if !slices.Contains(nodes[0].Attr, want) {
			return fmt.Errorf(`%s: its element <%s> lacks %s="%s", without which no page can be kept up to date`, at, nodes[0].Data, want.Key, want.Val)
		}
	}
	return nil
}

// line is that of the template's first element.
func (v *view) line() int {
	before, _, _ := bytes.Cut(v.text, []byte("<"))
	return bytes.Count(before, []byte("\n")) + 1
}
