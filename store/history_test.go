package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// said is a history as lines, newest first.
func said(t *testing.T, db *store.DB, id int64) []string {
	t.Helper()
	entries, _, err := db.History(t.Context(), id, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(entries))
	for i, e := range entries {
		lines[i] = fmt.Sprintf("%s %s:", e.Author, e.Action)
		if e.Action == store.Created {
			continue
		}
		for _, c := range e.Changes {
			lines[i] += fmt.Sprintf(" %s %s→%s", c.Field, c.From, c.To)
		}
	}
	return lines
}

func TestHistoryRecordsAuthorAndChanges(t *testing.T) {
	db := open(t, testkit.DSN(t))
	erp := store.WithAuthor(t.Context(), store.Author{Key: "token:erp", Name: "erp"})
	anna := store.WithAuthor(t.Context(), store.Author{Key: "token:anna", Name: "anna"})
	lamp, err := db.Create(erp, newEdit("lamp"))
	if err != nil {
		t.Fatal(err)
	}
	mug := create(t, db, "mug") // by nobody who said so
	step := func(p store.Product, err error) store.Product {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	was := lamp
	lamp = step(db.Update(anna, lamp.Rev, store.Edit{Price: price("17.5"), Title: ptr("A lamp")}))
	lamp = step(db.Update(anna, lamp.Rev, store.Edit{Price: price("17.50")})) // nothing
	lamp = step(db.Archive(erp, lamp.Rev))
	lamp = step(db.Restore(erp, lamp.Rev))
	lamp = step(db.Replace(anna, lamp.Rev,
		store.Edit{SKU: ptr("lamp"), Title: ptr("A lamp"), Price: price("17.50"), Currency: ptr("EUR")}))
	if lamp.Stock != 0 || lamp.Published || lamp.ArchivedAt != nil {
		t.Errorf("replaced: %+v", lamp)
	}
	made, missing, err := db.Refresh(erp, []int64{lamp.ID, lamp.ID, 999})
	if err != nil || len(made) != 1 || made[0].Version <= lamp.Version || !slices.Equal(missing, []int64{999}) {
		t.Errorf("refreshed: %v, %v, %v", made, missing, err)
	}
	want := []string{
		"erp refresh:",
		"anna edit: stock 7→0 published true→false",
		"erp restore: archived true→false",
		"erp archive: archived false→true",
		`anna edit: title "The lamp"→"A lamp" price "19.90"→"17.50"`,
		"erp create:",
	}
	if got := said(t, db, lamp.ID); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := said(t, db, mug.ID); !slices.Equal(got, []string{" create:"}) {
		t.Errorf("the other: %v", got)
	}
	first, _, err := db.History(t.Context(), lamp.ID, lamp.Version, 2) // page by page
	if err != nil || len(first) != 2 || first[0].Action != store.Restored ||
		first[0].Version >= lamp.Version || first[1].Version <= was.Version {
		t.Errorf("%+v, %v", first, err)
	}
	if _, _, err := db.History(t.Context(), 999, 0, 1); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// An edit that fails has no entry, and one that is made has one: they are one
// transaction.
func TestFailedEditHasNoHistory(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	if _, err := db.Update(ctx, lamp.Rev, store.Edit{SKU: ptr("mug")}); !errors.Is(err, store.ErrDuplicateSKU) {
		t.Fatal(err)
	}
	if _, err := db.Update(ctx, store.Rev{ID: lamp.ID, Version: 1},
		store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	for _, p := range []store.Product{lamp, mug} {
		if got := said(t, db, p.ID); len(got) != 1 {
			t.Errorf("%s: %v", p.SKU, got)
		}
	}
}

// 200 conditional edits of one product on two instances, all at once and again
// and again: for each version exactly one wins, and the history has them all.
func TestOneConcurrentEditWinsPerVersion(t *testing.T) {
	dsn := testkit.DSN(t)
	instances := []*store.DB{open(t, dsn), open(t, dsn)}
	lamp, mug := create(t, instances[0], "lamp"), create(t, instances[1], "mug")
	var mu sync.Mutex
	won := map[int64]int{} // by the version seen
	var all sync.WaitGroup
	for n := range 20 {
		db := instances[n%2]
		all.Go(func() {
			for i := range 10 {
				seen, err := db.Product(t.Context(), lamp.ID)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = db.Update(t.Context(), seen.Rev, store.Edit{Stock: ptr(int64(1000 + 10*n + i))})
				switch {
				case err == nil:
					mu.Lock()
					won[seen.Version]++
					mu.Unlock()
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for version, n := range won {
		if n != 1 {
			t.Errorf("%d edits of version %d were taken", n, version)
		}
	}
	if got := said(t, instances[1], lamp.ID); len(got) != len(won)+1 {
		t.Errorf("%d entries, %d edits", len(got), len(won))
	}
	if got, err := instances[0].Product(t.Context(), mug.ID); err != nil || got.Rev != mug.Rev {
		t.Errorf("the other: %v, %v", got.Rev, err)
	}
	t.Logf("of 200 edits %d were taken", len(won))
}

func TestMergePatch(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	e := newEdit("lamp")
	e.Description, e.Vendor, e.ImageURL = ptr("<p>Warm</p>"), ptr("Co"), ptr("/a.jpg")
	e.CompareAtPrice = store.PriceChange{Set: true, To: price("25")}
	lamp, err := db.Create(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	var patch store.Edit
	err = patch.UnmarshalJSON([]byte(`{"description":null,"vendor":" B ","compare_at_price":null,"stock":3}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := db.Update(ctx, lamp.Rev, patch)
	if err != nil || got.Description != "" || got.Vendor != "B" || got.ImageURL != "/a.jpg" ||
		got.CompareAtPrice != nil || got.Stock != 3 || got.Title != lamp.Title {
		t.Errorf("%+v, %v", got, err)
	}
	if err := patch.UnmarshalJSON([]byte(`{"vendor":7}`)); err == nil {
		t.Error("a number was taken for a vendor")
	}
}

// Others may be called the same as an author, and nobody is the same: the history and
// the list of tokens say who it was.
func TestHistoryDistinguishesAuthorsOfSameName(t *testing.T) {
	db := open(t, testkit.DSN(t))
	root := store.WithAuthor(t.Context(), store.Author{Key: "root", Name: "admin token"})
	eve := store.WithAuthor(t.Context(),
		store.Author{Key: "jwt:0123456789abcdef:" + strings.Repeat("É", 255), Name: "admin token"})
	lamp, err := db.Create(root, newEdit("lamp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Update(eve, lamp.Rev, store.Edit{Stock: ptr(int64(1))}); err != nil {
		t.Fatal(err)
	}
	entries, _, err := db.History(t.Context(), lamp.ID, 0, 10)
	if err != nil || len(entries) != 2 || entries[0].Author != "admin token" || entries[1].Author != "admin token" ||
		!strings.HasPrefix(entries[0].AuthorKey, "jwt:0123456789abcdef:ÉÉ") || entries[1].AuthorKey != "root" {
		t.Errorf("%+v, %v", entries, err)
	}
	for _, by := range []context.Context{root, eve} {
		if _, _, err := db.CreateToken(by, "erp", []string{store.ReadProducts}, 0); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := db.Tokens(t.Context())
	if err != nil || len(tokens) != 2 ||
		!strings.HasPrefix(tokens[0].CreatorKey, "jwt:") || tokens[1].CreatorKey != "root" {
		t.Errorf("%+v, %v", tokens, err)
	}
	for _, name := range []string{"erp\u202e7", "two\nlines", "erp\u200b"} { // to look like another's
		if _, _, err := db.CreateToken(root, name, []string{store.ReadProducts}, 0); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
