package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A Shelf picks some of the products that shoppers may see. The zero value is
// the first 50 by ascending id.
type Shelf struct {
	Text   string // each of its words is in the title, the vendor or the SKU; "": any. The first MaxWords are looked for
	Vendor string // of this vendor; "": any
	Sort   Sort   // id, -id, title, price or -price
	After  *Place // of the last product of the page before; nil: from the first
	Before *Place // of the first product of the page after, if the page before that is wanted
	Limit  int
}

// MaxWords bounds what a search costs: each word is looked for in each product.
const MaxWords = 6

// ShelfSorts are the orders of a Shelf, the default first.
var ShelfSorts = []Sort{"id", "-id", "title", "price", "-price"}

// A Slot is a product on a shelf, and where it stands there.
type Slot struct {
	Rev
	Key string `db:"place"` // of its Place
}

// Place is where it stands.
func (s Slot) Place() Place { return Place{Key: s.Key, ID: s.ID} }

// Shelf has the products that s picks, in its order. Those that stand alike in
// that are in the order of their ids.
func (db *DB) Shelf(ctx context.Context, s Shelf) ([]Slot, error) {
	sort := cmp.Or(s.Sort, ShelfSorts[0])
	if !slices.Contains(ShelfSorts, sort) {
		return nil, &InvalidError{[]FieldError{{"sort", fmt.Sprintf("is %q, which is no order of a shelf", sort)}}}
	}
	column, backwards := strings.CutPrefix(string(sort), "-")
	at := s.After
	if s.Before != nil {
		at, backwards = s.Before, !backwards
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
	if at != nil {
		terms, values := past(column, beyond, *at)
		where += ` AND ` + terms
		args = append(args, values...)
	}
	var found []Slot
	err := db.read(ctx, "shelf", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT id, version, `+key+` AS place
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

// where is s in SQL, but for its place.
func (s Shelf) where() (sql string, args []any) {
	terms := []string{`published AND archived_at IS NULL`}
	if s.Vendor != "" {
		terms = append(terms, `vendor = ?`)
		args = append(args, s.Vendor)
	}
	words := strings.Fields(s.Text)
	for _, word := range words[:min(len(words), MaxWords)] {
		like := `%` + wild.Replace(word) + `%`
		terms = append(terms, `(title LIKE ? ESCAPE '!' OR vendor LIKE ? ESCAPE '!' OR sku LIKE ? ESCAPE '!')`)
		args = append(args, like, like, like)
	}
	return strings.Join(terms, ` AND `), args
}

// wild keeps LIKE from taking what people write for more than that. LIKE and not
// LOCATE, for which an ü is no u.
var wild = strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`)

// past is what is beyond a place in the order of that column, in SQL.
func past(column, beyond string, at Place) (sql string, args []any) {
	if column == "id" {
		return `id ` + beyond + ` ?`, []any{at.ID}
	}
	value := `?`
	if column != "title" {
		value = `CAST(? AS DECIMAL(20,4))` // text would be compared as a float
	}
	return `(` + column + ` ` + beyond + ` ` + value + ` OR (` + column + ` = ` + value + ` AND id ` + beyond + ` ?))`,
		[]any{at.Key, at.Key, at.ID}
}

// Vendors has the vendors of the products that shoppers may see, those with the
// most products first, at most limit.
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

// A Stretch is the products with ids from one up to another that shoppers may
// see.
type Stretch struct {
	Number   int64 `db:"nth"` // 0 has the ids from 1 to the length of each stretch, and so on
	Products int64
	Newest   int64 // the newest version among them
}

// Stretches has those of that length that are not empty, by their numbers. It
// looks at each product.
func (db *DB) Stretches(ctx context.Context, length int64) ([]Stretch, error) {
	var found []Stretch
	err := db.read(ctx, "stretches", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT (id - 1) DIV ? AS nth, COUNT(*) AS products, MAX(version) AS newest
			FROM products
			WHERE published AND archived_at IS NULL
			GROUP BY nth
			ORDER BY nth`, length)
	})
	return found, err
}
