package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

// refreshItem is a product by what another system calls it.
type refreshItem struct {
	ExternalID string      `json:"external_id" minLength:"1" maxLength:"190" example:"odoo:product.template:42"`
	Set        *store.Edit `json:"set,omitempty" doc:"What the other system has of it now, as a merge patch; without it the product gets a new version as it is"`
}

type refreshBody struct {
	IDs      []int64       `json:"ids,omitempty" maxItems:"1000" nullable:"false" minimum:"1" doc:"Of products that get a new version as they are"`
	Products []refreshItem `json:"products,omitempty" maxItems:"1000" nullable:"false" doc:"By external id"`
}

type refreshAnswer struct {
	Body struct {
		Refreshed []store.Rev      `json:"refreshed" nullable:"false" doc:"Products with a new version"`
		Unchanged []string         `json:"unchanged" nullable:"false" doc:"External ids of products that are as set says already"`
		Missing   []int64          `json:"missing" nullable:"false" doc:"Ids of no product"`
		Unknown   []string         `json:"unknown" nullable:"false" doc:"External ids of no product"`
		Cleaned   []refreshCleaned `json:"cleaned,omitempty" doc:"Of the others, those whose description lost something"`
		Failed    []refreshFailure `json:"failed" nullable:"false" doc:"Products that cannot be as set says"`
	}
}

type refreshCleaned struct {
	ExternalID string `json:"external_id"`
	Removed    string `json:"removed" doc:"What was taken out of the description, in words"`
}

type refreshFailure struct {
	ExternalID string           `json:"external_id"`
	Problem    *huma.ErrorModel `json:"problem"`
}

func (a *Admin) refresh(ctx context.Context, in *struct {
	Idempotent
	Body refreshBody
}) (*refreshAnswer, []store.Rev, error) {
	if n := len(in.Body.IDs) + len(in.Body.Products); n == 0 || n > store.MaxBatch {
		return nil, nil, huma.Error422UnprocessableEntity("there are to be 1 to 1,000 of ids and products")
	}
	out := &refreshAnswer{}
	body := &out.Body
	body.Refreshed, body.Unchanged, body.Missing, body.Unknown, body.Failed = []store.Rev{}, []string{}, []int64{}, []string{}, []refreshFailure{}
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

// overtaken is how often a product is tried that somebody else edits just then:
// whoever calls is not to have seen a version, as the other system's word is the
// last.
const overtaken = 5

// setAll makes the edits that come by external id, and has the ids of those
// products that come without one.
func (a *Admin) setAll(ctx context.Context, items []refreshItem, out *refreshAnswer) (plain []int64, err error) {
	for try := 1; len(items) > 0; try++ {
		names := make([]string, len(items))
		for i, item := range items {
			names[i] = item.ExternalID
		}
		found, err := a.DB.External(ctx, names)
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
			if removed := a.DB.Removed(edits[i].Edit); r.Err == nil && removed != "" {
				out.Body.Cleaned = append(out.Body.Cleaned, refreshCleaned{edited[i].ExternalID, removed})
			}
			switch name := edited[i].ExternalID; {
			case errors.Is(r.Err, store.ErrConflict) && try < overtaken:
				again = append(again, edited[i])
			case r.Err != nil:
				p, _, _ := problem(r.Err)
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

func (b *book) refreshing() {
	writes(b, entry{
		id: "refresh-products", method: http.MethodPost, path: "/products:refresh", tag: "Bulk", scope: store.WriteProducts, body: maxBatchBody,
		summary: "Give products a new version, without changing them or as another system has them",
		description: "For programs that write to the database themselves: every page that shows one of ids gets it anew. And for an ERP, such as Odoo, that is where products are edited: it names them by external id and says what it has of them, whatever version is here. " +
			"Products of which that is true already are left at their version.",
		request:  map[string]any{"ids": []int64{43}, "products": []map[string]any{{"external_id": "odoo:product.template:42", "set": map[string]any{"price": "17.50"}}}},
		response: exampleRefreshed,
	}, b.admin.refresh)
}
