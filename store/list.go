package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// A Filter selects products. The zero value selects all that are not archived.
type Filter struct {
	SKU          string         // this SKU only; "": any
	ExternalID   string         // this external id only; "": any
	Vendor       string         // of this vendor; "": any
	Text         string         // in the title or the SKU; "": any
	Published    *bool          // nil: either
	Archived     ArchivedFilter // which of them
	ChangedAfter int64          // only versions above this one
}

// An ArchivedFilter selects by whether products are archived.
type ArchivedFilter int

// The zero value leaves them out.
const (
	WithoutArchived ArchivedFilter = iota
	WithArchived
	OnlyArchived
)

// where returns the condition of f.
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

// A Sort is the order of a list: a column, with a minus in front if descending.
type Sort string

// Sorts are all sort orders, the default first.
var Sorts = []Sort{"id", "-id", "title", "-title", "price", "-price", "stock", "-stock", "version", "-version"}

// A Page selects a part of a list. The zero value selects the first 50 by ascending id.
type Page struct {
	Sort  Sort
	After *Cursor // of the last product of the previous page; nil: the first page
	Limit int
}

// A Cursor is the position of a product in a sorted list.
type Cursor struct {
	Key string `json:"k,omitempty"` // the value of the sort column, as text; "" if that is the id
	ID  int64  `json:"id"`
}

// CursorOf returns the cursor of p in a list of this order.
func (s Sort) CursorOf(p Product) Cursor {
	cursor := Cursor{ID: p.ID}
	switch strings.TrimPrefix(string(s), "-") {
	case "title":
		cursor.Key = p.Title
	case "price":
		cursor.Key = p.Price.String()
	case "stock":
		cursor.Key = fmt.Sprint(p.Stock)
	case "version":
		cursor.Key = fmt.Sprint(p.Version)
	}
	return cursor
}

// List returns a page of the products that f selects, and reports whether there are more.
// Ties are in the order of ids. A page ends early when its texts reach 1 MiB.
func (db *DB) List(ctx context.Context, f Filter, page Page) (found []Product, more bool, err error) {
	sort := cmp.Or(page.Sort, "id")
	if !slices.Contains(Sorts, sort) {
		return nil, false, &InvalidError{[]FieldError{{"sort", fmt.Sprintf("%q is not a sort order", sort)}}}
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
		terms, values := afterCursor(column, beyond, *at)
		where += ` AND ` + terms
		args = append(args, values...)
	}
	err = db.read(ctx, "list", func(ctx context.Context) (err error) {
		found, more, err = readPage(ctx, db.db, cmp.Or(page.Limit, 50), func(p Product) int { return len(p.Description) }, `
			SELECT `+columns+`
			FROM products
			WHERE `+where+`
			ORDER BY `+order, args...)
		return err
	})
	for i := range found {
		found[i].normalise()
	}
	return found, more, err
}

// pageBytes limits the text of a page, of which memory holds several copies until it is
// sent: a description may have 800 kB.
const pageBytes = 1 << 20

// readPage reads the rows of a query without LIMIT, until it has limit rows or their sizes
// reach pageBytes. It reports whether there are more.
func readPage[T any](
	ctx context.Context, db *sqlx.DB, limit int, size func(T) int, query string, args ...any,
) (found []T, more bool, err error) {
	rows, err := db.QueryxContext(ctx, query+` LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for bytes := 0; rows.Next(); {
		if len(found) == limit || bytes >= pageBytes {
			return found, true, nil
		}
		var row T
		if err := rows.StructScan(&row); err != nil {
			return nil, false, err
		}
		bytes += size(row)
		found = append(found, row)
	}
	return found, false, rows.Err()
}
