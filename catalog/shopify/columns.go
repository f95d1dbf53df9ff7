package shopify

import (
	"strconv"
	"strings"

	"shelfcast/store"
)

// columns are those that a Writer writes, in their order. Shopify's format lacks
// Currency and External ID.
//
// To add a field that is a text, add its column here. A field that differs between the
// variants of a product also needs a rule in parser.variant.
var columns = []column{
	{"Handle", func(p store.Product) string { return escapeSKU(p.SKU) }, nil},
	text("Title",
		func(p *store.Product) string { return p.Title },
		func(e *store.Edit) **string { return &e.Title }),
	text("Body (HTML)",
		func(p *store.Product) string { return p.Description },
		func(e *store.Edit) **string { return &e.Description }),
	text("Vendor",
		func(p *store.Product) string { return p.Vendor },
		func(e *store.Edit) **string { return &e.Vendor }),
	{"Published", func(p store.Product) string { return strings.ToUpper(strconv.FormatBool(p.Published)) }, nil},
	{"Variant SKU", func(p store.Product) string { return escapeSKU(p.SKU) }, nil},
	{"Variant Inventory Qty", func(p store.Product) string { return strconv.FormatInt(p.Stock, 10) }, nil},
	{"Variant Price", func(p store.Product) string { return p.Price.String() }, nil},
	{"Variant Compare At Price", compareAt, nil},
	{"Image Src", func(p store.Product) string { return p.ImageURL }, nil},
	{"Status", status, nil},
	{"Currency", func(p store.Product) string { return p.Currency }, nil},
	text("External ID",
		func(p *store.Product) string { return p.ExternalID },
		func(e *store.Edit) **string { return &e.ExternalID }),
}

// A column of a file.
type column struct {
	name  string
	write func(store.Product) string // returns the cell
	// text returns the text of an edit that the column sets, from the first line of a
	// handle. It is nil for a column that parser reads in its own way.
	text func(*store.Edit) **string
}

// text returns the column of a text that all variants of a product share.
func text(name string, of func(*store.Product) string, in func(*store.Edit) **string) column {
	return column{name, func(p store.Product) string { return escape(of(&p)) }, in}
}

func compareAt(p store.Product) string {
	if p.CompareAtPrice == nil {
		return ""
	}
	return p.CompareAtPrice.String()
}

func status(p store.Product) string {
	if p.Archived {
		return "archived"
	}
	return "active"
}
