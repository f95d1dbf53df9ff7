package shopify

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"shelfcast/store"
)

// columns are those that a Writer writes. Shopify's format lacks Currency and
// External ID.
var columns = []string{
	"Handle", "Title", "Body (HTML)", "Vendor", "Published", "Variant SKU", "Variant Inventory Qty",
	"Variant Price", "Variant Compare At Price", "Image Src", "Status", "Currency", "External ID",
}

// A Writer writes a product CSV of Shopify. Each product is one line, whose handle is
// its SKU. Read returns the same products, field by field, except for what the store
// does not keep either: space around a text, and \r\n for the end of a line.
//
// A text that a spreadsheet would run as a formula gets an apostrophe in front, and so
// does a SKU that starts with an apostrophe. Read removes it; other programs may take
// it for text.
type Writer struct {
	csv           *csv.Writer
	headerWritten bool
}

// NewWriter returns a Writer to w. Call Flush at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{csv: csv.NewWriter(w)} }

// Write writes one product, perhaps only into a buffer.
func (w *Writer) Write(p store.Product) error {
	if err := w.writeHeader(); err != nil {
		return err
	}
	status, compareAt := "active", ""
	if p.Archived {
		status = "archived"
	}
	if p.CompareAtPrice != nil {
		compareAt = p.CompareAtPrice.String()
	}
	sku := escapeSKU(p.SKU)
	return w.csv.Write([]string{
		sku, escape(p.Title), escape(p.Description), escape(p.Vendor), strings.ToUpper(strconv.FormatBool(p.Published)),
		sku, strconv.FormatInt(p.Stock, 10), p.Price.String(), compareAt,
		p.ImageURL, status, p.Currency, escape(p.ExternalID),
	})
}

// Flush writes what is buffered. A file without products has a header.
func (w *Writer) Flush() error {
	if err := w.writeHeader(); err != nil {
		return err
	}
	w.csv.Flush()
	return w.csv.Error()
}

func (w *Writer) writeHeader() error {
	if w.headerWritten {
		return nil
	}
	w.headerWritten = true
	return w.csv.Write(columns)
}
