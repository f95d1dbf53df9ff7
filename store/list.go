package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A Filter picks products. The zero value picks all that are not archived.
type Filter struct {
	SKU          string   // this SKU only; "": any
	ExternalID   string   // this external id only; "": any
	Vendor       string   // of this vendor; "": any
	Text         string   // in the title or the SKU; "": any
	Published    *bool    // nil: either
	Archived     Archival // which of them
	ChangedAfter int64    // only versions above this one
}

// Archival says whether archived products are meant.
type Archival int

// The zero value leaves them out.
const (
	WithoutArchived Archival = iota
	WithArchived
	OnlyArchived
)

// where is f in SQL.
func (f Filter) where() (sql string, args []any) {
	var terms []string
	term := func(sql string, values ...any) {
		terms = append(terms, sql)
		args = append(args, values...)
	}
	switch f.Archived {
	case WithoutArchived:
		term(`archived_at IS NULL`)
	case OnlyArchived:
		term(`archived_at IS NOT NULL`)
	}
	if f.SKU != "" {
		term(`sku = ?`, f.SKU)
	}
	if f.ExternalID != "" {
		term(`external_id = ?`, f.ExternalID)
	}
	if f.Vendor != "" {
		term(`vendor = ?`, f.Vendor)
	}
	if f.Text != "" {
		term(`(LOCATE(?, title) > 0 OR LOCATE(?, sku) > 0)`, f.Text, f.Text)
	}
	if f.Published != nil {
		term(`published = ?`, *f.Published)
	}
	if f.ChangedAfter > 0 {
		term(`version > ?`, f.ChangedAfter)
	}
	if len(terms) == 0 {
		return `TRUE`, nil
	}
	return strings.Join(terms, ` AND `), args
}

// A Sort is the order of a list. With a minus it is the other way round.
type Sort string

// Sorts are all that there are, the default first.
var Sorts = []Sort{"id", "-id", "title", "-title", "price", "-price", "stock", "-stock", "version", "-version"}

// A Page is a part of a list. The zero value is the first 50 by ascending id.
type Page struct {
	Sort  Sort
	After *Place // the place of the last product of the page before; nil: from the first
	Limit int
}

// A Place is where a product stands in a list of some order.
type Place struct {
	Key string `json:"k,omitempty"` // what the list is ordered by, as text; "" if that is the id
	ID  int64  `json:"id"`
}

// PlaceOf is that of a product in a list of that order.
func (s Sort) PlaceOf(p Product) Place {
	place := Place{ID: p.ID}
	switch strings.TrimPrefix(string(s), "-") {
	case "title":
		place.Key = p.Title
	case "price":
		place.Key = p.Price.String()
	case "stock":
		place.Key = fmt.Sprint(p.Stock)
	case "version":
		place.Key = fmt.Sprint(p.Version)
	}
	return place
}

// List has a page of the products that f picks. Products that stand alike in the
// order of the list are in that of their ids.
func (db *DB) List(ctx context.Context, f Filter, page Page) ([]Product, error) {
	sort := cmp.Or(page.Sort, "id")
	if !slices.Contains(Sorts, sort) {
		return nil, &InvalidError{[]FieldError{{"sort", fmt.Sprintf("is %q, which is no order of a list", sort)}}}
	}
	column, descending := strings.CutPrefix(string(sort), "-")
	direction, beyond := ``, `>`
	if descending {
		direction, beyond = ` DESC`, `<`
	}
	order := column + direction
	if column != "id" {
		order += `, id` + direction
	}
	where, args := f.where()
	if at := page.After; at != nil {
		terms, values := past(column, beyond, *at)
		where += ` AND ` + terms
		args = append(args, values...)
	}
	var found []Product
	err := db.read(ctx, "list", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT `+columns+`
			FROM products
			WHERE `+where+`
			ORDER BY `+order+`
			LIMIT ?`, append(args, cmp.Or(page.Limit, 50))...)
	})
	for i := range found {
		found[i].normalise()
	}
	return found, err
}
