package store_test

import (
	"errors"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

func TestProductAtLeastHidesUnpublishedData(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	if _, err := db.Update(ctx, lamp.Rev, store.Edit{Published: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	archived, err := db.Archive(ctx, mug.Rev)
	if err != nil || !archived.Archived || archived.ArchivedAt == nil || archived.Version <= mug.Version {
		t.Fatalf("got %+v, %v", archived, err)
	}
	for _, id := range []int64{lamp.ID, mug.ID} {
		p, err := db.ProductAtLeast(ctx, store.Rev{ID: id})
		if err != nil || p.Available() || p.Title != "" || p.SKU != "" || p.Version == 0 {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	for name, shelf := range map[string]store.StorefrontQuery{"storefront": {},
		"before": {Before: &store.Cursor{ID: 1000}}} {
		if slots, err := db.Storefront(ctx, shelf); err != nil || len(slots) != 1 || slots[0].Rev != cup.Rev {
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

func TestInvalidFieldsAreReportedAndNotStored(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
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
	_, err := db.Create(ctx, store.Edit{SKU: ptr("cup"), Title: ptr("Cup"), Currency: ptr("EUR")})
	if !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no price: %v", err)
	}
	if got, _ := db.Product(ctx, lamp.ID); got.Rev != lamp.Rev {
		t.Error("something has changed")
	}
	if all, _, _ := db.List(ctx, store.Filter{}, store.Page{}); len(all) != 2 {
		t.Errorf("%d products", len(all))
	}
}

func TestDescriptionIsSanitised(t *testing.T) {
	db := open(t, testkit.DSN(t))
	lamp := create(t, db, "lamp")
	p, err := db.Update(t.Context(), lamp.Rev,
		store.Edit{Description: ptr(`<p onclick="x()">Warm <b>light</b><script>alert(1)</script></p>`)})
	if err != nil || p.Description != "<p>Warm <b>light</b></p>" {
		t.Errorf("got %q, %v", p.Description, err)
	}
}

func TestPricesHaveDigitsOfCurrency(t *testing.T) {
	db := open(t, testkit.DSN(t))
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
