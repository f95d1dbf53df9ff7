package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"shelfcast/store"
	"shelfcast/testkit"
)

// A row is held by another transaction: the edit waits, is tried again a
// bounded number of times, and is refused as unavailable; when the row is let
// go in between, it passes.
func TestLockWaitIsRetried(t *testing.T) {
	dsn := testkit.DSN(t)
	open(t, dsn)
	metrics := prometheus.NewRegistry()
	db, err := store.Open(dsn, store.Config{LockWait: time.Second, MaxTries: 2, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")

	hold := func() *sql.Tx {
		tx, err := testkit.SQL(t, dsn).BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("UPDATE products SET vendor = 'held' WHERE id = ?", lamp.ID); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	tx := hold()
	if _, err := db.Update(t.Context(), lamp.Rev,
		store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("held throughout: %v", err)
	}
	if retries(t, metrics) != 1 {
		t.Errorf("tried again %v times, want 1", retries(t, metrics))
	}
	if _, err := db.Update(t.Context(), mug.Rev, store.Edit{Stock: ptr(int64(1))}); err != nil {
		t.Errorf("another row: %v", err)
	}
	tx.Rollback()

	tx = hold()
	done := make(chan error, 1)
	go func() {
		_, err := db.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(1))})
		done <- err
	}()
	testkit.Eventually(t, "the first try has given up", func() bool { return retries(t, metrics) == 2 })
	tx.Rollback()
	if err := <-done; err != nil {
		t.Errorf("let go in between: %v", err)
	}
}

func retries(t *testing.T, metrics *prometheus.Registry) float64 {
	t.Helper()
	n, err := testutil.GatherAndCount(metrics, "shelfcast_store_retries_total")
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "shelfcast_store_retries_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}
