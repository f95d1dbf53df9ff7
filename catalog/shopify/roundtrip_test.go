package shopify_test

import (
	"encoding/json"
	"io"
	"testing"
	"time"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
	"shelfcast/testkit"
)

// exported returns the whole catalogue as a file, fetched in pages of two.
func exported(t *testing.T, db *store.DB) string {
	t.Helper()
	next := store.Page{Limit: 2}
	file, err := io.ReadAll(catalog.Export(func() ([]store.Product, error) {
		page, _, err := db.List(t.Context(), store.Filter{Archived: store.WithArchived}, next)
		if len(page) > 0 {
			next.After = &store.Cursor{ID: page[len(page)-1].ID}
		}
		return page, err
	}, shopify.NewWriter))
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

// content returns the JSON of what p has in any database.
func content(t *testing.T, p store.Product) string {
	t.Helper()
	p.Rev, p.CreatedAt, p.ArchivedAt = store.Rev{}, time.Time{}, nil
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// moves checks that the export of one database imports into an empty one, and over itself.
func moves(t *testing.T, from, to *store.DB) {
	t.Helper()
	file, before := exported(t, from), all(t, from)
	if got, outcomes := imported(t, to, file); got != (catalog.Tally{Created: len(before)}) {
		t.Errorf("into an empty database: %+v: %+v", got, outcomes)
	}
	moved := all(t, to)
	if len(moved) != len(before) || len(before) < 2 {
		t.Fatalf("%d products became %d", len(before), len(moved))
	}
	for i := range moved {
		if got, want := content(t, moved[i]), content(t, before[i]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if again := exported(t, to); again != file {
		t.Errorf("its export is %s, and was %s", again, file)
	}
	for _, db := range []*store.DB{from, to} {
		was := all(t, db)
		if got, outcomes := imported(t, db, file); got != (catalog.Tally{Unchanged: len(before)}) {
			t.Errorf("over itself: %+v: %+v", got, outcomes)
		}
		for i, p := range all(t, db) {
			if p.Rev != was[i].Rev {
				t.Errorf("%s had %v and has %v", p.SKU, was[i].Rev, p.Rev)
			}
		}
	}
}

func TestExportImportsBackToSameCatalogue(t *testing.T) {
	from, to := migrated(t, testkit.DSN(t)), migrated(t, testkit.DSN(t))
	for _, c := range []struct {
		sku, title, body, vendor, picture, price, compareAt, currency string
		stock                                                         int64
		published, archived                                           bool
	}{
		{"pot", "Clay Pot", "<p>x</p>", "Co", "https://x.example/1.jpg?a=b,c", "15.90", "20", "EUR", 3, true, false},
		{"'pot", `"Pot", blue; 'n' "new"`, "<p>a</p>\n\n<p>b, \"c\"</p>",
			"O'Neill & Söhne", "/p/1.jpg", "0", "", "USD", 0, true, false},
		{"''pot'", "'Tis", "'x", "'", "", "1.5", "0", "USD", 1, false, false},
		{"=1+2", "=SUM(A1:A9)", "=HYPERLINK(&#34;x&#34;)", "@home", "", "900", "1000", "JPY", 1_000_000_000, true, true},
		{"-5", "-5 °C", "- one\n- two", "+1", "", "1.234", "", "KWD", 2, false, true},
		{"'-x", "'=x", "''+x", "'''@x", "", "0.01", "", "CHF", 2, true, true},
		{"茶-1", "茶 🫖 für alle ＝", "＝1+2", "Žluťoučký kůň", "/ü.jpg", "99999999999.99", "", "EUR", 9, true, false},
		{"0123", "TRUE", "line one\nline \\. two", "1,5", "", "12", "", "EUR", 9, true, false},
	} {
		e := store.Edit{
			SKU: &c.sku, ExternalID: &c.sku, Title: &c.title, Description: &c.body, Vendor: &c.vendor, ImageURL: &c.picture,
			Currency: &c.currency, Stock: &c.stock, Published: &c.published, Price: parsed(t, c.price),
		}
		if c.compareAt != "" {
			e.CompareAtPrice = store.PriceChange{Set: true, To: parsed(t, c.compareAt)}
		}
		p, err := from.Create(t.Context(), e)
		if err == nil && c.archived {
			_, err = from.Archive(t.Context(), p.Rev)
		}
		if err != nil {
			t.Fatalf("%s: %v", c.sku, err)
		}
	}
	moves(t, from, to)
}

// An older export restores the older values: also an image and a price that were absent.
func TestImportOfOldExportUndoesEdits(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	imported(t, db, statuses+"pot,Pot,1,TRUE,active,EUR\nmug,Mug,1,TRUE,active,USD\n")
	file, before := exported(t, db), all(t, db)
	title, picture := "Vase", "/1.jpg"
	for _, p := range before {
		_, err := db.Update(t.Context(), p.Rev, store.Edit{Title: &title, ImageURL: &picture, Description: &title,
			Vendor: &title, CompareAtPrice: store.PriceChange{Set: true, To: parsed(t, "9")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := imported(t, db, file); got != (catalog.Tally{Changed: 2}) {
		t.Errorf("got %+v", got)
	}
	for i, p := range all(t, db) {
		if got, want := content(t, p), content(t, before[i]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func parsed(t *testing.T, s string) *store.Price {
	t.Helper()
	p, err := store.ParsePrice(s)
	if err != nil {
		t.Fatal(err)
	}
	return &p
}
