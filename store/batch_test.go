package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"shelfcast/store"
	"shelfcast/store/storetest"
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

func TestABatchEachForItself(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), store.By(t.Context(), store.Author{Key: "token:erp", Name: "erp"})
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	results, err := db.Batch(ctx, mixed(lamp, mug, cup), false)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, store.ErrConflict, nil, store.ErrDuplicateSKU, store.ErrInvalid, store.ErrNotFound, nil, store.ErrInvalid} {
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

func TestABatchAllOrNothing(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), t.Context()
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	_, err := db.Batch(ctx, mixed(lamp, mug, cup), true)
	failed, ok := errors.AsType[*store.BatchError](err)
	if !ok || !errors.Is(err, store.ErrBatch) || failed.Results[0].Err != nil || !errors.Is(failed.Results[5].Err, store.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	// Found out only by the database, when the others are written already.
	_, err = db.Batch(ctx, []store.BatchEdit{stockEdit(lamp.Rev, 1), {Action: store.Created, Edit: newEdit("pot")}, {Action: store.Created, Edit: newEdit("mug")}}, true)
	if failed, ok := errors.AsType[*store.BatchError](err); !ok || !errors.Is(failed.Results[2].Err, store.ErrDuplicateSKU) || failed.Results[1].Err != nil {
		t.Fatalf("got %v", err)
	}
	all, err := db.List(ctx, store.Filter{Archived: store.WithArchived}, store.Page{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d products, %v", len(all), err)
	}
	for i, p := range []store.Product{lamp, mug, cup} {
		if all[i].Rev != p.Rev || len(said(t, db, p.ID)) != 1 {
			t.Errorf("%s has changed", p.SKU)
		}
	}
	results, err := db.Batch(ctx, []store.BatchEdit{stockEdit(mug.Rev, 1), stockEdit(lamp.Rev, 7), stockEdit(cup.Rev, 2)}, true)
	if err != nil || !results[0].Changed || results[1].Changed || results[1].Product.Rev != lamp.Rev || !results[2].Changed {
		t.Errorf("%+v, %v", results, err)
	}
	if _, err := db.Batch(ctx, make([]store.BatchEdit, store.MaxBatch+1), true); !errors.Is(err, store.ErrTooMany) {
		t.Error(err)
	}
}

// Batches that meet in the same products, in different orders, on two instances:
// nothing is lost and nothing counts twice.
func TestBatchesMeet(t *testing.T) {
	dsn := storetest.DSN(t)
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

func TestRepriceIsExact(t *testing.T) {
	db, ctx := open(t, storetest.DSN(t)), store.By(t.Context(), store.Author{Key: "token:anna", Name: "anna"})
	made := map[string]store.Product{}
	for sku, p := range map[string][2]string{"lamp": {"19.90", "EUR"}, "cent": {"0.05", "EUR"}, "yen": {"105", "JPY"}, "fils": {"1.005", "KWD"}, "half": {"0.12", "EUR"}, "other": {"10.00", "EUR"}} {
		e := newEdit(sku)
		e.Price, e.Currency, e.Vendor = price(p[0]), ptr(p[1]), ptr("Co")
		if sku == "other" {
			e.Vendor = ptr("Else")
		}
		var err error
		if made[sku], err = db.Create(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	gone := create(t, db, "gone")
	if _, err := db.Archive(ctx, gone.Rev); err != nil {
		t.Fatal(err)
	}
	change := store.Repricing{Percent: percent("-12.5"), CompareAt: store.SetCompareAt}
	dry, err := db.Reprice(ctx, store.Filter{Vendor: "Co"}, change, true)
	if err != nil || dry.Matched != 5 || len(dry.Changed) != 5 {
		t.Fatalf("%+v, %v", dry, err)
	}
	for sku, p := range made {
		if now, err := db.Product(ctx, p.ID); err != nil || now.Rev != p.Rev {
			t.Errorf("a dry run has changed %s: %v", sku, err)
		}
	}
	done, err := db.Reprice(ctx, store.Filter{Vendor: "Co"}, change, false)
	if err != nil || len(done.Changed) != 5 {
		t.Fatalf("%+v, %v", done, err)
	}
	// 17.4125, 0.04375, 0.105, 91.875 and 0.879375, half a unit away from zero.
	for sku, want := range map[string]string{"lamp": "17.41", "cent": "0.04", "half": "0.11", "yen": "92", "fils": "0.879", "other": "10.00"} {
		now, err := db.Product(ctx, made[sku].ID)
		if err != nil || now.Price.String() != want {
			t.Errorf("%s: %v, %v; want %s", sku, now.Price, err, want)
		}
		if sku != "other" && (now.CompareAtPrice == nil || !now.CompareAtPrice.Equal(made[sku].Price.Decimal)) {
			t.Errorf("%s: before the sale %v", sku, now.CompareAtPrice)
		}
	}
	lamp := made["lamp"].ID
	if got := said(t, db, lamp)[0]; got != `anna reprice: price "19.90"→"17.41" compare_at_price null→"19.90"` {
		t.Errorf("got %s", got)
	}
	if now, _ := db.Product(ctx, lamp); !slices.Contains(done.Changed, now.Rev) {
		t.Errorf("%v is none of %v", now.Rev, done.Changed)
	}
	if up, err := db.Reprice(ctx, store.Filter{SKU: "lamp"}, store.Repricing{Percent: percent("0.5"), CompareAt: store.ClearCompareAt}, false); err != nil || len(up.Changed) != 1 {
		t.Errorf("%+v, %v", up, err)
	}
	if now, _ := db.Product(ctx, lamp); now.Price.String() != "17.50" || now.CompareAtPrice != nil { // 17.49705
		t.Errorf("%v, %v", now.Price, now.CompareAtPrice)
	}
	for _, bad := range []store.Repricing{{Percent: percent("-100")}, {Percent: percent("1000.1")}, {}, {Percent: percent("1"), CompareAt: "x"}} {
		if _, err := db.Reprice(ctx, store.Filter{}, bad, false); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// While prices are raised by two instances, others edit: each raise is made of
// all products or of none, and no edit is lost.
func TestRepriceAndEditsMeet(t *testing.T) {
	dsn := storetest.DSN(t)
	instances := []*store.DB{open(t, dsn), open(t, dsn)}
	var ids []int64
	for n := range 30 {
		e := newEdit(fmt.Sprint("p", n))
		e.Price = price("100")
		p, err := instances[0].Create(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	var all sync.WaitGroup
	raises, edits := 0, 0
	var mu sync.Mutex
	for n := range 4 {
		all.Go(func() {
			for range 5 {
				_, err := instances[n%2].Reprice(t.Context(), store.Filter{}, store.Repricing{Percent: percent("100")}, false)
				if err == nil {
					mu.Lock()
					raises++
					mu.Unlock()
				} else if !errors.Is(err, store.ErrUnavailable) { // others were in the way each time
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for i := range 10 {
				p, err := instances[n%2].Product(t.Context(), ids[(7*n+i)%len(ids)])
				if err != nil {
					t.Error(err)
					return
				}
				if _, err = instances[n%2].Update(t.Context(), p.Rev, store.Edit{Stock: ptr(p.Stock + 1)}); err == nil {
					mu.Lock()
					edits++
					mu.Unlock()
				} else if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	want := decimal.NewFromInt(100).Mul(decimal.NewFromInt(2).Pow(decimal.NewFromInt(int64(raises))))
	stock := int64(0)
	for _, id := range ids {
		p, err := instances[0].Product(t.Context(), id)
		if err != nil || !p.Price.Equal(want) {
			t.Errorf("price %v after %d raises, want %v; %v", p.Price, raises, want, err)
		}
		stock += p.Stock - 7
	}
	if stock != int64(edits) || raises == 0 {
		t.Errorf("%d edits in the database, %d were acknowledged; %d raises", stock, edits, raises)
	}
}

// BenchmarkBatch makes 1,000 edits in one call, and 10,000 prices.
func BenchmarkBatch(b *testing.B) {
	db := open(b, storetest.DSN(b))
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
