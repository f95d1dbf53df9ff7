package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

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
	return store.Edit{SKU: &sku, Title: ptr("The " + sku), Price: price("19.90"),
		Currency: ptr("EUR"), Stock: ptr(int64(7)), Published: ptr(true)}
}

func create(t testing.TB, db *store.DB, sku string) store.Product {
	t.Helper()
	p, err := db.Create(t.Context(), newEdit(sku))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCreateStoresProduct(t *testing.T) {
	db := open(t, testkit.DSN(t))
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
	bySKU, err := db.ProductBySKU(t.Context(), "mug")
	if err != nil || bySKU.ID != mug.ID {
		t.Errorf("got %v, %v", bySKU.ID, err)
	}
}

func TestUpdateRejectsStaleVersion(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
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

func TestNoopEditMakesNoVersion(t *testing.T) {
	db := open(t, testkit.DSN(t))
	lamp := create(t, db, "lamp")
	again, err := db.Update(t.Context(), lamp.Rev, newEdit("lamp"))
	if err != nil || again.Rev != lamp.Rev {
		t.Errorf("got %v, %v; want %v", again.Rev, err, lamp.Rev)
	}
}

// Many authors edit two products at once, each until the edit is taken: none
// is lost, none counts twice.
func TestConcurrentEditsAreNotLost(t *testing.T) {
	dsn := testkit.DSN(t)
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

func TestVersionsGrowWhenClockGoesBack(t *testing.T) {
	dsn := testkit.DSN(t)
	db := open(t, dsn)
	lamp := create(t, db, "lamp")
	ahead := lamp.Version + time.Hour.Microseconds() // a clock that was an hour ahead
	plain(t, dsn, fmt.Sprintf("UPDATE products SET version = %d WHERE id = %d", ahead, lamp.ID))
	edited, err := db.Update(t.Context(), store.Rev{ID: lamp.ID, Version: ahead}, store.Edit{Stock: ptr(int64(1))})
	if err != nil || edited.Version != ahead+1 {
		t.Errorf("got %d, %v; want %d", edited.Version, err, ahead+1)
	}
}

func TestChangedSincePagesInVersionOrder(t *testing.T) {
	dsn := testkit.DSN(t)
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

func TestDatabaseDownIsUnavailable(t *testing.T) {
	t.Parallel()
	server := testkit.StartMySQL(t)
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
	if _, err := db.Update(t.Context(), lamp.Rev,
		store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("dead: %v", err)
	}
	server.Start()
	if got, err := db.Product(t.Context(), lamp.ID); err != nil || got.Rev != lamp.Rev {
		t.Errorf("back: %v, %v", got.Rev, err)
	}
}

// plain runs SQL as another program would.
