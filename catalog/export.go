package catalog

import (
	"bytes"
	"fmt"
	"io"

	"shelfcast/store"
)

// A Writer writes products in one format.
type Writer interface {
	// Write writes one product, perhaps only into a buffer.
	Write(store.Product) error
	// Flush writes what is buffered, and what a file without products has.
	Flush() error
}

// Export returns a reader of a file with the products that next returns, page by page.
// The file is made while it is read: next is called when the page before has been read,
// and returns no products at the end. If next fails, Read returns its error after the
// pages before it, so that half a file never looks complete. format makes the Writer
// of the file.
func Export[W Writer](next func() ([]store.Product, error), format func(io.Writer) W) io.Reader {
	e := &export{next: next}
	e.writer = format(&e.page)
	return e
}

type export struct {
	next   func() ([]store.Product, error)
	writer Writer // into page
	page   bytes.Buffer
	err    error // why there are no more pages; io.EOF at the regular end
}

func (e *export) Read(p []byte) (int, error) {
	for e.page.Len() == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.err = e.writePage()
	}
	return e.page.Read(p)
}

// writePage writes the next page into e.page.
func (e *export) writePage() error {
	products, err := e.next()
	if err != nil {
		return fmt.Errorf("export: %w", err) // wrapped, so that an io.EOF of next does not end the file
	}
	for _, p := range products {
		if err := e.writer.Write(p); err != nil {
			return err
		}
	}
	if err := e.writer.Flush(); err != nil {
		return err
	}
	if len(products) == 0 {
		return io.EOF
	}
	return nil
}
