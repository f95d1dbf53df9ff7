package store_test

import (
	"fmt"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// BenchmarkFeed is what each read of the feed may ask of the database, of 100,000 products.
func BenchmarkFeed(b *testing.B) {
	db, ids := full(b, 100_000)
	for _, bench := range []struct {
		name string
		ask  func() error
	}{
		{"clock", func() error { _, err := db.Clock(b.Context()); return err }},
		{"writers", func() error { _, err := db.Writers(b.Context()); return err }},
		{"compare 1000", func() error { _, err := db.Versions(b.Context(), ids[:1000]); return err }},
		{"compare 5000", func() error { _, err := db.Versions(b.Context(), ids[:5000]); return err }},
		{"read 2000", func() error { _, err := db.ChangedWithVisibility(b.Context(), store.Rev{}, 2000); return err }},
		{"read 5000", func() error { _, err := db.ChangedWithVisibility(b.Context(), store.Rev{}, 5000); return err }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				if err := bench.ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// full returns a shop of that many products.
func full(b *testing.B, count int) (*store.DB, []int64) {
	b.Helper()
	dsn := testkit.DSN(b)
	db, plain := open(b, dsn), testkit.SQL(b, dsn)
	var rows []string
	for n := 1; n <= count; n++ {
		rows = append(rows, fmt.Sprintf("(%d, %.0f, 'sku%d', 'A product', '', '', '', 1, 'EUR', 1, 1, 1, UTC_TIMESTAMP())",
			n, 1e15+float64((n*7919)%count), n))
		if len(rows) == 5000 || n == count {
			if _, err := plain.Exec("INSERT INTO products (id, version, sku, title, description, vendor, image_url, " +
				"price, currency, stock, published, published_once, created_at) VALUES " + strings.Join(rows, ",")); err != nil {
				b.Fatal(err)
			}
			rows = nil
		}
	}
	ids := make([]int64, count)
	for n := range ids {
		ids[n] = int64((n*7919)%count) + 1
	}
	return db, ids
}
