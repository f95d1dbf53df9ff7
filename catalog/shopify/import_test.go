package shopify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
	"shelfcast/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func migrated(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(dsn, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func imported(t *testing.T, db *store.DB, csv string) (catalog.Tally, []catalog.Outcome) {
	t.Helper()
	var outcomes []catalog.Outcome
	note := func(o catalog.Outcome) { outcomes = append(outcomes, o) }
	got, err := catalog.Import(t.Context(), db, shopify.Read(strings.NewReader(csv), "EUR"), note)
	if err != nil {
		t.Fatal(err)
	}
	return got, outcomes
}

func all(t *testing.T, db *store.DB) []store.Product {
	t.Helper()
	products, _, err := db.List(t.Context(), store.Filter{Archived: store.WithArchived}, store.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return products
}

const file = columns +
	"pot,Clay Pot,<p>x<script>y</script></p>,Co,true,,3,15.99,,https://x.example/1.jpg\n" +
	"pot,,,,,,2,9.99,,\n" +
	"mug,Mug,,Co,true,,1,5,,\n" +
	"bad,Bad,,Co,true,,1,free,,\n" +
	"jar,Jar,,Co,true,'J-1,1,5,,ftp://x.example/1.jpg\n"

func TestImportOfSameFileChangesNothing(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	got, outcomes := imported(t, db, file)
	if got != (catalog.Tally{Created: 2, Failed: 3, Cleaned: 1}) {
		t.Errorf("got %+v", got)
	}
	before := all(t, db)
	if len(before) != 2 || before[0].Price.String() != "9.99" ||
		before[0].Stock != 5 || before[0].Description != "<p>x</p>" {
		t.Fatalf("got %+v", before)
	}
	for i, want := range []catalog.Outcome{
		{Line: 2, SKU: "pot", Result: catalog.Created, Rev: before[0].Rev, Removed: "<script>"},
		{Line: 4, SKU: "mug", Result: catalog.Created, Rev: before[1].Rev},
		{Line: 5, SKU: "bad", Result: catalog.Failed, Error: `Variant Price "free" is not a number`},
		{Line: 5, SKU: "bad", Result: catalog.Failed, Error: "the product has no variant with a price"},
		{Line: 6, SKU: "J-1", Result: catalog.Failed,
			Error: "invalid input: image_url is neither an http(s) URL nor a path that starts with /"},
	} {
		if len(outcomes) != 5 || outcomes[i] != want {
			t.Fatalf("outcome %d of %+v, want %+v", i, outcomes, want)
		}
	}
	if got, _ := imported(t, db, file); got != (catalog.Tally{Unchanged: 2, Failed: 3, Cleaned: 1}) {
		t.Errorf("again: %+v", got)
	}
	edited := strings.Replace(file, "mug,Mug", "mug,Big mug", 1)
	if got, _ := imported(t, db, edited); got != (catalog.Tally{Changed: 1, Unchanged: 1, Failed: 3, Cleaned: 1}) {
		t.Errorf("edited: %+v", got)
	}
	after := all(t, db)
	if after[0].Rev != before[0].Rev || after[1].Version <= before[1].Version || after[1].Title != "Big mug" {
		t.Errorf("got %+v", after)
	}
}

func TestOutcomeJSON(t *testing.T) {
	for want, o := range map[string]catalog.Outcome{
		`{"line":2,"sku":"pot","result":"created","id":7,"version":9}`: {
			Line: 2, SKU: "pot", Result: catalog.Created, Rev: store.Rev{ID: 7, Version: 9}},
		`{"line":3,"result":"failed","error":"it has no Handle"}`: {
			Line: 3, Result: catalog.Failed, Error: "it has no Handle"},
	} {
		got, err := json.Marshal(o)
		var back catalog.Outcome
		if err != nil || string(got) != want || json.Unmarshal(got, &back) != nil || back != o {
			t.Errorf("got %s, %v, back %+v, want %s", got, err, back, want)
		}
	}
}

const statuses = "Handle,Title,Variant Price,Published,Status,Currency\n"

// An archived product accepts no edits, but a file that changes nothing is no edit.
func TestImportOfArchivedProducts(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	for _, step := range []struct {
		says, pot, mug string
		want           catalog.Tally
	}{
		{"they are made", "Pot,1,TRUE,archived,EUR", "Mug,2,TRUE,active,USD", catalog.Tally{Created: 2}},
		{"and are so", "Pot,1.00,TRUE,archived,EUR", "Mug,2,TRUE,active,USD", catalog.Tally{Unchanged: 2}},
		{"another title is an edit", "Vase,1,TRUE,archived,EUR", "Mug,2,TRUE,active,USD",
			catalog.Tally{Unchanged: 1, Failed: 1}},
		{"another price is", "Pot,3,TRUE,archived,EUR", "Mug,2,TRUE,active,USD", catalog.Tally{Unchanged: 1, Failed: 1}},
		{"another currency is", "Pot,1,TRUE,archived,USD", "Mug,2,TRUE,active,USD", catalog.Tally{Unchanged: 1, Failed: 1}},
		{"published is", "Pot,1,FALSE,archived,EUR", "Mug,2,TRUE,active,USD", catalog.Tally{Unchanged: 1, Failed: 1}},
		{"nothing brings one back", "Pot,1,TRUE,active,EUR", "Mug,2,TRUE,active,USD", catalog.Tally{Unchanged: 1, Failed: 1}},
		{"a bad edit archives nothing", "Pot,1,TRUE,archived,EUR", "Mug,2,TRUE,archived,XXY",
			catalog.Tally{Unchanged: 1, Failed: 1}},
		{"one is edited and archived", "Pot,1,TRUE,archived,EUR", "Big mug,3,FALSE,archived,USD",
			catalog.Tally{Unchanged: 1, Changed: 1}},
		{"and is so", "Pot,1,TRUE,archived,EUR", "Big mug,3,FALSE,archived,USD", catalog.Tally{Unchanged: 2}},
	} {
		got, outcomes := imported(t, db, statuses+"pot,"+step.pot+"\nmug,"+step.mug+"\n")
		products := all(t, db)
		if got != step.want || len(outcomes) != len(products) {
			t.Fatalf("%s: %+v, want %+v: %+v", step.says, got, step.want, outcomes)
		}
		for i, p := range products {
			if o := outcomes[i]; o.Result != catalog.Failed && o.Rev != p.Rev {
				t.Errorf("%s: %v came out as %v", step.says, p.Rev, o.Rev)
			}
		}
	}
	products := all(t, db)
	pot, mug := products[0], products[1]
	if !pot.Archived || pot.Title != "Pot" || !pot.Published || !mug.Archived || mug.Title != "Big mug" || mug.Published {
		t.Errorf("got %+v", products)
	}
}

// Two imports of the same file create each product once, and neither fails.
func TestConcurrentImportsCreateEachProductOnce(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	const products = 40
	csv := statuses
	for n := range products {
		csv += fmt.Sprintf("p%d,P,%d,TRUE,%s,EUR\n", n, n, []string{"active", "archived"}[n%2])
	}
	var tallies [2]catalog.Tally
	var both sync.WaitGroup
	for i := range tallies {
		both.Go(func() {
			var err error
			file := shopify.Read(strings.NewReader(csv), "EUR")
			tallies[i], err = catalog.Import(t.Context(), db, file, func(o catalog.Outcome) {
				if o.Result == catalog.Failed {
					t.Errorf("%+v", o)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if made := tallies[0].Created + tallies[1].Created; made != products {
		t.Errorf("%d were made: %+v", made, tallies)
	}
	for _, p := range all(t, db) {
		if odd := (p.SKU[len(p.SKU)-1]-'0')%2 == 1; p.Archived != odd {
			t.Errorf("%s: archived %t", p.SKU, p.Archived)
		}
	}
}

// What was imported before the database failed stays, and is in the Tally.
func TestImportStopsWhenDatabaseFails(t *testing.T) {
	server := testkit.StartMySQL(t)
	db := migrated(t, server.Database(t))
	csv := statuses + "pot,Pot,1,TRUE,active,EUR\n,,1,,,\nmug,Mug,1,TRUE,active,EUR\njar,Jar,1,TRUE,active,EUR\n"
	got, err := catalog.Import(t.Context(), db, shopify.Read(strings.NewReader(csv), "EUR"), func(o catalog.Outcome) {
		if o.Result == catalog.Created {
			server.Kill()
		}
	})
	if !errors.Is(err, store.ErrUnavailable) || got != (catalog.Tally{Created: 1, Failed: 1}) {
		t.Errorf("got %+v, %v", got, err)
	}
	server.Start()
	if got, _ := imported(t, db, csv); got != (catalog.Tally{Created: 2, Unchanged: 1, Failed: 1}) {
		t.Errorf("then %+v", got)
	}
}

// A file that breaks off imports no incomplete product.
func TestImportStopsWhenCanceledOrFileBreaksOff(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	ctx, cancel := context.WithCancel(t.Context())
	got, err := catalog.Import(ctx, db, shopify.Read(strings.NewReader(file), "EUR"), func(catalog.Outcome) { cancel() })
	if !errors.Is(err, context.Canceled) || got != (catalog.Tally{Created: 1, Cleaned: 1}) {
		t.Errorf("cancelled: %+v, %v", got, err)
	}
	gone := errors.New("gone")
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, columns+"pot,Clay Pot,,Co,true,,3,15.99,,\nmug,Mug,,Co,true,,3,15.99,,\n")
		w.CloseWithError(gone)
	}()
	got, err = catalog.Import(t.Context(), db, shopify.Read(r, "EUR"), func(catalog.Outcome) {})
	if !errors.Is(err, gone) || got != (catalog.Tally{Changed: 1}) || len(all(t, db)) != 1 {
		t.Errorf("broken off: %+v, %v", got, err)
	}
}

// A lines reader generates one product a line, as it is read.
type lines struct {
	left string
	made int
	of   int
}

func (l *lines) Read(p []byte) (int, error) {
	if l.left == "" {
		if l.made == l.of {
			return 0, io.EOF
		}
		l.made++
		l.left = fmt.Sprintf("p%d,%s,1,TRUE,active,EUR\n", l.made, strings.Repeat("x", 200))
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}

func TestImportReadsFileAsItImports(t *testing.T) {
	db := migrated(t, testkit.DSN(t))
	file, done := &lines{of: 200}, 0
	products := shopify.Read(io.MultiReader(strings.NewReader(statuses), file), "EUR")
	got, err := catalog.Import(t.Context(), db, products, func(catalog.Outcome) {
		done++
		if ahead := file.made - done; ahead > 4096/200+1 { // a buffer, and the line that ends the product
			t.Errorf("%d products were read ahead of number %d", ahead, done)
		}
	})
	if err != nil || got.Created != 200 || done != 200 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The sample catalogues that Shopify gives its partners, if they are on this machine.
func TestImportOfShopifySampleCatalogues(t *testing.T) {
	files, err := filepath.Glob("../../../shared/catalog/*.csv")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the sample catalogues are not on this machine")
	}
	db, second := migrated(t, testkit.DSN(t)), migrated(t, testkit.DSN(t))
	for _, name := range files {
		csv, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, outcomes := imported(t, db, string(csv))
		again, _ := imported(t, db, string(csv))
		if first.Created == 0 || first.Failed != 0 ||
			again != (catalog.Tally{Unchanged: first.Created + first.Unchanged + first.Changed}) {
			t.Errorf("%s: %+v, then %+v: %+v", name, first, again, outcomes)
		}
		t.Logf("%s: %+v", filepath.Base(name), first)
	}
	moves(t, db, second)
}
