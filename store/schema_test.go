package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

func TestConcurrentMigrations(t *testing.T) {
	dsn := testkit.DSN(t)
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

func TestCheckSchemaReportsMissingMigrations(t *testing.T) {
	db, err := store.Open(testkit.DSN(t), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CheckSchema(t.Context()); !errors.Is(err, store.ErrSchema) {
		t.Errorf("got %v", err)
	}
}

func TestTriggersSetVersionForPlainSQL(t *testing.T) {
	dsn := testkit.DSN(t)
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

func plain(t *testing.T, dsn, query string) {
	t.Helper()
	db := testkit.SQL(t, dsn)
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}
