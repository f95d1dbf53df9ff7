package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// knows reports whether shoppers may know of the product, which every read that is
// for them has to say alike.
func knows(t *testing.T, db *store.DB, id int64) bool {
	t.Helper()
	ctx := t.Context()
	_, err := db.ProductAtLeast(ctx, store.Rev{ID: id})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	known := err == nil
	all, err1 := db.ProductsAtLeast(ctx, []store.Rev{{ID: id}})
	versions, err2 := db.Versions(ctx, []int64{id})
	latest, err3 := db.LatestRevs(ctx, 1000)
	recent, err4 := db.RecentChanges(ctx, 0, 1000)
	news, err5 := db.ChangedWithVisibility(ctx, store.Rev{}, 1000)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]bool{
		"ProductsAtLeast": len(all) == 1, "Versions": len(versions) == 1,
		"Latest":         slices.ContainsFunc(latest, func(r store.Rev) bool { return r.ID == id }),
		"RecentChanges":  slices.ContainsFunc(recent, func(r store.RecentChange) bool { return r.ID == id }),
		"ChangedProduct": slices.ContainsFunc(news, func(n store.ChangedProduct) bool { return n.ID == id && !n.Hidden }),
	} {
		if says != known {
			t.Errorf("product %d: Shown says %v, and %s %v", id, known, name, says)
		}
	}
	if revs, err := db.ChangedSince(ctx, store.Rev{}, 1000); err != nil ||
		!slices.ContainsFunc(revs, func(r store.Rev) bool { return r.ID == id }) {
		t.Errorf("the staff do not hear of product %d: %v", id, err)
	}
	return known
}

// Of a product that was never published shoppers do not hear, whoever makes and
// edits it; of one that was, they hear for ever.
func TestShoppersSeeOnlyProductsThatWerePublished(t *testing.T) {
	dsn := testkit.DSN(t)
	db := open(t, dsn)
	ctx := t.Context()
	expect := func(when string, id int64, want bool) {
		t.Helper()
		if got := knows(t, db, id); got != want {
			t.Errorf("%s: shoppers know of it is %v", when, got)
		}
	}
	n := 0
	create := func(published bool) store.Product {
		t.Helper()
		n++
		e := newEdit(fmt.Sprint("idempotent", n))
		e.Published = &published
		p, err := db.Create(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	change := func(p store.Product, e store.Edit) store.Product {
		t.Helper()
		p, err := db.Update(ctx, p.Rev, e)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	draft := create(false)
	expect("a draft", draft.ID, false)
	draft = change(draft, store.Edit{Price: price("3")})
	expect("an edited draft", draft.ID, false)
	draft, err := db.Archive(ctx, draft.Rev)
	if err != nil {
		t.Fatal(err)
	}
	expect("an archived draft", draft.ID, false)
	if draft, err = db.Restore(ctx, draft.Rev); err != nil {
		t.Fatal(err)
	}
	draft = change(draft, store.Edit{Published: ptr(true)})
	expect("published", draft.ID, true)
	draft = change(draft, store.Edit{Published: ptr(false)})
	expect("published no more", draft.ID, true)
	draft = change(draft, store.Edit{Price: price("4")})
	expect("edited after that", draft.ID, true)
	born := create(true)
	expect("published from the start", change(born, store.Edit{Published: ptr(false)}).ID, true)

	// The release before, and programs that write plain SQL with a version.
	const nextVersion = `version = version + 1000000`
	made := create(false)
	plain(t, dsn, fmt.Sprintf("UPDATE products SET %s, published = 1 WHERE id = %d", nextVersion, made.ID))
	expect("published by others", made.ID, true) // and each feed reads that
	plain(t, dsn, fmt.Sprintf("UPDATE products SET %s, published = 0 WHERE id = %d", nextVersion, made.ID))
	expect("and published no more", made.ID, true)
	insert := func(sku string, published int) int64 {
		t.Helper()
		plain(t, dsn, fmt.Sprintf(`INSERT INTO products (version, sku, title, description, vendor, image_url, price, `+
			`currency, stock, published, created_at)
			VALUES (1700000000000000, '%s', 'Plain', '', '', '', 1, 'EUR', 1, %d, NOW())`, sku, published))
		p, err := db.ProductBySKU(ctx, sku)
		if err != nil {
			t.Fatal(err)
		}
		return p.ID
	}
	expect("a draft of others", insert("plain0", 0), false)
	there := insert("plain1", 1)
	plain(t, dsn, fmt.Sprintf("UPDATE products SET %s, published = 0 WHERE id = %d", nextVersion, there))
	expect("made by others, and published no more", there, true)

	if err := db.InstallTriggers(ctx); err != nil {
		t.Fatal(err)
	}
	made = create(false)
	plain(t, dsn, fmt.Sprintf("UPDATE products SET published = 1 WHERE id = %d", made.ID))
	plain(t, dsn, fmt.Sprintf("UPDATE products SET published = 0 WHERE id = %d", made.ID)) // nobody has read it in between
	expect("published for a moment, with triggers", made.ID, true)
	expect("a draft of others, with triggers", insert("plain2", 0), false)
	plain(t, dsn, "DROP TRIGGER products_version_insert")
	plain(t, dsn, "DROP TRIGGER products_version_update")

	// A database of the release before: its history has what its rows do not say.
	never := create(false)
	asBefore(t, dsn)
	if _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	expect("published no more, before", draft.ID, true)
	expect("published from the start, before", born.ID, true)
	expect("a draft, before", never.ID, false)
}
