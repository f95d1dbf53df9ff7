package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

const productPath = "/products/{id}"

// ProductID is a part of the input of calls that are of one product.
type ProductID struct {
	ID int64 `path:"id" minimum:"1" example:"42"`
}

// Seen is a product and the version of it that the author of a change knows. It
// has a name to see because Huma fills no others.
type Seen struct {
	ProductID
	Idempotent
	IfMatch string `header:"If-Match" doc:"The product's ETag, as its author has seen it" example:"\"1795433536820389\""`
	Prefer  string `header:"Prefer" doc:"return=minimal leaves out the product: 204" example:"return=minimal"`
}

// rev is the version that If-Match names.
func (s Seen) rev() (store.Rev, error) {
	if s.IfMatch == "" {
		return store.Rev{}, huma.Error428PreconditionRequired("If-Match is required: the ETag of the version that you have seen")
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
	Removed string `json:"removed,omitempty" doc:"What was taken out of the description, in words: tags, attributes and styles that it may not have" example:"<script>, <p onclick> (2)"`
}

func (b *book) products() {
	const tag, conditional = "Products", "If-Match is the ETag of the version that the author has seen."
	stale := []int{http.StatusNotFound, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusConflict}
	writes(b, entry{
		id: "create-product", method: http.MethodPost, path: "/products", tag: tag, scope: store.WriteProducts, status: http.StatusCreated,
		summary: "Create a product", description: "Unpublished unless it says so. Descriptions are HTML, and sanitised: removed says what was taken out.",
		errors: []int{http.StatusConflict}, request: exampleNew, response: exampleProduct, minimal: true,
	}, b.admin.create)
	reads(b, entry{
		id: "list-products", method: http.MethodGet, path: "/products", tag: tag, scope: store.ReadProducts,
		summary: "List products", description: "Page by page: next is the cursor of the page that follows. The cursor belongs to the order of the list.",
		response: exampleList,
	}, b.admin.list)
	reads(b, entry{
		id: "get-product", method: http.MethodGet, path: productPath, tag: tag, scope: store.ReadProducts,
		summary: "Get a product", description: "With If-None-Match it is a 304 as long as the product is at that version.",
		errors: []int{http.StatusNotFound}, response: exampleProduct,
		responses: map[string]*huma.Response{"304": {Description: "It is at the version that If-None-Match names"}},
	}, b.admin.get)
	writes(b, entry{
		id: "replace-product", method: http.MethodPut, path: productPath, tag: tag, scope: store.WriteProducts,
		summary: "Replace a product", description: "What the body leaves out is taken away: no description, no stock, unpublished. " + conditional,
		errors: stale, request: exampleNew, response: exampleProduct, minimal: true,
	}, b.admin.replace)
	writes(b, entry{
		id: "edit-product", method: http.MethodPatch, path: productPath, tag: tag, scope: store.WriteProducts,
		summary: "Edit a product", description: "A merge patch (RFC 7396): changes the fields given and leaves the others alone; null takes away. An edit that changes nothing makes no version. " + conditional,
		errors: stale, request: map[string]any{"price": "17.50", "stock": 3, "compare_at_price": nil}, response: exampleProduct, patch: true, minimal: true,
	}, b.admin.edit)
	for _, act := range []struct {
		name, summary string
		do            func(context.Context, store.Rev) (store.Product, error)
	}{
		{"archive", "Take a product out of the shop; nothing is deleted", b.admin.DB.Archive},
		{"restore", "Take an archived product back into the shop", b.admin.DB.Restore},
		{"publish", "Show a product to shoppers", b.admin.publish(true)},
		{"unpublish", "Hide a product from shoppers", b.admin.publish(false)},
	} {
		writes(b, entry{
			id: act.name + "-product", method: http.MethodPost, path: productPath + "/" + act.name, tag: tag, scope: store.WriteProducts,
			summary: act.summary, description: conditional, errors: stale, response: exampleProduct, minimal: true,
		}, func(ctx context.Context, in *struct{ Seen }) (*productAnswer, []store.Rev, error) {
			return b.admin.change(in.Seen, func(seen store.Rev) (store.Product, error) { return act.do(ctx, seen) })
		})
	}
	reads(b, entry{
		id: "product-history", method: http.MethodGet, path: productPath + "/history", tag: tag, scope: store.ReadProducts,
		summary:     "Who changed what of a product, newest first",
		description: "Written together with the change itself. What another program writes with plain SQL has no entry.",
		errors:      []int{http.StatusNotFound}, response: exampleHistory,
	}, b.admin.history)
}

func (a *Admin) create(ctx context.Context, in *struct {
	Idempotent
	Prefer string `header:"Prefer" doc:"return=minimal leaves out the product: 204" example:"return=minimal"`
	Body   store.Edit
}) (*productAnswer, []store.Rev, error) {
	p, err := a.DB.Create(ctx, in.Body)
	if err != nil {
		return nil, nil, err
	}
	return &productAnswer{ETag: etag(p.Rev), Location: apiPath + "/products/" + strconv.FormatInt(p.ID, 10), Body: changedProduct{p, a.DB.Removed(in.Body)}}, []store.Rev{p.Rev}, nil
}

type getAnswer struct {
	Status int
	ETag   string         `header:"ETag" doc:"The product's version"`
	Body   *store.Product `nullable:"false"`
}

func (a *Admin) get(ctx context.Context, in *struct {
	ProductID
	IfNoneMatch []string `header:"If-None-Match" doc:"ETags that the caller has"`
}) (*getAnswer, error) {
	p, err := a.DB.Product(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &getAnswer{Status: http.StatusOK, ETag: etag(p.Rev), Body: &p}
	has := func(tag string) bool {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/") // compared weakly, RFC 9110 13.1.2
		return tag == out.ETag || tag == "*"
	}
	if slices.ContainsFunc(in.IfNoneMatch, has) {
		out.Status, out.Body = http.StatusNotModified, nil
	}
	return out, nil
}

func (a *Admin) replace(ctx context.Context, in *struct {
	Seen
	Body store.Edit
}) (*productAnswer, []store.Rev, error) {
	return a.changeTo(in.Body, in.Seen, func(seen store.Rev) (store.Product, error) { return a.DB.Replace(ctx, seen, in.Body) })
}

func (a *Admin) edit(ctx context.Context, in *struct {
	Seen
	Body store.Edit
}) (*productAnswer, []store.Rev, error) {
	return a.changeTo(in.Body, in.Seen, func(seen store.Rev) (store.Product, error) { return a.DB.Update(ctx, seen, in.Body) })
}

// changeTo is change that says what e's description has lost.
func (a *Admin) changeTo(e store.Edit, s Seen, edit func(store.Rev) (store.Product, error)) (*productAnswer, []store.Rev, error) {
	out, news, err := a.change(s, edit)
	if err == nil {
		out.Body.Removed = a.DB.Removed(e)
	}
	return out, news, err
}

func (a *Admin) publish(published bool) func(context.Context, store.Rev) (store.Product, error) {
	return func(ctx context.Context, seen store.Rev) (store.Product, error) {
		return a.DB.Update(ctx, seen, store.Edit{Published: &published})
	}
}

// change makes an edit, which has news if it has made a version.
func (a *Admin) change(s Seen, edit func(store.Rev) (store.Product, error)) (*productAnswer, []store.Rev, error) {
	seen, err := s.rev()
	if err != nil {
		return nil, nil, err
	}
	p, err := edit(seen)
	if err != nil {
		return nil, nil, err
	}
	out := &productAnswer{ETag: etag(p.Rev), Body: changedProduct{Product: p}}
	if p.Rev == seen {
		return out, nil, nil
	}
	return out, []store.Rev{p.Rev}, nil
}

type historyAnswer struct {
	Body struct {
		Entries []store.Entry `json:"entries" nullable:"false"`
		Next    string        `json:"next,omitempty" doc:"The cursor of the next page; absent on the last"`
	}
}

func (a *Admin) history(ctx context.Context, in *struct {
	ProductID
	Cursor string `query:"cursor" doc:"The next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}) (*historyAnswer, error) {
	var before int64
	if err := parseCursor(in.Cursor, &before); err != nil {
		return nil, err
	}
	entries, err := a.DB.History(ctx, in.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &historyAnswer{}
	if len(entries) > in.Limit {
		entries = entries[:in.Limit]
		out.Body.Next = cursor(entries[in.Limit-1].Version)
	}
	out.Body.Entries = entries
	return out, nil
}

// A cursor is opaque, so that what is in it may become something else.
func cursor(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // they are of numbers and text
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseCursor reads what cursor has made of a value; "" leaves it as it is.
func parseCursor(s string, v any) error {
	if s == "" {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return huma.Error400BadRequest("cursor is not one of ours")
	}
	return nil
}
