package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/shopspring/decimal"

	"shelfcast/store"
	"shelfcast/testkit"
)

func TestRepriceRoundsExactly(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), store.WithAuthor(t.Context(), store.Author{Key: "token:anna", Name: "anna"})
	made := map[string]store.Product{}
	for sku, p := range map[string][2]string{"lamp": {"19.90", "EUR"}, "cent": {"0.05", "EUR"},
		"yen": {"105", "JPY"}, "fils": {"1.005", "KWD"}, "half": {"0.12", "EUR"}, "other": {"10.00", "EUR"}} {
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
	for sku, want := range map[string]string{"lamp": "17.41", "cent": "0.04",
		"half": "0.11", "yen": "92", "fils": "0.879", "other": "10.00"} {
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
	up, err := db.Reprice(ctx, store.Filter{SKU: "lamp"},
		store.Repricing{Percent: percent("0.5"), CompareAt: store.ClearCompareAt}, false)
	if err != nil || len(up.Changed) != 1 {
		t.Errorf("%+v, %v", up, err)
	}
	if now, _ := db.Product(ctx, lamp); now.Price.String() != "17.50" || now.CompareAtPrice != nil { // 17.49705
		t.Errorf("%v, %v", now.Price, now.CompareAtPrice)
	}
	for _, bad := range []store.Repricing{{Percent: percent("-100")},
		{Percent: percent("1000.1")}, {}, {Percent: percent("1"), CompareAt: "x"}} {
		if _, err := db.Reprice(ctx, store.Filter{}, bad, false); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestRepriceIsAtomicAmongConcurrentEdits(t *testing.T) {
	dsn := testkit.DSN(t)
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
