package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/api/problem"
	"shelfcast/store"
)

const productPath = "/products/{id}"

// ProductID is embedded in the input of operations on one product.
type ProductID struct {
	ID int64 `path:"id" minimum:"1" example:"42"`
}

// Seen is a product, and the version of it that the author of a change has seen. It is exported because Huma fills no
// other fields.
type Seen struct {
	ProductID
	Idempotent
	IfMatch string `header:"If-Match" doc:"The ETag of the version that the author has seen" example:"\"1795433536820389\""`
	Prefer  string `header:"Prefer" doc:"return=minimal leaves out the product: 204" example:"return=minimal"`
}

// rev returns the version that If-Match names.
func (s Seen) rev() (store.Rev, error) {
	if s.IfMatch == "" {
		return store.Rev{}, huma.Error428PreconditionRequired(
			"If-Match is required: the ETag of the version that you have seen")
	}
	version, err := strconv.ParseInt(strings.Trim(s.IfMatch, `"`), 10, 64)
	if err != nil {
		return store.Rev{}, huma.Error400BadRequest("If-Match is not an ETag of a product")
	}
	return store.Rev{ID: s.ID, Version: version}, nil
}

type productAnswer struct {
	ETag     string `header:"ETag" doc:"The product's version"`
	Location string `header:"Location"`
	Body     changedProduct
}

type changedProduct struct {
	store.Product
	Removed string `json:"removed,omitempty" doc:"HTML removed from the description: tags, attributes and styles that are not allowed" example:"<script>, <p onclick> (2)"`
}

func (r *registry) products() {
	const tag, conditional = "Products", "If-Match is the ETag of the version that the author has seen."
	stale := []int{http.StatusNotFound, http.StatusPreconditionFailed,
		http.StatusPreconditionRequired, http.StatusConflict}
	registerWrite(r, operation{
		id: "create-product", method: http.MethodPost, path: "/products",
		tag: tag, scope: store.WriteProducts, status: http.StatusCreated,
		summary: "Create a product",
		description: "The product is unpublished unless the body says otherwise. " +
			"Descriptions are HTML and sanitised; removed lists what was removed.",
		errors: []int{http.StatusConflict}, request: exampleNew, response: exampleProduct, minimal: true,
	}, r.admin.create)
	registerRead(r, operation{
		id: "list-products", method: http.MethodGet, path: "/products", tag: tag, scope: store.ReadProducts,
		summary:     "List products",
		description: "next is the cursor of the following page. A cursor is valid only with the same sort.",
		response:    exampleList,
	}, r.admin.list)
	registerRead(r, operation{
		id: "get-product", method: http.MethodGet, path: productPath, tag: tag, scope: store.ReadProducts,
		summary: "Get a product", description: "With If-None-Match the answer is 304 while the product is at that version.",
		errors: []int{http.StatusNotFound}, response: exampleProduct,
		responses: map[string]*huma.Response{"304": {Description: "The product is at the version that If-None-Match names"}},
	}, r.admin.get)
	registerWrite(r, operation{
		id: "replace-product", method: http.MethodPut, path: productPath, tag: tag, scope: store.WriteProducts,
		summary:     "Replace a product",
		description: "Fields missing from the body are cleared: no description, no stock, unpublished. " + conditional,
		errors:      stale, request: exampleNew, response: exampleProduct, minimal: true,
	}, r.admin.replace)
	registerWrite(r, operation{
		id: "edit-product", method: http.MethodPatch, path: productPath, tag: tag, scope: store.WriteProducts,
		summary: "Edit a product",
		description: "A merge patch (RFC 7396): sets the given fields, leaves the others alone, " +
			"and clears fields that are null. An edit that changes nothing makes no new version. " + conditional,
		errors: stale, request: map[string]any{"price": "17.50", "stock": 3, "compare_at_price": nil},
		response: exampleProduct, patch: true, minimal: true,
	}, r.admin.edit)
	for _, act := range []struct {
		name, summary string
		do            func(context.Context, store.Rev) (store.Product, error)
	}{
		{"archive", "Archive a product; nothing is deleted", r.admin.DB.Archive},
		{"restore", "Restore an archived product", r.admin.DB.Restore},
		{"publish", "Show a product to shoppers", r.admin.setPublished(true)},
		{"unpublish", "Hide a product from shoppers", r.admin.setPublished(false)},
	} {
		registerWrite(r, operation{
			id: act.name + "-product", method: http.MethodPost,
			path: productPath + "/" + act.name, tag: tag, scope: store.WriteProducts,
			summary: act.summary, description: conditional, errors: stale, response: exampleProduct, minimal: true,
		}, func(ctx context.Context, in *struct{ Seen }) (*productAnswer, []store.Rev, error) {
			return r.admin.change(in.Seen, func(seen store.Rev) (store.Product, error) { return act.do(ctx, seen) })
		})
	}
	registerRead(r, operation{
		id: "product-history", method: http.MethodGet, path: productPath + "/history", tag: tag, scope: store.ReadProducts,
		summary: "List a product's change history, newest first",
		description: "Entries are written in the same transaction as the change. " +
			"Changes that other programs make with SQL have no entry.",
		errors: []int{http.StatusNotFound}, response: exampleHistory,
	}, r.admin.history)
}

func (a *App) create(ctx context.Context, in *struct {
	Idempotent
	Prefer string `header:"Prefer" doc:"return=minimal leaves out the product: 204" example:"return=minimal"`
	Body   store.Edit
}) (*productAnswer, []store.Rev, error) {
	p, err := a.DB.Create(ctx, in.Body)
	if err != nil {
		return nil, nil, err
	}
	return &productAnswer{ETag: problem.ETag(p.Rev), Location: apiPath + "/products/" + strconv.FormatInt(p.ID, 10),
		Body: changedProduct{p, a.DB.RemovedHTML(in.Body)}}, []store.Rev{p.Rev}, nil
}

type getAnswer struct {
	Status int
	ETag   string         `header:"ETag" doc:"The product's version"`
	Body   *store.Product `nullable:"false"`
}

func (a *App) get(ctx context.Context, in *struct {
	ProductID
	IfNoneMatch []string `header:"If-None-Match" doc:"ETags that the caller has"`
}) (*getAnswer, error) {
	p, err := a.DB.Product(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &getAnswer{Status: http.StatusOK, ETag: problem.ETag(p.Rev), Body: &p}
	has := func(tag string) bool {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/") // compared weakly, RFC 9110 13.1.2
		return tag == out.ETag || tag == "*"
	}
	if slices.ContainsFunc(in.IfNoneMatch, has) {
		out.Status, out.Body = http.StatusNotModified, nil
	}
	return out, nil
}

func (a *App) replace(ctx context.Context, in *struct {
	Seen
	Body store.Edit
}) (*productAnswer, []store.Rev, error) {
	return a.changeTo(in.Body, in.Seen,
		func(seen store.Rev) (store.Product, error) { return a.DB.Replace(ctx, seen, in.Body) })
}

func (a *App) edit(ctx context.Context, in *struct {
	Seen
	Body store.Edit
}) (*productAnswer, []store.Rev, error) {
	return a.changeTo(in.Body, in.Seen,
		func(seen store.Rev) (store.Product, error) { return a.DB.Update(ctx, seen, in.Body) })
}

// changeTo is change for an edit e. The response has the report of HTML removed from its description.
func (a *App) changeTo(e store.Edit, s Seen,
	edit func(store.Rev) (store.Product, error)) (*productAnswer, []store.Rev, error) {
	out, committed, err := a.change(s, edit)
	if err == nil {
		out.Body.Removed = a.DB.RemovedHTML(e)
	}
	return out, committed, err
}

func (a *App) setPublished(published bool) func(context.Context, store.Rev) (store.Product, error) {
	return func(ctx context.Context, seen store.Rev) (store.Product, error) {
		return a.DB.Update(ctx, seen, store.Edit{Published: &published})
	}
}

// change makes an edit. It commits a version unless the product is already as the edit wants it.
func (a *App) change(s Seen, edit func(store.Rev) (store.Product, error)) (*productAnswer, []store.Rev, error) {
	seen, err := s.rev()
	if err != nil {
		return nil, nil, err
	}
	p, err := edit(seen)
	if err != nil {
		return nil, nil, err
	}
	out := &productAnswer{ETag: problem.ETag(p.Rev), Body: changedProduct{Product: p}}
	if p.Rev == seen {
		return out, nil, nil
	}
	return out, []store.Rev{p.Rev}, nil
}

type historyAnswer struct {
	Body struct {
		Entries []store.HistoryEntry `json:"entries" nullable:"false"`
		Next    string               `json:"next,omitempty" doc:"The cursor of the next page; absent on the last"`
	}
}

func (a *App) history(ctx context.Context, in *struct {
	ProductID
	Cursor string `query:"cursor" doc:"next of the previous page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Maximum number of entries; fewer if they are long"`
}) (*historyAnswer, error) {
	var before int64
	if err := parseCursor(in.Cursor, &before); err != nil {
		return nil, err
	}
	entries, more, err := a.DB.History(ctx, in.ID, before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &historyAnswer{}
	if more {
		out.Body.Next = cursor(entries[len(entries)-1].Version)
	}
	out.Body.Entries = append([]store.HistoryEntry{}, entries...) // [] instead of null
	return out, nil
}

// cursor returns v as an opaque text, so that clients do not rely on what is in it.
func cursor(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // v consists of numbers and text
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseCursor decodes what cursor returns into v. It leaves v alone if s is "".
func parseCursor(s string, v any) error {
	if s == "" {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return huma.Error400BadRequest("the cursor is invalid")
	}
	return nil
}
