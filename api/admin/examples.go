package admin

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/realtime"
	"shelfcast/store"
)

// Examples of the OpenAPI document.
var (
	exampleTime = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	exampleRev  = store.Rev{ID: 42, Version: 1795433536820389}

	exampleNew = map[string]any{
		"sku": "mug-harbour", "external_id": "odoo:product.template:42",
		"title": "Harbour Mug", "description": "<p>Stoneware.</p>", "vendor": "Kiln & Co",
		"price": "14.50", "currency": "EUR", "stock": 64, "published": true,
	}
	exampleProduct = store.Product{
		Rev: exampleRev, SKU: "mug-harbour", ExternalID: "odoo:product.template:42",
		Title: "Harbour Mug", Description: "<p>Stoneware.</p>", Vendor: "Kiln & Co",
		Price: mustPrice("14.50"), Currency: "EUR", Stock: 64, Published: true, CreatedAt: exampleTime,
	}
	exampleList    = listBody([]listed{{Product: exampleProduct}})
	exampleHistory = map[string]any{"entries": []store.HistoryEntry{{
		Version: exampleRev.Version, MadeAt: exampleTime, Action: store.Edited, Author: "erp", AuthorKey: "token:7",
		Changes: []store.Change{{Field: "price", From: json.RawMessage(`"16.00"`), To: json.RawMessage(`"14.50"`)}},
	}}}

	exampleBatch = map[string]any{"all_or_nothing": false, "edits": []map[string]any{
		{"id": 42, "version": exampleRev.Version, "set": map[string]any{"stock": 3}},
		{"action": "archive", "id": 43, "version": exampleRev.Version},
		{"action": "create", "set": exampleNew},
	}}
	exampleBatchResult = map[string]any{"made": 2, "failed": 0, "results": []batchResult{
		{Status: 200, ID: 42, Version: exampleRev.Version + 1}, {Status: 200, ID: 43, Version: exampleRev.Version + 1},
		{Status: 201, ID: 44, Version: exampleRev.Version + 1},
	}}
	exampleReprice = map[string]any{"filter": map[string]any{"vendor": "Kiln & Co"},
		"percent": "-10", "compare_at_price": "set"}
	exampleRepriced = map[string]any{"dry_run": true, "matched": 12, "changed": 12, "rounding": rounding,
		"pages": realtime.WatcherCounts{Pages: 310, Products: map[int64]int{}, Instances: 2, Complete: true}}
	exampleRefreshed = map[string]any{"refreshed": []store.Rev{exampleRev}, "unchanged": []string{},
		"missing": []int64{43}, "unknown": []string{}, "failed": []refreshFailure{}}
	exampleCensus = realtime.WatcherCounts{Pages: 310,
		Products: map[int64]int{42: 300, 43: 25}, Instances: 2, Complete: true}

	exampleImported = importReport{
		Tally: catalog.Tally{Created: 40, Changed: 2, Unchanged: 57, Failed: 1, Cleaned: 1},
		Lines: []importLine{{Line: 7, SKU: "lamp", Result: catalog.Failed, Error: `Variant Price "free" is not a number`},
			{Line: 9, SKU: "mug-harbour", Result: catalog.Created, ID: 42, Version: exampleRev.Version, Removed: "<script>"}},
	}
	exampleCSV = csvOf(exampleProduct)

	exampleNewToken = map[string]any{"name": "erp", "scopes": []string{store.WriteProducts}, "expires_in_days": 90}
	exampleToken    = store.Token{ID: 7, Name: "erp", Scopes: []string{store.WriteProducts},
		CreatedBy: "admin token", CreatorKey: "root", CreatedAt: exampleTime}
	exampleMadeToken = madeToken{exampleToken, "shelfcast_NOTATOKENNOTATOKENNOTATOKEN"}
	exampleTokens    = map[string]any{"tokens": []store.Token{exampleToken}}
	exampleRevoked   = func() store.Token { t := exampleToken; t.RevokedAt = &exampleTime; return t }()
	exampleCaller    = map[string]any{"name": "erp", "key": "token:7", "scopes": []string{store.WriteProducts}}

	exampleChanges = changesBody{Changes: []store.Rev{exampleRev},
		Next: position{window: window{Clock: exampleRev.Version}.withSeen([]store.Rev{exampleRev})}.String()}
)

func listBody(products []listed) map[string]any {
	return map[string]any{"products": products, "next": cursor(listCursor{store.Cursor{ID: 42}, "id"})}
}

func csvOf(p store.Product) string {
	var file strings.Builder
	w := shopify.NewWriter(&file)
	if err := errors.Join(w.Write(p), w.Flush()); err != nil {
		panic(err)
	}
	return file.String()
}

func mustPrice(s string) store.Price {
	p, err := store.ParsePrice(s)
	if err != nil {
		panic(err)
	}
	return p
}
