package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/shopspring/decimal"

	"shelfcast/realtime"
	"shelfcast/store"
)

func (b *book) bulk() {
	const tag = "Bulk"
	writes(b, entry{
		id: "batch-products", method: http.MethodPost, path: "/products:batch", tag: tag, scope: store.WriteProducts, body: maxBatchBody,
		summary: "Make up to 1,000 edits at once",
		description: "In one transaction, with one result for each edit, in their order. With all_or_nothing one that fails undoes all: 409, and errors names those that failed, with the type of their problem as value. Otherwise those that fail are left out, and each result says so. " +
			"Pages get all of it together, in one frame.",
		errors: []int{http.StatusConflict}, request: exampleBatch, response: exampleBatchResult,
	}, b.admin.batch)
	writes(b, entry{
		id: "reprice-products", method: http.MethodPost, path: "/products:reprice", tag: tag, scope: store.WriteProducts,
		summary: "Change the prices of many products by a percentage",
		description: "Of all products that the filter picks and that are not archived, up to 10,000, in one transaction. New prices are exact and then rounded to the digits of their currency, half a unit away from zero. " +
			"With dry_run=true nothing is changed, and the answer says how many products, and how many open pages, would be.",
		request: exampleReprice, response: exampleRepriced,
	}, b.admin.reprice)
	b.refreshing()
	reads(b, entry{
		id: "count-pages", method: http.MethodGet, path: "/pages", tag: tag, scope: store.ReadProducts,
		summary:     "How many pages show products right now",
		description: "Counted by all instances when it is asked. complete is false if one did not answer in time, or Redis is away.",
		response:    exampleCensus,
	}, b.admin.pages)
}

// batchEdit is one edit of a batch.
type batchEdit struct {
	Action  store.Action `json:"action,omitempty" enum:"create,edit,archive,restore" default:"edit"`
	ID      int64        `json:"id,omitempty" minimum:"1" doc:"Of the product; required but to create one"`
	Version int64        `json:"version,omitempty" minimum:"1" doc:"That its author has seen, as If-Match; required but to create one"`
	Set     *store.Edit  `json:"set,omitempty" doc:"A merge patch; to create one, the product"`
}

func (e batchEdit) edit() store.BatchEdit {
	edit := store.BatchEdit{Action: e.Action, Seen: store.Rev{ID: e.ID, Version: e.Version}}
	if e.Action == "" {
		edit.Action = store.Edited
	}
	if e.Set != nil {
		edit.Edit = *e.Set
	}
	return edit
}

// batchResult is what became of one edit of a batch.
type batchResult struct {
	Status  int              `json:"status" doc:"As of a call of its own: 200, 201, or that of the problem"`
	ID      int64            `json:"id,omitempty"`
	Version int64            `json:"version,omitempty" doc:"The product's now; of a stale edit, the current one"`
	Removed string           `json:"removed,omitempty" doc:"What was taken out of the description, in words"`
	Problem *huma.ErrorModel `json:"problem,omitempty"`
}

type batchAnswer struct {
	Body struct {
		Made    int           `json:"made" doc:"Edits that made a version"`
		Failed  int           `json:"failed"`
		Results []batchResult `json:"results" nullable:"false"`
	}
}

func (a *Admin) batch(ctx context.Context, in *struct {
	Idempotent
	Body struct {
		AllOrNothing bool        `json:"all_or_nothing,omitempty" doc:"One that fails undoes all"`
		Edits        []batchEdit `json:"edits" minItems:"1" maxItems:"1000" nullable:"false"`
	}
}) (*batchAnswer, []store.Rev, error) {
	edits := make([]store.BatchEdit, len(in.Body.Edits))
	var broken []error
	for i, e := range in.Body.Edits {
		edits[i] = e.edit()
		creates := edits[i].Action == store.Created
		if creates != (e.ID == 0) || creates != (e.Version == 0) {
			broken = append(broken, &huma.ErrorDetail{Location: fmt.Sprintf("body.edits[%d]", i), Message: "id and version are required, and to create a product there are none"})
		}
	}
	if len(broken) > 0 {
		return nil, nil, huma.Error422UnprocessableEntity("validation failed", broken...)
	}
	results, err := a.DB.Batch(ctx, edits, in.Body.AllOrNothing)
	if err != nil {
		return nil, nil, err
	}
	out, news := &batchAnswer{}, []store.Rev(nil)
	out.Body.Results = make([]batchResult, len(results))
	for i, r := range results {
		said := &out.Body.Results[i]
		said.Status, said.ID, said.Version = http.StatusOK, r.Product.ID, r.Product.Version
		said.Removed = a.DB.Removed(edits[i].Edit)
		switch {
		case r.Err != nil:
			out.Body.Failed++
			*said = failedResult(edits[i], r.Err)
		case r.Changed:
			out.Body.Made++
			news = append(news, r.Product.Rev)
			if edits[i].Action == store.Created {
				said.Status = http.StatusCreated
			}
		}
	}
	return out, news, nil
}

func failedResult(e store.BatchEdit, err error) batchResult {
	p, headers, _ := problem(err)
	r := batchResult{Status: p.Status, ID: e.Seen.ID, Problem: p}
	if tag := headers.Get("ETag"); tag != "" {
		_, _ = fmt.Sscanf(tag, `"%d"`, &r.Version)
	}
	return r
}

// rounding is what store.Repricing does.
const rounding = "half-away-from-zero"

type repriceAnswer struct {
	Body struct {
		DryRun   bool            `json:"dry_run"`
		Matched  int             `json:"matched" doc:"Products that the filter picks"`
		Changed  int             `json:"changed" doc:"Of these, those whose price becomes another"`
		Rounding string          `json:"rounding" enum:"half-away-from-zero" doc:"To the digits of each currency"`
		Pages    realtime.Census `json:"pages" doc:"Open pages that show one of those"`
	}
}

func (a *Admin) reprice(ctx context.Context, in *struct {
	Idempotent
	DryRun bool `query:"dry_run" doc:"Change nothing, and say what would change"`
	Body   struct {
		Filter struct {
			SKU          string `json:"sku,omitempty" maxLength:"190"`
			Vendor       string `json:"vendor,omitempty" maxLength:"255"`
			Text         string `json:"q,omitempty" maxLength:"255" doc:"Text in the title or the SKU"`
			Published    *bool  `json:"published,omitempty"`
			ChangedSince int64  `json:"changed_since,omitempty" minimum:"0"`
		} `json:"filter" doc:"As of a list; empty picks all"`
		Percent   percent         `json:"percent" doc:"To add: -10 takes a tenth off"`
		CompareAt store.CompareAt `json:"compare_at_price,omitempty" enum:"keep,set,clear" default:"keep" doc:"The price before the sale: as it is, set to the price of now where there is none, or none"`
	}
}) (*repriceAnswer, []store.Rev, error) {
	f := in.Body.Filter
	filter := store.Filter{SKU: f.SKU, Vendor: f.Vendor, Text: f.Text, Published: f.Published, ChangedAfter: f.ChangedSince}
	result, err := a.DB.Reprice(ctx, filter, store.Repricing{Percent: in.Body.Percent.Decimal, CompareAt: in.Body.CompareAt}, in.DryRun)
	if err != nil {
		return nil, nil, err
	}
	out := &repriceAnswer{}
	out.Body.DryRun, out.Body.Matched, out.Body.Changed = in.DryRun, result.Matched, len(result.Changed)
	out.Body.Rounding = rounding
	out.Body.Pages = a.census(ctx, idsOf(result.Changed))
	out.Body.Pages.Products = map[int64]int{} // there may be thousands
	if in.DryRun {
		return out, nil, nil
	}
	return out, result.Changed, nil
}

// percent is an exact decimal number, as a string or as a number.
type percent struct{ decimal.Decimal }

// UnmarshalJSON takes what a price may be.
func (p *percent) UnmarshalJSON(b []byte) error {
	var number store.Price
	err := number.UnmarshalJSON(b)
	p.Decimal = number.Decimal
	return err
}

// Schema has either form.
func (percent) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Pattern: `^[+-]?[0-9]{1,4}(\.[0-9]{1,4})?$`}, {Type: huma.TypeNumber},
	}, Examples: []any{"-12.5"}}
}

type pagesAnswer struct {
	Body realtime.Census
}

func (a *Admin) pages(ctx context.Context, in *struct {
	IDs []int64 `query:"ids" required:"true" minItems:"1" maxItems:"500" doc:"Of products" example:"[42,43]"`
}) (*pagesAnswer, error) {
	return &pagesAnswer{a.census(ctx, in.IDs)}, nil
}

// census has an entry for no product but those that a page shows.
func (a *Admin) census(ctx context.Context, ids []int64) realtime.Census {
	c := a.Bus.Census(ctx, ids)
	if c.Products == nil {
		c.Products = map[int64]int{}
	}
	return c
}

func idsOf(revs []store.Rev) []int64 {
	ids := make([]int64, len(revs))
	for i, r := range revs {
		ids[i] = r.ID
	}
	return ids
}
