package shopify

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"shelfcast/store"
)

// columns of what a Writer writes. Currency and External ID are our own: Shopify's
// format has no such columns.
var columns = []string{
	"Handle", "Title", "Body (HTML)", "Vendor", "Published", "Variant SKU", "Variant Inventory Qty",
	"Variant Price", "Variant Compare At Price", "Image Src", "Status", "Currency", "External ID",
}

// A Writer writes a product CSV of Shopify, in which a product is one line with
// its SKU as the handle too. Read yields from it what was written, field by
// field, but for what the store does not keep either: space around a text, and
// \r\n for the end of a line.
//
// A text that a spreadsheet would run as a formula has an apostrophe in front,
// and so has a SKU with an apostrophe of its own. Read takes it away; others may
// take it for text.
type Writer struct {
	lines *csv.Writer
	begun bool // the header is written
}

// NewWriter makes a Writer, whose Flush has to be called in the end.
func NewWriter(w io.Writer) *Writer { return &Writer{lines: csv.NewWriter(w)} }

// Write writes one product, perhaps into a buffer only.
func (w *Writer) Write(p store.Product) error {
	if err := w.begin(); err != nil {
		return err
	}
	status, compareAt := "active", ""
	if p.Archived {
		status = "archived"
	}
	if p.CompareAtPrice != nil {
		compareAt = p.CompareAtPrice.String()
	}
	sku := safeSKU(p.SKU)
	return w.lines.Write([]string{
		sku, safe(p.Title), safe(p.Description), safe(p.Vendor), strings.ToUpper(strconv.FormatBool(p.Published)),
		sku, strconv.FormatInt(p.Stock, 10), p.Price.String(), compareAt, p.ImageURL, status, p.Currency, safe(p.ExternalID),
	})
}

// Flush writes what is in the buffer. A file of no products is a header.
func (w *Writer) Flush() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.lines.Flush()
	return w.lines.Error()
}

func (w *Writer) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	return w.lines.Write(columns)
}

// Export reads as a product CSV of the products that next has, page by page:
// next is called when what it had before is read, and has none in the end. Its
// error is the reader's, after the pages before it, so that half a file never
// looks like a whole one. To be imported back to the same catalogue it takes the
// archived products too.
func Export(next func() ([]store.Product, error)) io.Reader {
	e := &export{next: next}
	e.lines = NewWriter(&e.page)
	return e
}

type export struct {
	next  func() ([]store.Product, error)
	lines *Writer // into page
	page  bytes.Buffer
	err   error // there are no more pages; io.EOF when that is as it should be
}

func (e *export) Read(p []byte) (int, error) {
	for e.page.Len() == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.err = e.turn()
	}
	return e.page.Read(p)
}

// turn writes the next page.
func (e *export) turn() error {
	products, err := e.next()
	if err != nil {
		return fmt.Errorf("export: %w", err) // an io.EOF is no end here
	}
	for _, p := range products {
		if err := e.lines.Write(p); err != nil {
			return err
		}
	}
	if err := e.lines.Flush(); err != nil {
		return err
	}
	if len(products) == 0 {
		return io.EOF
	}
	return nil
}
