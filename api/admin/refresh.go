package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/api/problem"
	"shelfcast/store"
)

// refreshItem is a product by the name that another system has for it.
type refreshItem struct {
	ExternalID string      `json:"external_id" minLength:"1" maxLength:"190" example:"odoo:product.template:42"`
	Set        *store.Edit `json:"set,omitempty" doc:"The product as the other system has it now, as a merge patch; without it the product gets a new version unchanged"`
}

type refreshBody struct {
	IDs      []int64       `json:"ids,omitempty" maxItems:"1000" nullable:"false" minimum:"1" doc:"Products that get a new version unchanged"`
	Products []refreshItem `json:"products,omitempty" maxItems:"1000" nullable:"false" doc:"By external id"`
}

type refreshAnswer struct {
	Body struct {
		Refreshed []store.Rev      `json:"refreshed" nullable:"false" doc:"Products with a new version"`
		Unchanged []string         `json:"unchanged" nullable:"false" doc:"External ids of products that already were as set says"`
		Missing   []int64          `json:"missing" nullable:"false" doc:"Ids that no product has"`
		Unknown   []string         `json:"unknown" nullable:"false" doc:"External ids that no product has"`
		Cleaned   []refreshCleaned `json:"cleaned,omitempty" doc:"Products whose description lost HTML"`
		Failed    []refreshFailure `json:"failed" nullable:"false" doc:"Products whose set is invalid"`
	}
}

type refreshCleaned struct {
	ExternalID string `json:"external_id"`
	Removed    string `json:"removed" doc:"HTML removed from the description"`
}

type refreshFailure struct {
	ExternalID string           `json:"external_id"`
	Problem    *huma.ErrorModel `json:"problem"`
}

func (a *App) refresh(ctx context.Context, in *struct {
	Idempotent
	Body refreshBody
}) (*refreshAnswer, []store.Rev, error) {
	if n := len(in.Body.IDs) + len(in.Body.Products); n == 0 || n > store.MaxBatch {
		return nil, nil, huma.Error422UnprocessableEntity("ids and products must have 1 to 1,000 entries together")
	}
	out := &refreshAnswer{}
	body := &out.Body
	body.Refreshed, body.Unchanged, body.Missing = []store.Rev{}, []string{}, []int64{}
	body.Unknown, body.Failed = []string{}, []refreshFailure{}
	plain, err := a.setAll(ctx, in.Body.Products, out)
	if err != nil {
		return nil, nil, err
	}
	if ids := append(plain, in.Body.IDs...); len(ids) > 0 {
		made, missing, err := a.DB.Refresh(ctx, ids)
		if err != nil {
			return nil, nil, err
		}
		body.Refreshed = append(body.Refreshed, made...)
		body.Missing = append(body.Missing, missing...)
	}
	return out, body.Refreshed, nil
}

// maxConflictRetries limits the attempts to edit a product that is edited concurrently: the caller need not have seen a
// version, since the other system takes precedence.
const maxConflictRetries = 5

// setAll makes the edits of items by external id, and returns the ids of the products that have no edit.
func (a *App) setAll(ctx context.Context, items []refreshItem, out *refreshAnswer) (plain []int64, err error) {
	for try := 1; len(items) > 0; try++ {
		names := make([]string, len(items))
		for i, item := range items {
			names[i] = item.ExternalID
		}
		found, err := a.DB.RevsByExternalID(ctx, names)
		if err != nil {
			return nil, err
		}
		var edits []store.BatchEdit
		var edited, again []refreshItem
		for _, item := range items {
			switch seen, ok := found[item.ExternalID]; {
			case !ok:
				out.Body.Unknown = append(out.Body.Unknown, item.ExternalID)
			case item.Set == nil:
				plain = append(plain, seen.ID)
			default:
				edits = append(edits, store.BatchEdit{Action: store.Edited, Seen: seen, Edit: *item.Set})
				edited = append(edited, item)
			}
		}
		if len(edits) == 0 {
			break
		}
		results, err := a.DB.Batch(ctx, edits, false)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			if removed := a.DB.RemovedHTML(edits[i].Edit); r.Err == nil && removed != "" {
				out.Body.Cleaned = append(out.Body.Cleaned, refreshCleaned{edited[i].ExternalID, removed})
			}
			switch name := edited[i].ExternalID; {
			case errors.Is(r.Err, store.ErrConflict) && try < maxConflictRetries:
				again = append(again, edited[i])
			case r.Err != nil:
				p, _, _ := problem.Of(r.Err)
				out.Body.Failed = append(out.Body.Failed, refreshFailure{name, p})
			case r.Changed:
				out.Body.Refreshed = append(out.Body.Refreshed, r.Product.Rev)
			default:
				out.Body.Unchanged = append(out.Body.Unchanged, name)
			}
		}
		items = again
	}
	return plain, nil
}

func (r *registry) refresh() {
	registerWrite(r, operation{
		id: "refresh-products", method: http.MethodPost, path: "/products:refresh",
		tag: "Bulk", scope: store.WriteProducts, maxBody: maxBatchBody,
		summary: "Give products a new version, unchanged or as another system has them",
		description: "For programs that write to the database themselves: every page that shows one of ids receives it " +
			"again. Also for an ERP, such as Odoo, in which products are edited: it names them by external id and " +
			"sends their current fields, regardless of the version here. " +
			"Products that already are so keep their version.",
		request: map[string]any{"ids": []int64{43}, "products": []map[string]any{
			{"external_id": "odoo:product.template:42", "set": map[string]any{"price": "17.50"}}}},
		response: exampleRefreshed,
	}, r.admin.refresh)
}
