package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/store/shopify"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func migrated(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(storetest.DSN(t), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

const columns = "Handle,Title,Body (HTML),Vendor,Published,Variant Inventory Qty,Variant Price,Image Src\n"

const file = columns +
	"pot,Clay Pot,<p>x<script>y</script></p>,Co,true,3,15.99,https://x.example/1.jpg\n" +
	"pot,,,,,2,9.99,\n" +
	"mug,Mug,,Co,true,1,5,\n" +
	"bad,Bad,,Co,true,1,free,\n" +
	"jar,Jar,,Co,true,1,5,ftp://x.example/1.jpg\n"

func imported(t *testing.T, db *store.DB, csv string) (tally, []int) {
	t.Helper()
	var lines []int
	got, err := importAll(t.Context(), db, strings.NewReader(csv), "EUR", func(e *shopify.LineError) { lines = append(lines, e.Line) })
	if err != nil {
		t.Fatal(err)
	}
	return got, lines
}

func TestImportTwice(t *testing.T) {
	db := migrated(t)
	if got, lines := imported(t, db, file); got != (tally{created: 2, bad: 3}) || len(lines) != 3 || lines[0] != 5 || lines[2] != 6 {
		t.Errorf("got %+v, bad lines %v", got, lines)
	}
	before, err := db.List(t.Context(), store.Filter{})
	if err != nil || len(before) != 2 || before[0].Price.String() != "9.99" || before[0].Stock != 5 || before[0].Description != "<p>x</p>" {
		t.Fatalf("%+v, %v", before, err)
	}
	if got, _ := imported(t, db, file); got != (tally{unchanged: 2, bad: 3}) {
		t.Errorf("again: %+v", got)
	}
	if got, _ := imported(t, db, strings.Replace(file, "mug,Mug", "mug,Big mug", 1)); got != (tally{changed: 1, unchanged: 1, bad: 3}) {
		t.Errorf("edited: %+v", got)
	}
	after, err := db.List(t.Context(), store.Filter{})
	if err != nil || after[0].Rev != before[0].Rev || after[1].Version <= before[1].Version || after[1].Title != "Big mug" {
		t.Errorf("%+v, %v", after, err)
	}
}

// The files that Shopify gives its partners, where they are at hand.
func TestRealCatalogues(t *testing.T) {
	files, err := filepath.Glob("../../../shared/catalog/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	db := migrated(t)
	for _, name := range files {
		csv, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, lines := imported(t, db, string(csv))
		second, _ := imported(t, db, string(csv))
		if first.created == 0 || first.bad != 0 || second != (tally{unchanged: first.created + first.unchanged + first.changed}) {
			t.Errorf("%s: %+v, then %+v, bad lines %v", name, first, second, lines)
		}
		t.Logf("%s: %+v", filepath.Base(name), first)
	}
}
