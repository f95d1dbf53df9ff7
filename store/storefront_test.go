package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

func titles(t *testing.T, db *store.DB, slots []store.StorefrontItem) (titles []string) {
	t.Helper()
	for _, s := range slots {
		p, err := db.Product(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if p.Rev != s.Rev || !p.Available() {
			t.Errorf("%v is on the shelf as %v", p, s.Rev)
		}
		titles = append(titles, p.SKU)
	}
	return titles
}

// In every order a shelf can be gone through page by page, forth and back: each
// product that shoppers may see is there once.
func TestStorefrontPagesForwardAndBackInEverySortOrder(t *testing.T) {
	db := open(t, testkit.DSN(t))
	shown := 0
	for _, p := range shelfOf(t, db) {
		if p.Available() {
			shown++
		}
	}
	for _, sort := range store.StorefrontSorts {
		whole, err := db.Storefront(t.Context(), store.StorefrontQuery{Sort: sort})
		if err != nil || len(whole) != shown || shown < 5 {
			t.Fatalf("%s: %d of %d products, %v", sort, len(whole), shown, err)
		}
		list, _, err := db.List(t.Context(), store.Filter{Published: ptr(true)}, store.Page{Sort: sort})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(whole, list, func(s store.StorefrontItem, p store.Product) bool { return s.Rev == p.Rev }) {
			t.Errorf("%s: the shelf is not in the order of the list", sort)
		}
		for _, limit := range []int{1, 3} {
			var forth, back []store.StorefrontItem
			for page := (store.StorefrontQuery{Sort: sort, Limit: limit}); ; {
				some, err := db.Storefront(t.Context(), page)
				if err != nil {
					t.Fatal(err)
				}
				if len(some) == 0 {
					break
				}
				forth = append(forth, some...)
				last := some[len(some)-1].Cursor()
				page.After = &last
			}
			last := forth[len(forth)-1]
			for page, at := (store.StorefrontQuery{Sort: sort, Limit: limit}), last.Cursor(); ; {
				page.Before = &at
				some, err := db.Storefront(t.Context(), page)
				if err != nil {
					t.Fatal(err)
				}
				if len(some) == 0 {
					break
				}
				back = append(slices.Clone(some), back...)
				at = some[0].Cursor()
			}
			if !slices.Equal(forth, whole) || !slices.Equal(append(back, last), whole) {
				t.Errorf("%s, by %d: forth %v, back %v, and not %v", sort, limit, forth, back, whole)
			}
		}
	}
}

func TestStorefrontSearch(t *testing.T) {
	db := open(t, testkit.DSN(t))
	for _, p := range [][3]string{
		{"lamp-1", "Ember Table Lamp", "Nordlicht"},
		{"mug-1", "Harbour Mug 100%", "Kiln & Co"},
		{"pot_1", `Übertopf "Größe" \ 'x'`, "Grünraum"},
		{"lamp-2", "Arc Reading Lamp", "nordlicht"},
	} {
		e := newEdit(p[0])
		e.Title, e.Vendor, e.Published = &p[1], &p[2], ptr(true)
		if _, err := db.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	hidden := newEdit("hidden")
	hidden.Title, hidden.Vendor, hidden.Published = ptr("Lamp that is not published"), ptr("Geheim"), ptr(false)
	if _, err := db.Create(t.Context(), hidden); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shelf store.StorefrontQuery
		want  string
	}{
		{store.StorefrontQuery{Text: "lamp"}, "lamp-1 lamp-2"},
		{store.StorefrontQuery{Text: "  LAMP\tnord  "}, "lamp-1 lamp-2"},
		{store.StorefrontQuery{Text: "lamp table"}, "lamp-1"},
		{store.StorefrontQuery{Text: "table mug"}, ""},
		{store.StorefrontQuery{Text: "kiln"}, "mug-1"},
		{store.StorefrontQuery{Text: "ubertopf GRUN"}, "pot_1"},
		{store.StorefrontQuery{Text: "%"}, "mug-1"},
		{store.StorefrontQuery{Text: "_"}, "pot_1"},
		{store.StorefrontQuery{Text: `\`}, "pot_1"},
		{store.StorefrontQuery{Text: `'x'`}, "pot_1"},
		{store.StorefrontQuery{Text: `!`}, ""},
		{store.StorefrontQuery{Text: `' OR 1=1 -- `}, ""},
		{store.StorefrontQuery{Text: `\' OR 1=1 #`}, ""},
		{store.StorefrontQuery{Text: "published"}, ""},
		{store.StorefrontQuery{Text: "a e t b l ember zzz"}, "lamp-1"}, // the seventh word is not looked for
		{store.StorefrontQuery{Vendor: "Nordlicht"}, "lamp-1 lamp-2"},
		{store.StorefrontQuery{Vendor: "Nordlicht", Text: "arc"}, "lamp-2"},
		{store.StorefrontQuery{Vendor: "Nord"}, ""},
		{store.StorefrontQuery{Vendor: "Geheim"}, ""},
	} {
		found, err := db.Storefront(t.Context(), c.shelf)
		if err != nil {
			t.Errorf("%+v: %v", c.shelf, err)
		} else if got := strings.Join(titles(t, db, found), " "); got != c.want {
			t.Errorf("%+v: found %q, want %q", c.shelf, got, c.want)
		}
	}
	vendors, err := db.Vendors(t.Context(), 2)
	if err != nil || len(vendors) != 2 || !strings.EqualFold(vendors[0], "Nordlicht") || vendors[1] != "Grünraum" {
		t.Errorf("the vendors are %q, %v", vendors, err)
	}
	if _, err := db.Storefront(t.Context(), store.StorefrontQuery{Sort: "stock; DROP TABLE products"}); err == nil {
		t.Error("an order that is none was taken")
	}
}

func TestIDRanges(t *testing.T) {
	db := open(t, testkit.DSN(t))
	all := shelfOf(t, db)
	want := map[int64]store.IDRange{}
	for _, p := range all {
		if p.Available() {
			s := want[(p.ID-1)/5]
			want[(p.ID-1)/5] = store.IDRange{Number: (p.ID - 1) / 5, Products: s.Products + 1, Newest: max(s.Newest, p.Version)}
		}
	}
	found, err := db.IDRanges(t.Context(), 5)
	if err != nil || len(found) != len(want) || len(want) < 2 {
		t.Fatalf("%v, %v; want %v", found, err, want)
	}
	for i, s := range found {
		if s != want[s.Number] || i > 0 && found[i-1].Number >= s.Number {
			t.Errorf("%v, want %v", found, want)
		}
	}
}

// What many products of a shelf are read with leaves out what shoppers may not
// see, and what there is not or was never published.
func TestProductsAtLeastAgreesWithProductAtLeast(t *testing.T) {
	db := open(t, testkit.DSN(t))
	wants := []store.Rev{{ID: 4711}}
	public := 0
	for _, p := range shelfOf(t, db) {
		wants = append(wants, p.Rev)
		if p.Public {
			public++
		}
	}
	found, err := db.ProductsAtLeast(t.Context(), wants)
	if err != nil || len(found) != public || public == 0 || public == len(wants)-1 {
		t.Fatalf("%d products, %d are public, %v", len(found), public, err)
	}
	for _, p := range found {
		one, err := db.ProductAtLeast(t.Context(), p.Rev)
		if err != nil || fmt.Sprint(one) != fmt.Sprint(p) {
			t.Errorf("%v: %v, and alone %v", err, p, one)
		}
		if !p.Available() && (p.Title != "" || p.SKU != "") {
			t.Errorf("what shoppers may not see: %+v", p)
		}
	}
}
