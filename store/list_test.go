package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// shelfOf makes products that share titles, prices and stocks, so that an order
// by these alone is none.
func shelfOf(t *testing.T, db *store.DB) []store.Product {
	t.Helper()
	var made []store.Product
	for n := range 12 {
		e := newEdit(fmt.Sprintf("p%02d", n))
		e.Title, e.Stock = ptr([]string{"Übertopf", "lamp", "Mug 100%", "mug_x"}[n%4]), ptr(int64(n%2))
		e.Price = price([]string{"9.50", "10", "100"}[n%3])
		e.Vendor, e.Published = ptr([]string{"Co", "Else"}[n%2]), ptr(n%3 > 0)
		p, err := db.Create(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if n%5 == 4 {
			if p, err = db.Archive(t.Context(), p.Rev); err != nil {
				t.Fatal(err)
			}
		}
		made = append(made, p)
	}
	return made
}

// In every order the pages of a list have each product once, in the order of the
// whole list, whatever the size of a page.
func TestListPagesInEverySortOrder(t *testing.T) {
	db := open(t, testkit.DSN(t))
	all := shelfOf(t, db)
	for _, sort := range store.Sorts {
		whole, _, err := db.List(t.Context(), store.Filter{Archived: store.WithArchived}, store.Page{Sort: sort})
		if err != nil || len(whole) != len(all) {
			t.Fatalf("%s: %d products, %v", sort, len(whole), err)
		}
		for _, limit := range []int{1, 3, 5} {
			var paged []int64
			page := store.Page{Sort: sort, Limit: limit}
			for {
				some, _, err := db.List(t.Context(), store.Filter{Archived: store.WithArchived}, page)
				if err != nil {
					t.Fatal(err)
				}
				if len(some) == 0 {
					break
				}
				for _, p := range some {
					paged = append(paged, p.ID)
				}
				place := sort.CursorOf(some[len(some)-1])
				page.After = &place
			}
			var want []int64
			for _, p := range whole {
				want = append(want, p.ID)
			}
			if !slices.Equal(paged, want) {
				t.Errorf("%s by %d: %v, want %v", sort, limit, paged, want)
			}
		}
		ordered := slices.IsSortedFunc(whole, func(a, b store.Product) int {
			c := 0
			switch strings.TrimPrefix(string(sort), "-") {
			case "price":
				c = a.Price.Cmp(b.Price.Decimal)
			case "stock":
				c = int(a.Stock - b.Stock)
			case "version":
				c = int(a.Version - b.Version)
			case "id":
				c = int(a.ID - b.ID)
			}
			if sort[0] == '-' {
				c = -c
			}
			return c
		})
		if !ordered {
			t.Errorf("%s: not in order", sort)
		}
	}
	byTitle, _, _ := db.List(t.Context(), store.Filter{}, store.Page{Sort: "title", Limit: 1})
	if byTitle[0].Title != "lamp" {
		t.Errorf("first by title is %q", byTitle[0].Title)
	}
	_, _, err := db.List(t.Context(), store.Filter{}, store.Page{Sort: "id; DROP TABLE products"})
	if !errors.Is(err, store.ErrInvalid) {
		t.Error(err)
	}
}

func TestListFilters(t *testing.T) {
	db := open(t, testkit.DSN(t))
	all := shelfOf(t, db)
	for name, c := range map[string]struct {
		filter store.Filter
		picks  func(store.Product) bool
	}{
		"none":     {store.Filter{}, func(p store.Product) bool { return !p.Archived }},
		"archived": {store.Filter{Archived: store.OnlyArchived}, func(p store.Product) bool { return p.Archived }},
		"with":     {store.Filter{Archived: store.WithArchived}, func(store.Product) bool { return true }},
		"sku":      {store.Filter{SKU: "p03"}, func(p store.Product) bool { return p.SKU == "p03" }},
		"vendor": {store.Filter{Vendor: "Co", Archived: store.WithArchived},
			func(p store.Product) bool { return p.Vendor == "Co" }},
		"hidden":    {store.Filter{Published: ptr(false)}, func(p store.Product) bool { return !p.Published && !p.Archived }},
		"published": {store.Filter{Published: ptr(true)}, func(p store.Product) bool { return p.Published && !p.Archived }},
		"text": {store.Filter{Text: "MUG"},
			func(p store.Product) bool { return strings.Contains(strings.ToLower(p.Title), "mug") && !p.Archived }},
		"percent": {store.Filter{Text: "0%"},
			func(p store.Product) bool { return strings.Contains(p.Title, "0%") && !p.Archived }},
		"line": {store.Filter{Text: "g_x"},
			func(p store.Product) bool { return strings.Contains(p.Title, "g_x") && !p.Archived }},
		"text, sku": {store.Filter{Text: "P0"},
			func(p store.Product) bool { return strings.HasPrefix(p.SKU, "p0") && !p.Archived }},
		"changed": {store.Filter{ChangedAfter: all[5].Version, Archived: store.WithArchived},
			func(p store.Product) bool { return p.Version > all[5].Version }},
	} {
		got, _, err := db.List(t.Context(), c.filter, store.Page{Limit: 100})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var want, have []string
		for _, p := range all {
			if c.picks(p) {
				want = append(want, p.SKU)
			}
		}
		for _, p := range got {
			have = append(have, p.SKU)
		}
		if !slices.Equal(have, want) || len(want) == 0 {
			t.Errorf("%s: %v, want %v", name, have, want)
		}
	}
}

// A page ends at the product with which its text is a mebibyte, and what comes after
// it is on the next: nothing is left out, and nothing is there twice.
func TestListPageIsLimitedInBytes(t *testing.T) {
	db := open(t, testkit.DSN(t))
	const each = 300_000 // bytes: four come to a mebibyte
	for i := range 10 {
		e := newEdit(fmt.Sprint("long-", i))
		e.Description = ptr(strings.Repeat("ä", each/2))
		if _, err := db.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	seen := map[int64]bool{}
	page := store.Page{Limit: 9}
	for more := true; more; {
		var found []store.Product
		var err error
		if found, more, err = db.List(t.Context(), store.Filter{}, page); err != nil || len(found) == 0 {
			t.Fatalf("%d products, %v", len(found), err)
		}
		for _, p := range found {
			if seen[p.ID] {
				t.Errorf("%s is there twice", p.SKU)
			}
			seen[p.ID] = true
		}
		page.After = &store.Cursor{ID: found[len(found)-1].ID}
		sizes = append(sizes, len(found))
	}
	if !slices.Equal(sizes, []int{4, 4, 2}) || len(seen) != 10 {
		t.Errorf("pages of %d, %d products", sizes, len(seen))
	}
	// Of a history too.
	p, _, err := db.List(t.Context(), store.Filter{}, store.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		e := store.Edit{Description: ptr(strings.Repeat(string(rune('à'+i)), each/2))}
		if p[0], err = db.Update(t.Context(), p[0].Rev, e); err != nil {
			t.Fatal(err)
		}
	}
	first, more, err := db.History(t.Context(), p[0].ID, 0, 10)
	if err != nil || !more || len(first) != 2 { // each has what it was and what it became
		t.Fatalf("%d entries, %v, %v", len(first), more, err)
	}
	rest, more, err := db.History(t.Context(), p[0].ID, first[1].Version, 10)
	if err != nil || more || len(rest) != 2 {
		t.Errorf("then %d entries, %v, %v", len(rest), more, err)
	}
}
