package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A StorefrontQuery selects a page of the products that shoppers may see. The zero value
// selects the first 50 by ascending id.
type StorefrontQuery struct {
	Text   string  // each of its first MaxSearchWords words is in the title, the vendor or the SKU; "": any
	Vendor string  // of this vendor; "": any
	Sort   Sort    // id, -id, title, price or -price
	After  *Cursor // of the last item of the previous page; nil: the first page
	Before *Cursor // of the first item of the next page, to page backwards; nil: use After
	Limit  int
}

// MaxSearchWords limits the cost of a search: each word is compared with each product.
const MaxSearchWords = 6

// StorefrontSorts are the sort orders of a StorefrontQuery, the default first.
var StorefrontSorts = []Sort{"id", "-id", "title", "price", "-price"}

// A StorefrontItem is a product of a storefront page.
type StorefrontItem struct {
	Rev
	Key string `db:"sort_key"` // of its Cursor
}

// Cursor returns the position of the item in its list.
func (s StorefrontItem) Cursor() Cursor { return Cursor{Key: s.Key, ID: s.ID} }

// Storefront returns the items that s selects, in its order; ties are in the order of ids.
func (db *DB) Storefront(ctx context.Context, s StorefrontQuery) ([]StorefrontItem, error) {
	sort := cmp.Or(s.Sort, StorefrontSorts[0])
	if !slices.Contains(StorefrontSorts, sort) {
		return nil, &InvalidError{[]FieldError{{"sort", fmt.Sprintf("%q is not a sort order of the storefront", sort)}}}
	}
	column, backwards := strings.CutPrefix(string(sort), "-")
	cursor := s.After
	if s.Before != nil {
		cursor, backwards = s.Before, !backwards
	}
	where, args := s.where()
	key := `''`
	if column != "id" {
		key = `CAST(` + column + ` AS CHAR)`
	}
	order, beyond := column, `>`
	if column != "id" {
		order += `, id`
	}
	if backwards {
		order, beyond = strings.ReplaceAll(order, `,`, ` DESC,`)+` DESC`, `<`
	}
	if cursor != nil {
		terms, values := afterCursor(column, beyond, *cursor)
		where += ` AND ` + terms
		args = append(args, values...)
	}
	var found []StorefrontItem
	err := db.read(ctx, "storefront", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT id, version, `+key+` AS sort_key
			FROM products
			WHERE `+where+`
			ORDER BY `+order+`
			LIMIT ?`, append(args, cmp.Or(s.Limit, 50))...)
	})
	if s.Before != nil {
		slices.Reverse(found)
	}
	return found, err
}

// where returns the condition of s, without its cursor.
func (s StorefrontQuery) where() (sql string, args []any) {
	terms := []string{`published AND archived_at IS NULL`}
	if s.Vendor != "" {
		terms = append(terms, `vendor = ?`)
		args = append(args, s.Vendor)
	}
	words := strings.Fields(s.Text)
	for _, word := range words[:min(len(words), MaxSearchWords)] {
		like := `%` + likeEscaper.Replace(word) + `%`
		terms = append(terms, `(title LIKE ? ESCAPE '!' OR vendor LIKE ? ESCAPE '!' OR sku LIKE ? ESCAPE '!')`)
		args = append(args, like, like, like)
	}
	return strings.Join(terms, ` AND `), args
}

// likeEscaper escapes the wildcards of LIKE. The search uses LIKE and not LOCATE, because
// LOCATE does not treat ü as u.
var likeEscaper = strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`)

// afterCursor returns the condition for rows beyond a cursor, in the order of column.
func afterCursor(column, beyond string, cursor Cursor) (sql string, args []any) {
	if column == "id" {
		return `id ` + beyond + ` ?`, []any{cursor.ID}
	}
	value := `?`
	if column != "title" {
		value = `CAST(? AS DECIMAL(20,4))` // a text would be compared as a float
	}
	return `(` + column + ` ` + beyond + ` ` + value + ` OR (` + column + ` = ` + value + ` AND id ` + beyond + ` ?))`,
		[]any{cursor.Key, cursor.Key, cursor.ID}
}

// Vendors returns up to limit vendors of products that shoppers may see, those with the most
// products first.
func (db *DB) Vendors(ctx context.Context, limit int) ([]string, error) {
	var found []struct {
		Vendor   string
		Products int64
	}
	err := db.read(ctx, "vendors", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT vendor, COUNT(*) AS products
			FROM products
			WHERE archived_at IS NULL AND published AND vendor <> ''
			GROUP BY vendor
			ORDER BY products DESC, vendor
			LIMIT ?`, limit)
	})
	vendors := make([]string, len(found))
	for i, f := range found {
		vendors[i] = f.Vendor
	}
	return vendors, err
}

// An IDRange counts the products that shoppers may see in a range of ids.
type IDRange struct {
	Number   int64 `db:"nth"` // range 0 has the ids from 1 to the length of a range
	Products int64
	Newest   int64 // the newest version among them
}

// IDRanges returns the ranges of that length that have products, by number. It reads the
// whole index.
func (db *DB) IDRanges(ctx context.Context, length int64) ([]IDRange, error) {
	var found []IDRange
	err := db.read(ctx, "id_ranges", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT (id - 1) DIV ? AS nth, COUNT(*) AS products, MAX(version) AS newest
			FROM products
			WHERE published AND archived_at IS NULL
			GROUP BY nth
			ORDER BY nth`, length)
	})
	return found, err
}
