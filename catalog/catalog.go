// Package catalog imports and exports whole catalogues. The packages below it have
// one file format each: shopify is one. A format
// turns a file into a sequence of Items for Import, and has a Writer for Export.
package catalog

import (
	"fmt"

	"shelfcast/store"
)

// An Item is one product of a file.
type Item struct {
	Line     int // the first line of the product
	Edit     store.Edit
	Archived bool // the product is to be archived
}

// A LineError is the error of a line that was left out. The lines after it are read.
type LineError struct {
	Line int
	SKU  string // of the line's product; "" if it is not known
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }
