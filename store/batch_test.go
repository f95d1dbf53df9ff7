package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"shelfcast/store"
	"shelfcast/testkit"
)

func stockEdit(r store.Rev, stock int64) store.BatchEdit {
	return store.BatchEdit{Action: store.Edited, Seen: r, Edit: store.Edit{Stock: &stock}}
}

// mixed is a batch of which some fail, each in its own way.
func mixed(lamp, mug, cup store.Product) []store.BatchEdit {
	invalid := newEdit("no price")
	invalid.Price = nil
	return []store.BatchEdit{
		stockEdit(lamp.Rev, 70),
		stockEdit(store.Rev{ID: mug.ID, Version: mug.Version - 1}, 71),
		{Action: store.Created, Edit: newEdit("pot")},
		{Action: store.Created, Edit: newEdit("LAMP")},
		{Action: store.Created, Edit: invalid},
		stockEdit(store.Rev{ID: 999, Version: 1}, 72),
		{Action: store.Archived, Seen: cup.Rev},
		stockEdit(lamp.Rev, 73),
	}
}

func TestBatchAppliesEachEditIndependently(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), store.WithAuthor(t.Context(), store.Author{Key: "token:erp", Name: "erp"})
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	results, err := db.Batch(ctx, mixed(lamp, mug, cup), false)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, store.ErrConflict, nil, store.ErrDuplicateSKU,
		store.ErrInvalid, store.ErrNotFound, nil, store.ErrInvalid} {
		if r := results[i]; !errors.Is(r.Err, want) || r.Changed != (want == nil) {
			t.Errorf("edit %d: %v, changed %v; want %v", i, r.Err, r.Changed, want)
		}
	}
	if conflict, ok := errors.AsType[*store.ConflictError](results[1].Err); !ok || conflict.Current != mug.Rev {
		t.Errorf("got %v", results[1].Err)
	}
	if p := results[0].Product; p.Stock != 70 || p.Version <= lamp.Version {
		t.Errorf("got %+v", p)
	}
	if p := results[6].Product; !p.Archived {
		t.Errorf("got %+v", p)
	}
	for i, id := range []int64{lamp.ID, results[2].Product.ID, cup.ID} {
		if p, err := db.Product(ctx, id); err != nil || p.Rev != results[[]int{0, 2, 6}[i]].Product.Rev {
			t.Errorf("%v, %v", p.Rev, err)
		}
	}
	if got := said(t, db, lamp.ID); len(got) != 2 || got[0] != "erp edit: stock 7→70" {
		t.Errorf("got %v", got)
	}
	if got := said(t, db, results[2].Product.ID); len(got) != 1 || got[0] != "erp create:" {
		t.Errorf("got %v", got)
	}
}

func TestBatchAllOrNothing(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	_, err := db.Batch(ctx, mixed(lamp, mug, cup), true)
	failed, ok := errors.AsType[*store.BatchError](err)
	if !ok || !errors.Is(err, store.ErrBatch) || failed.Results[0].Err != nil ||
		!errors.Is(failed.Results[5].Err, store.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	// Found out only by the database, when the others are written already.
	_, err = db.Batch(ctx, []store.BatchEdit{stockEdit(lamp.Rev, 1),
		{Action: store.Created, Edit: newEdit("pot")}, {Action: store.Created, Edit: newEdit("mug")}}, true)
	if failed, ok := errors.AsType[*store.BatchError](err); !ok ||
		!errors.Is(failed.Results[2].Err, store.ErrDuplicateSKU) || failed.Results[1].Err != nil {
		t.Fatalf("got %v", err)
	}
	all, _, err := db.List(ctx, store.Filter{Archived: store.WithArchived}, store.Page{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d products, %v", len(all), err)
	}
	for i, p := range []store.Product{lamp, mug, cup} {
		if all[i].Rev != p.Rev || len(said(t, db, p.ID)) != 1 {
			t.Errorf("%s has changed", p.SKU)
		}
	}
	results, err := db.Batch(ctx,
		[]store.BatchEdit{stockEdit(mug.Rev, 1), stockEdit(lamp.Rev, 7), stockEdit(cup.Rev, 2)}, true)
	if err != nil || !results[0].Changed || results[1].Changed ||
		results[1].Product.Rev != lamp.Rev || !results[2].Changed {
		t.Errorf("%+v, %v", results, err)
	}
	if _, err := db.Batch(ctx, make([]store.BatchEdit, store.MaxBatch+1), true); !errors.Is(err, store.ErrTooMany) {
		t.Error(err)
	}
}

// Batches that meet in the same products, in different orders, on two instances:
// nothing is lost and nothing counts twice.
func TestConcurrentBatchesLoseNothing(t *testing.T) {
	dsn := testkit.DSN(t)
	instances := []*store.DB{open(t, dsn), open(t, dsn)}
	var ids []int64
	for n := range 20 {
		ids = append(ids, create(t, instances[0], fmt.Sprint("p", n)).ID)
	}
	made := make([]int64, 6)
	var all sync.WaitGroup
	for n := range made {
		db := instances[n%2]
		all.Go(func() {
			for range 5 {
				edits := make([]store.BatchEdit, len(ids))
				for i, id := range ids {
					if n%3 == 0 {
						i = len(ids) - 1 - i
					}
					p, err := db.Product(t.Context(), id)
					if err != nil {
						t.Error(err)
						return
					}
					edits[i] = stockEdit(p.Rev, p.Stock+1)
				}
				results, err := db.Batch(t.Context(), edits, false)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range results {
					if r.Changed {
						made[n]++
					}
				}
			}
		})
	}
	all.Wait()
	var sum, acknowledged int64
	for _, id := range ids {
		p, err := instances[0].Product(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		sum += p.Stock - 7
	}
	for _, n := range made {
		acknowledged += n
	}
	if sum != acknowledged || sum == 0 {
		t.Errorf("%d in the database, %d acknowledged", sum, acknowledged)
	}
}

func percent(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// While prices are raised by two instances, others edit: each raise is made of
// all products or of none, and no edit is lost.
// BenchmarkBatch makes 1,000 edits in one call, and 10,000 prices.
func BenchmarkBatch(b *testing.B) {
	db := open(b, testkit.DSN(b))
	var revs []store.Rev
	for n := 0; n < 10_000; n += store.MaxBatch {
		edits := make([]store.BatchEdit, store.MaxBatch)
		for i := range edits {
			e := newEdit(fmt.Sprint("p", n+i))
			e.Description = ptr("<p>A description as shops have it, of some length, so that rows are not empty.</p>")
			edits[i] = store.BatchEdit{Action: store.Created, Edit: e}
		}
		results, err := db.Batch(b.Context(), edits, true)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			revs = append(revs, r.Product.Rev)
		}
	}
	b.Run("edits=1000", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			edits := make([]store.BatchEdit, store.MaxBatch)
			for i := range edits {
				edits[i] = stockEdit(revs[i], time.Now().UnixNano()%1_000_000)
			}
			results, err := db.Batch(b.Context(), edits, true)
			if err != nil {
				b.Fatal(err)
			}
			for i, r := range results {
				revs[i] = r.Product.Rev
			}
		}
	})
	b.Run("prices=10000", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			change := store.Repricing{Percent: percent([]string{"25", "-20"}[n%2])}
			if _, err := db.Reprice(b.Context(), store.Filter{}, change, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
