package shopify

import (
	"encoding/csv"
	"io"

	"shelfcast/store"
)

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
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.write(p)
	}
	return w.csv.Write(cells)
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
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return w.csv.Write(names)
}
