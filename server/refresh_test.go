package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"shelfcast/store"
)

// refreshed is the answer to a refresh.
type refreshed struct {
	Refreshed []store.Rev
	Unchanged []string
	Missing   []int64
	Unknown   []string
	Failed    []struct {
		ExternalID string `json:"external_id"`
		Problem    struct{ Type string }
	}
}

// An ERP refreshes products by its own ids, and the pages show them.
func TestRefreshByExternalID(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	names := []string{"odoo:product.template:9000001", "odoo:product.template:9000002"}
	var products []store.Product
	for n, sku := range []string{"lamp", "mug"} {
		p := f.product(t, sku)
		products = append(products, f.edit(t, n, p.Rev, fmt.Sprintf(`{"external_id":%q}`, names[n])))
	}
	page, visitor := f.shopper(t, 1, ""), odooAt(t, f.instances[1].PublicAddr())
	page.watch("card", products[0].Rev, products[1].Rev)
	page.settled()
	visitor.subscribe(0, "product_updates")
	visitor.next()
	refresh := func(n int, body string) refreshed {
		t.Helper()
		status, _, answer := f.admin(t, n, "POST", "/api/v1/products:refresh", body, nil)
		if status != http.StatusOK {
			t.Fatal(status, answer)
		}
		return parse[refreshed](t, answer)
	}
	got := refresh(0, fmt.Sprintf(`{"products":[{"external_id":%q,"set":{"price":"17.50","stock":2}},{"external_id":%q},`+
		`{"external_id":"odoo:product.template:1"},{"external_id":"x","set":{"stock":1}}]}`, names[0], names[1]))
	if len(got.Refreshed) != 2 || !slices.Equal(got.Unknown, []string{"odoo:product.template:1", "x"}) ||
		len(got.Failed)+len(got.Missing)+len(got.Unchanged) != 0 {
		t.Fatalf("got %+v", got)
	}
	shown := map[store.Rev]bool{}
	for len(shown) < 2 {
		for _, fragment := range page.next().Fragments {
			shown[fragment.Rev] = true
		}
	}
	told := map[int64]bool{}
	for len(told) < 2 {
		for _, id := range visitor.next() {
			told[id] = true
		}
	}
	for _, r := range got.Refreshed {
		if !shown[r] {
			t.Errorf("%v was not shown: %v", r, shown)
		}
	}
	if !told[9000001] || !told[9000002] {
		t.Errorf("told of %v", told)
	}
	if p, err := f.db.Product(t.Context(), products[0].ID); err != nil || p.Price.String() != "17.50" || p.Stock != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	// Repeating it changes nothing; invalid entries are reported, and valid ones
	// applied.
	got = refresh(1, fmt.Sprintf(`{"products":[{"external_id":%q,"set":{"price":"17.50"}},`+
		`{"external_id":%q,"set":{"price":"-1"}}],"ids":[%d,9999999]}`, names[0], names[1], products[1].ID))
	if !slices.Equal(got.Unchanged, names[:1]) || len(got.Failed) != 1 || got.Failed[0].ExternalID != names[1] ||
		got.Failed[0].Problem.Type != "urn:shelfcast:problem:invalid-input" ||
		len(got.Refreshed) != 1 || got.Refreshed[0].ID != products[1].ID || !slices.Equal(got.Missing, []int64{9999999}) {
		t.Errorf("got %+v", got)
	}
	for _, body := range []string{`{}`, `{"ids":[],"products":[]}`, `{"products":[{"set":{}}]}`} {
		status, _, answer := f.admin(t, 0, "POST", "/api/v1/products:refresh", body, nil)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	// With an idempotency key it runs once.
	key := http.Header{"Idempotency-Key": {"one"}}
	body := fmt.Sprintf(`{"products":[{"external_id":%q,"set":{"stock":5}}]}`, names[0])
	_, _, first := f.admin(t, 0, "POST", "/api/v1/products:refresh", body, key)
	_, headers, second := f.admin(t, 1, "POST", "/api/v1/products:refresh", body, key)
	if headers.Get("Idempotency-Replayed") != "true" ||
		!slices.Equal(parse[refreshed](t, first).Refreshed, parse[refreshed](t, second).Refreshed) {
		t.Errorf("%s, then %s", first, second)
	}
}
