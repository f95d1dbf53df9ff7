package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// open has the schema in a database of the test's own.
func open(t testing.TB, dsn string) *store.DB {
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

func ptr[T any](v T) *T { return &v }

func price(s string) *store.Price {
	p, err := store.ParsePrice(s)
	if err != nil {
		panic(err)
	}
	return &p
}

func newEdit(sku string) store.Edit {
	return store.Edit{SKU: &sku, Title: ptr("The " + sku), Price: price("19.90"), Currency: ptr("EUR"), Stock: ptr(int64(7)), Published: ptr(true)}
}

func create(t testing.TB, db *store.DB, sku string) store.Product {
	t.Helper()
	p, err := db.Create(t.Context(), newEdit(sku))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAProductComesBackAsItWasMade(t *testing.T) {
	db := open(t, storetest.DSN(t))
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	if lamp.ID == mug.ID || lamp.Version == 0 || mug.Version <= lamp.Version {
		t.Errorf("revs %v and %v", lamp.Rev, mug.Rev)
	}
	age := time.Since(time.UnixMicro(mug.Version))
	if age < -time.Minute || age > time.Minute {
		t.Errorf("the version is %v old, by the clock", age)
	}
	got, err := db.Product(t.Context(), lamp.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Price.String() != "19.90" || got.CompareAtPrice != nil || got.Stock != 7 || !got.Published || got.Archived {
		t.Errorf("got %+v", got)
	}
	bySKU, err := db.BySKU(t.Context(), "mug")
	if err != nil || bySKU.ID != mug.ID {
		t.Errorf("got %v, %v", bySKU.ID, err)
	}
}

func TestUpdateNeedsTheVersionSeen(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), t.Context()
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	edited, err := db.Update(ctx, lamp.Rev, store.Edit{Price: price("17.5")})
	if err != nil {
		t.Fatal(err)
	}
	if edited.Version <= lamp.Version || edited.Price.String() != "17.50" || edited.Title != lamp.Title {
		t.Errorf("got %+v", edited)
	}
	_, err = db.Update(ctx, lamp.Rev, store.Edit{Price: price("1")})
	conflict, ok := errors.AsType[*store.ConflictError](err)
	if !ok || !errors.Is(err, store.ErrConflict) || conflict.Current != edited.Rev {
		t.Errorf("a stale edit: %v", err)
	}
	if got, _ := db.Product(ctx, lamp.ID); got.Price.String() != "17.50" {
		t.Errorf("the stale edit left %v", got.Price)
	}
	if got, _ := db.Product(ctx, mug.ID); got.Rev != mug.Rev {
		t.Error("the other product has changed")
	}
	if _, err := db.Update(ctx, store.Rev{ID: 999, Version: 1}, store.Edit{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown product: %v", err)
	}
}

func TestAnEditThatChangesNothingMakesNoVersion(t *testing.T) {
	db := open(t, storetest.DSN(t))
	lamp := create(t, db, "lamp")
	again, err := db.Update(t.Context(), lamp.Rev, newEdit("lamp"))
	if err != nil || again.Rev != lamp.Rev {
		t.Errorf("got %v, %v; want %v", again.Rev, err, lamp.Rev)
	}
}

// Many authors edit two products at once, each until the edit is taken: none
// is lost, none counts twice.
func TestNoAcknowledgedEditIsLost(t *testing.T) {
	dsn := storetest.DSN(t)
	instances := []*store.DB{open(t, dsn), open(t, dsn)}
	products := []store.Product{create(t, instances[0], "lamp"), create(t, instances[0], "mug")}
	const authors, edits = 6, 15
	var all sync.WaitGroup
	for n := range authors {
		db, id := instances[n%2], products[n/2%2].ID
		all.Go(func() {
			for done := 0; done < edits; {
				p, err := db.Product(t.Context(), id)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = db.Update(t.Context(), p.Rev, store.Edit{Stock: ptr(p.Stock + 1)})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	var sum int64
	for _, p := range products {
		p, err := instances[0].Product(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		sum += p.Stock - 7
	}
	if want := int64(authors * edits); sum != want {
		t.Errorf("%d edits in the database, %d were acknowledged", sum, want)
	}
}

func TestVersionsGrowWhenTheClockGoesBack(t *testing.T) {
	dsn := storetest.DSN(t)
	db := open(t, dsn)
	lamp := create(t, db, "lamp")
	ahead := lamp.Version + time.Hour.Microseconds() // a clock that was an hour ahead
	plain(t, dsn, fmt.Sprintf("UPDATE products SET version = %d WHERE id = %d", ahead, lamp.ID))
	edited, err := db.Update(t.Context(), store.Rev{ID: lamp.ID, Version: ahead}, store.Edit{Stock: ptr(int64(1))})
	if err != nil || edited.Version != ahead+1 {
		t.Errorf("got %d, %v; want %d", edited.Version, err, ahead+1)
	}
}

func TestChangedSincePagesInTheOrderOfVersions(t *testing.T) {
	dsn := storetest.DSN(t)
	db, ctx := open(t, dsn), t.Context()
	for i := range 5 {
		create(t, db, fmt.Sprint("p", i))
	}
	plain(t, dsn, "UPDATE products SET version = 100") // one statement, one version
	plain(t, dsn, "UPDATE products SET version = 200 WHERE sku = 'p1'")
	var got []store.Rev
	after := store.Rev{Version: 50}
	for {
		revs, err := db.ChangedSince(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, revs...)
		if len(revs) < 2 {
			break
		}
		after = revs[1]
	}
	if len(got) != 5 || got[4].Version != 200 {
		t.Errorf("got %v", got)
	}
	versions, err := db.Versions(ctx, []int64{got[4].ID, got[0].ID, 12345})
	if err != nil || len(versions) != 2 {
		t.Errorf("got %v, %v", versions, err)
	}
}

func TestWhatShoppersMayNotSeeStaysInTheStore(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), t.Context()
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	if _, err := db.Update(ctx, lamp.Rev, store.Edit{Published: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	archived, err := db.Archive(ctx, mug.Rev)
	if err != nil || !archived.Archived || archived.ArchivedAt == nil || archived.Version <= mug.Version {
		t.Fatalf("got %+v, %v", archived, err)
	}
	for _, id := range []int64{lamp.ID, mug.ID} {
		p, err := db.Shown(ctx, store.Rev{ID: id})
		if err != nil || p.Available() || p.Title != "" || p.SKU != "" || p.Version == 0 {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	for name, shelf := range map[string]store.Shelf{"shelf": {}, "before": {Before: &store.Place{ID: 1000}}} {
		if slots, err := db.Shelf(ctx, shelf); err != nil || len(slots) != 1 || slots[0].Rev != cup.Rev {
			t.Errorf("%s: %v, %v", name, slots, err)
		}
	}
	if _, err := db.Update(ctx, archived.Rev, store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrArchived) {
		t.Errorf("an archived product took an edit: %v", err)
	}
	if again, err := db.Archive(ctx, archived.Rev); err != nil || again.Rev != archived.Rev {
		t.Errorf("archived again: %v, %v", again.Rev, err)
	}
}

func TestBadInputIsNamedAndChangesNothing(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), t.Context()
	lamp := create(t, db, "lamp")
	create(t, db, "mug")
	for field, e := range map[string]store.Edit{
		"sku":              {SKU: ptr("")},
		"title":            {Title: ptr("  ")},
		"vendor":           {Vendor: ptr(strings.Repeat("ä", store.MaxVendor+1))},
		"description":      {Description: ptr(strings.Repeat("x", store.MaxDescription+1))},
		"image_url":        {ImageURL: ptr("javascript:alert(1)")},
		"price":            {Price: price("-1")},
		"compare_at_price": {CompareAtPrice: store.PriceChange{Set: true, To: price("1000000000000")}},
		"currency":         {Currency: ptr("XQQ")},
		"stock":            {Stock: ptr(int64(-1))},
	} {
		_, err := db.Update(ctx, lamp.Rev, e)
		invalid, ok := errors.AsType[*store.InvalidError](err)
		if !ok || !errors.Is(err, store.ErrInvalid) || invalid.Fields[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := db.Update(ctx, lamp.Rev, store.Edit{Price: price("1.999")}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a tenth of a cent: %v", err)
	}
	if _, err := db.Update(ctx, lamp.Rev, store.Edit{SKU: ptr("mug")}); !errors.Is(err, store.ErrDuplicateSKU) {
		t.Errorf("a SKU of another: %v", err)
	}
	if _, err := db.Create(ctx, newEdit("MUG")); !errors.Is(err, store.ErrDuplicateSKU) {
		t.Errorf("a SKU that differs in case alone: %v", err)
	}
	if _, err := db.Create(ctx, store.Edit{SKU: ptr("cup"), Title: ptr("Cup"), Currency: ptr("EUR")}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no price: %v", err)
	}
	if got, _ := db.Product(ctx, lamp.ID); got.Rev != lamp.Rev {
		t.Error("something has changed")
	}
	if all, _ := db.List(ctx, store.Filter{}, store.Page{}); len(all) != 2 {
		t.Errorf("%d products", len(all))
	}
}

func TestDescriptionsAreSanitised(t *testing.T) {
	db := open(t, storetest.DSN(t))
	lamp := create(t, db, "lamp")
	p, err := db.Update(t.Context(), lamp.Rev, store.Edit{Description: ptr(`<p onclick="x()">Warm <b>light</b><script>alert(1)</script></p>`)})
	if err != nil || p.Description != "<p>Warm <b>light</b></p>" {
		t.Errorf("got %q, %v", p.Description, err)
	}
}

func TestPricesHaveTheDigitsOfTheirCurrency(t *testing.T) {
	db := open(t, storetest.DSN(t))
	for currency, want := range map[string]string{"EUR": "50.00", "JPY": "50", "KWD": "50.000"} {
		e := newEdit("in " + currency)
		e.Currency, e.Price = &currency, price("50")
		e.CompareAtPrice = store.PriceChange{Set: true, To: price("50.0")}
		p, err := db.Create(t.Context(), e)
		if err != nil || p.Price.String() != want || p.CompareAtPrice.String() != want {
			t.Errorf("%s: got %v and %v, %v; want %s", currency, p.Price, p.CompareAtPrice, err, want)
		}
		p, err = db.Update(t.Context(), p.Rev, store.Edit{CompareAtPrice: store.PriceChange{Set: true}})
		if err != nil || p.CompareAtPrice != nil {
			t.Errorf("%s: the price to compare with stayed: %v, %v", currency, p.CompareAtPrice, err)
		}
	}
}

func TestTenInstancesMigrateAtOnce(t *testing.T) {
	dsn := storetest.DSN(t)
	var ran [10]int
	var ids [10]string
	var all sync.WaitGroup
	for i := range ran {
		all.Go(func() {
			db, err := store.Open(dsn, store.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if ran[i], err = db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.CheckSchema(t.Context()); err != nil {
				t.Error(err)
			}
			if ids[i], err = db.ShopID(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || len(id) != 12 {
			t.Errorf("the shop has several ids, or a wrong one: %v", ids)
			break
		}
	}
	worked := 0
	for _, n := range ran {
		if n > 0 {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("%d instances ran migrations: %v", worked, ran)
	}
}

func TestAnUnmigratedDatabaseIsSaidToBe(t *testing.T) {
	db, err := store.Open(storetest.DSN(t), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CheckSchema(t.Context()); !errors.Is(err, store.ErrSchema) {
		t.Errorf("got %v", err)
	}
}

func TestTriggersGiveAVersionToPlainSQL(t *testing.T) {
	dsn := storetest.DSN(t)
	db, ctx := open(t, dsn), t.Context()
	for range 2 { // installing them again does no harm
		if err := db.InstallTriggers(ctx); err != nil {
			t.Fatal(err)
		}
	}
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	plain(t, dsn, fmt.Sprintf("UPDATE products SET stock = 3 WHERE id = %d", lamp.ID))
	revs, err := db.ChangedSince(ctx, mug.Rev, 10)
	if err != nil || len(revs) != 1 || revs[0].ID != lamp.ID {
		t.Errorf("got %v, %v", revs, err)
	}
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	server := storetest.StartMySQL(t)
	db, err := store.Open(server.Database(t), store.Config{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	lamp := create(t, db, "lamp")
	server.Pause()
	if _, err := db.Product(t.Context(), lamp.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("frozen: %v", err)
	}
	server.Resume()
	server.Kill()
	if _, err := db.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("dead: %v", err)
	}
	server.Start()
	if got, err := db.Product(t.Context(), lamp.ID); err != nil || got.Rev != lamp.Rev {
		t.Errorf("back: %v, %v", got.Rev, err)
	}
}

// plain runs SQL as another program would.
func plain(t *testing.T, dsn, query string) {
	t.Helper()
	db := storetest.SQL(t, dsn)
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}
