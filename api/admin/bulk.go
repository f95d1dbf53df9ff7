package admin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/shopspring/decimal"

	"shelfcast/api/problem"
	"shelfcast/realtime"
	"shelfcast/store"
)

func (r *registry) bulk() {
	const tag = "Bulk"
	registerWrite(r, operation{
		id: "batch-products", method: http.MethodPost, path: "/products:batch",
		tag: tag, scope: store.WriteProducts, maxBody: maxBatchBody,
		summary: "Make up to 1,000 edits at once",
		description: "All edits run in one transaction. The answer has one result per edit, in the same order. With " +
			"all_or_nothing one failed edit undoes all: the answer is 409, and errors names the failed edits, with " +
			"the type of each problem as value. Otherwise failed edits are left out, " +
			"and their results have the status and the problem. " +
			"Pages receive all changes together, in one frame.",
		errors: []int{http.StatusConflict}, request: exampleBatch, response: exampleBatchResult,
	}, r.admin.batch)
	registerWrite(r, operation{
		id: "reprice-products", method: http.MethodPost, path: "/products:reprice", tag: tag, scope: store.WriteProducts,
		summary: "Change the prices of many products by a percentage",
		description: "Changes all products that match the filter and are not archived, up to 10,000, in one transaction. " +
			"New prices are computed exactly and rounded to the digits of their currency, halves away from zero. " +
			"With dry_run=true nothing changes, and the answer says how many products and open pages would be affected.",
		request: exampleReprice, response: exampleRepriced,
	}, r.admin.reprice)
	r.refresh()
	registerRead(r, operation{
		id: "count-pages", method: http.MethodGet, path: "/pages", tag: tag, scope: store.ReadProducts,
		summary: "Count the open pages that show products",
		description: "Every instance is asked for its count. complete is false " +
			"if one did not answer in time, or if Redis is unavailable.",
		response: exampleCensus,
	}, r.admin.pages)
}

// batchEdit is one edit of a batch.
type batchEdit struct {
	Action  store.Action `json:"action,omitempty" enum:"create,edit,archive,restore" default:"edit"`
	ID      int64        `json:"id,omitempty" minimum:"1" doc:"The product; required except to create one"`
	Version int64        `json:"version,omitempty" minimum:"1" doc:"The version that the author has seen, as in If-Match; required except to create one"`
	Set     *store.Edit  `json:"set,omitempty" doc:"A merge patch, or the product to create"`
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

// batchResult is the result of one edit of a batch.
type batchResult struct {
	Status  int              `json:"status" doc:"The status that a single call would have: 200, 201, or that of the problem"`
	ID      int64            `json:"id,omitempty"`
	Version int64            `json:"version,omitempty" doc:"The product's version after the edit; for a stale edit, the current one"`
	Removed string           `json:"removed,omitempty" doc:"HTML removed from the description"`
	Problem *huma.ErrorModel `json:"problem,omitempty"`
}

type batchAnswer struct {
	Body struct {
		Made    int           `json:"made" doc:"Edits that made a new version"`
		Failed  int           `json:"failed"`
		Results []batchResult `json:"results" nullable:"false"`
	}
}

func (a *App) batch(ctx context.Context, in *struct {
	Idempotent
	Body struct {
		AllOrNothing bool        `json:"all_or_nothing,omitempty" doc:"One failed edit undoes all"`
		Edits        []batchEdit `json:"edits" minItems:"1" maxItems:"1000" nullable:"false"`
	}
}) (*batchAnswer, []store.Rev, error) {
	edits := make([]store.BatchEdit, len(in.Body.Edits))
	var broken []error
	for i, e := range in.Body.Edits {
		edits[i] = e.edit()
		creates := edits[i].Action == store.Created
		if creates != (e.ID == 0) || creates != (e.Version == 0) {
			broken = append(broken, &huma.ErrorDetail{Location: fmt.Sprintf("body.edits[%d]", i),
				Message: "id and version are required, except to create a product, which has none"})
		}
	}
	if len(broken) > 0 {
		return nil, nil, huma.Error422UnprocessableEntity("validation failed", broken...)
	}
	results, err := a.DB.Batch(ctx, edits, in.Body.AllOrNothing)
	if err != nil {
		return nil, nil, err
	}
	out, committed := &batchAnswer{}, []store.Rev(nil)
	out.Body.Results = make([]batchResult, len(results))
	for i, r := range results {
		result := &out.Body.Results[i]
		result.Status, result.ID, result.Version = http.StatusOK, r.Product.ID, r.Product.Version
		result.Removed = a.DB.RemovedHTML(edits[i].Edit)
		switch {
		case r.Err != nil:
			out.Body.Failed++
			*result = failedResult(edits[i], r.Err)
		case r.Changed:
			out.Body.Made++
			committed = append(committed, r.Product.Rev)
			if edits[i].Action == store.Created {
				result.Status = http.StatusCreated
			}
		}
	}
	return out, committed, nil
}

func failedResult(e store.BatchEdit, err error) batchResult {
	p, headers, _ := problem.Of(err)
	r := batchResult{Status: p.Status, ID: e.Seen.ID, Problem: p}
	if tag := headers.Get("ETag"); tag != "" {
		_, _ = fmt.Sscanf(tag, `"%d"`, &r.Version)
	}
	return r
}

// rounding names how store.Repricing rounds.
const rounding = "half-away-from-zero"

type repriceAnswer struct {
	Body struct {
		DryRun   bool                   `json:"dry_run"`
		Matched  int                    `json:"matched" doc:"Products that match the filter"`
		Changed  int                    `json:"changed" doc:"Matched products whose price changes"`
		Rounding string                 `json:"rounding" enum:"half-away-from-zero" doc:"To the digits of each currency"`
		Pages    realtime.WatcherCounts `json:"pages" doc:"Open pages that show a changed product"`
	}
}

func (a *App) reprice(ctx context.Context, in *struct {
	Idempotent
	DryRun bool `query:"dry_run" doc:"Change nothing, and report what would change"`
	Body   struct {
		Filter struct {
			SKU          string `json:"sku,omitempty" maxLength:"190"`
			Vendor       string `json:"vendor,omitempty" maxLength:"255"`
			Text         string `json:"q,omitempty" maxLength:"255" doc:"Text in the title or the SKU"`
			Published    *bool  `json:"published,omitempty"`
			ChangedSince int64  `json:"changed_since,omitempty" minimum:"0"`
		} `json:"filter" doc:"As for a list; empty matches all"`
		Percent   percent         `json:"percent" doc:"Percentage to add: -10 lowers prices by a tenth"`
		CompareAt store.CompareAt `json:"compare_at_price,omitempty" enum:"keep,set,clear" default:"keep" doc:"The price before the sale: keep it, set it to the current price where there is none, or clear it"`
	}
}) (*repriceAnswer, []store.Rev, error) {
	f := in.Body.Filter
	filter := store.Filter{SKU: f.SKU, Vendor: f.Vendor, Text: f.Text,
		Published: f.Published, ChangedAfter: f.ChangedSince}
	result, err := a.DB.Reprice(ctx, filter,
		store.Repricing{Percent: in.Body.Percent.Decimal, CompareAt: in.Body.CompareAt}, in.DryRun)
	if err != nil {
		return nil, nil, err
	}
	out := &repriceAnswer{}
	out.Body.DryRun, out.Body.Matched, out.Body.Changed = in.DryRun, result.Matched, len(result.Changed)
	out.Body.Rounding = rounding
	out.Body.Pages = a.countWatchers(ctx, idsOf(result.Changed))
	out.Body.Pages.Products = map[int64]int{} // there may be thousands of them
	if in.DryRun {
		return out, nil, nil
	}
	return out, result.Changed, nil
}

// percent is an exact decimal number, in JSON a string or a number.
type percent struct{ decimal.Decimal }

// UnmarshalJSON accepts what a price may be.
func (p *percent) UnmarshalJSON(b []byte) error {
	var number store.Price
	err := number.UnmarshalJSON(b)
	p.Decimal = number.Decimal
	return err
}

// Schema accepts both forms.
func (percent) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Pattern: `^[+-]?[0-9]{1,4}(\.[0-9]{1,4})?$`}, {Type: huma.TypeNumber},
	}, Examples: []any{"-12.5"}}
}

type pagesAnswer struct {
	Body realtime.WatcherCounts
}

func (a *App) pages(ctx context.Context, in *struct {
	IDs []int64 `query:"ids" required:"true" minItems:"1" maxItems:"500" doc:"Product ids" example:"[42,43]"`
}) (*pagesAnswer, error) {
	return &pagesAnswer{a.countWatchers(ctx, in.IDs)}, nil
}

// countWatchers returns how many pages show the products. Products that no page shows have no entry.
func (a *App) countWatchers(ctx context.Context, ids []int64) realtime.WatcherCounts {
	c := a.Fleet.CountWatchers(ctx, ids)
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
