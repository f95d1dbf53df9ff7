package store_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// external is an edit that gives a product this external id.
func external(id string) store.Edit { return store.Edit{ExternalID: &id} }

func TestExternalIDIsUnique(t *testing.T) {
	db := open(t, testkit.DSN(t))
	ctx := t.Context()
	const lampID, mugID = "odoo:product.template:42", "odoo:product.template:43"
	edit := newEdit("lamp")
	edit.ExternalID = ptr(lampID)
	lamp, err := db.Create(ctx, edit)
	if err != nil {
		t.Fatal(err)
	}
	mug, err := db.Create(ctx, newEdit("mug"))
	if err != nil {
		t.Fatal(err)
	}
	if pot, err := db.Create(ctx, newEdit("pot")); err != nil || pot.ExternalID != "" { // any number may have none
		t.Fatal(pot, err)
	}
	if _, err := db.Update(ctx, mug.Rev, external(lampID)); !errors.Is(err, store.ErrDuplicateExternalID) ||
		errors.Is(err, store.ErrDuplicateSKU) {
		t.Errorf("another's external id: %v", err)
	}
	if _, err := db.Update(ctx, mug.Rev, store.Edit{SKU: ptr("lamp")}); !errors.Is(err, store.ErrDuplicateSKU) {
		t.Errorf("another's SKU: %v", err)
	}
	if _, err := db.Update(ctx, mug.Rev, external(strings.ToUpper(lampID))); err != nil {
		t.Errorf("it is compared byte for byte: %v", err)
	}
	for _, bad := range []string{" x", "x\n", strings.Repeat("x", store.MaxExternalID+1), "\xff"} {
		if _, err := db.Update(ctx, lamp.Rev, external(bad)); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if mug, err = db.Product(ctx, mug.ID); err != nil {
		t.Fatal(err)
	}
	if mug, err = db.Update(ctx, mug.Rev, external(mugID)); err != nil || mug.ExternalID != mugID {
		t.Fatal(mug, err)
	}
	found, err := db.RevsByExternalID(ctx, []string{mugID, "odoo:product.template:44", lampID})
	if err != nil || len(found) != 2 || found[lampID] != lamp.Rev || found[mugID] != mug.Rev {
		t.Errorf("found %v, %v", found, err)
	}
	listed, _, err := db.List(ctx, store.Filter{ExternalID: mugID}, store.Page{})
	if err != nil || len(listed) != 1 || listed[0].ID != mug.ID {
		t.Errorf("listed %v, %v", listed, err)
	}
	entries, _, err := db.History(ctx, mug.ID, 0, 1)
	if err != nil || len(entries) != 1 || len(entries[0].Changes) != 1 || entries[0].Changes[0].Field != "external_id" {
		t.Errorf("the history: %+v, %v", entries, err)
	}
}

// null takes it away, and then another product may have it.
func TestExternalIDIsRemovedByNull(t *testing.T) {
	db := open(t, testkit.DSN(t))
	ctx := t.Context()
	var products [2]store.Product
	for i, sku := range []string{"lamp", "mug"} {
		var err error
		if products[i], err = db.Create(ctx, newEdit(sku)); err != nil {
			t.Fatal(err)
		}
	}
	lamp, err := db.Update(ctx, products[0].Rev, external("x:1"))
	if err != nil {
		t.Fatal(err)
	}
	var gone store.Edit
	if err := json.Unmarshal([]byte(`{"external_id":null}`), &gone); err != nil {
		t.Fatal(err)
	}
	if lamp, err = db.Update(ctx, lamp.Rev, gone); err != nil || lamp.ExternalID != "" {
		t.Fatal(lamp, err)
	}
	if mug, err := db.Update(ctx, products[1].Rev, external("x:1")); err != nil || mug.ExternalID != "x:1" {
		t.Error(mug, err)
	}
}

func TestRecentChanges(t *testing.T) {
	db := open(t, testkit.DSN(t))
	ctx := t.Context()
	var made []store.Product
	for _, sku := range []string{"lamp", "mug", "pot"} {
		edit := newEdit(sku)
		if sku != "mug" {
			edit.ExternalID = ptr("x:" + sku)
		}
		p, err := db.Create(ctx, edit)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, p)
	}
	got, err := db.RecentChanges(ctx, made[0].Version, 10)
	if err != nil || len(got) != 2 || got[0] != (store.RecentChange{Rev: made[2].Rev, ExternalID: "x:pot"}) ||
		got[1] != (store.RecentChange{Rev: made[1].Rev}) {
		t.Errorf("after the first: %v, %v", got, err)
	}
	if got, err := db.RecentChanges(ctx, 0, 1); err != nil || len(got) != 1 || got[0].Rev != made[2].Rev {
		t.Errorf("the newest is kept: %v, %v", got, err)
	}
	// Of one that shoppers may not see its name elsewhere is known, and no more.
	hidden, err := db.Update(ctx, made[0].Rev, store.Edit{Published: ptr(false)})
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := db.ProductAtLeast(ctx, hidden.Rev); err != nil || shown.ExternalID != "x:lamp" || shown.Title != "" {
		t.Errorf("shown %+v, %v", shown, err)
	}
}
