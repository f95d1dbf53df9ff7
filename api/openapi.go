package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"shelfcast/store"
)

const apiDescription = `Products are read and changed here by shop staff, ERPs and scripts. What is changed is on every open page that shows it within milliseconds.

- A product's ETag is its version. A change needs If-Match with the ETag that its author has seen: 428 without, 412 with a stale one, and the answer has the current ETag.
- Prices are decimal strings, exact throughout, with the digits of their currency.
- Every error is problem details (RFC 9457) with a stable type. A 503 or 429 may be tried again after Retry-After seconds.
- A call that changes something may carry an Idempotency-Key, and is made once then, however often it is sent. After a 503 or no answer the change may have been made or not: the key makes it safe to try again.
- A token may make so many calls a minute, over all instances: RateLimit-Policy and RateLimit say how many are left.`

// A book is where operations are registered: what the document says of one, and
// what is checked, is from the same entry.
type book struct {
	api   huma.API
	admin *Admin
}

// An entry is what there is to say of an operation beside its types.
type entry struct {
	id, method, path     string // path begins after apiPath
	tag                  string
	summary, description string
	scope                string // that its caller needs, one of store.Scopes, or anyToken; required
	status               int    // of success; 200, or 204 if there is no body
	errors               []int  // besides those that every operation may have
	request, response    any    // examples
	responses            map[string]*huma.Response
	body                 int64  // limit of the body; 1 MiB
	patch                bool   // the body is a merge patch
	minimal              bool   // it answers with a product, or, if that is preferred, without
	anyBody              string // content type of a body that is not JSON
}

// anyToken as the scope of an operation lets in whoever has a valid token.
const anyToken = "any token"

// needs is the key in an operation's metadata under which register leaves its scope.
const needs = "scope"

// everyErrors may come of every operation.
var everyErrors = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotAcceptable, http.StatusRequestTimeout,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
	http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
}

// reads registers an operation that changes nothing.
func reads[I, O any](b *book, e entry, handle func(context.Context, *I) (*O, error)) {
	register(b, e, answers(b.admin, handle))
}

// writes registers an operation that changes something: see changes.
func writes[I, O any](b *book, e entry, handle func(context.Context, *I) (*O, []store.Rev, error)) {
	register(b, e, changes(b.admin, handle))
}

// register panics if e has no scope: the program does not start with an operation
// of which nobody has said who may call it.
func register[I, O any](b *book, e entry, handle func(context.Context, *I) (*O, error)) {
	if e.body == 0 && e.anyBody == "" {
		e.body = maxAdminBody
	}
	op := huma.Operation{
		OperationID: e.id, Method: e.method, Path: apiPath + e.path, Summary: e.summary, Description: e.description,
		Tags: []string{e.tag}, DefaultStatus: e.status, MaxBodyBytes: e.body, Responses: e.responses,
		Errors:   append(append([]int{}, everyErrors...), e.errors...),
		Metadata: map[string]any{needs: e.scope},
	}
	switch {
	case slices.Contains(store.Scopes, e.scope):
		op.Security = []map[string][]string{{"token": {e.scope}}}
	case e.scope == anyToken:
		op.Security = []map[string][]string{{"token": {}}}
	default:
		panic(fmt.Sprintf("api: operation %q has the scope %q, which does not exist", e.id, e.scope))
	}
	huma.Register(b.api, op, handle)
	b.illustrate(e)
}

// illustrate puts into the document what its library has no words for.
func (b *book) illustrate(e entry) {
	op := operationOf(b.api.OpenAPI().Paths[apiPath+e.path], e.method)
	if e.anyBody != "" {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			e.anyBody: {Schema: &huma.Schema{Type: "string"}},
		}}
	}
	if e.request != nil {
		for _, content := range op.RequestBody.Content {
			content.Example = e.request
		}
	}
	if e.patch {
		op.RequestBody.Content["application/merge-patch+json"] = op.RequestBody.Content["application/json"]
	}
	success := op.Responses[strconv.Itoa(op.DefaultStatus)]
	if e.response != nil {
		success.Content["application/json"].Example = e.response
	}
	if e.minimal {
		op.Responses["204"] = &huma.Response{Description: "Done, with Prefer: return=minimal", Headers: success.Headers}
	}
	for code, response := range op.Responses {
		if code >= "400" {
			for _, content := range response.Content {
				content.Example = exampleProblem(code)
			}
		}
	}
}

func exampleProblem(code string) *huma.ErrorModel {
	status, _ := strconv.Atoi(code)
	return &huma.ErrorModel{Type: typeOf(status), Title: http.StatusText(status), Status: status, Detail: "what was wrong, in words for people"}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[method]
}

// adapter is Huma's for Fiber, for paths with a colon in them and for bodies that
// are read by us.
type adapter struct{ huma.Adapter }

func (a adapter) Handle(op *huma.Operation, handle func(huma.Context)) {
	escaped := *op
	escaped.Path = strings.ReplaceAll(op.Path, ":", `\:`)
	a.Adapter.Handle(&escaped, func(ctx huma.Context) {
		routed(humafiber.Unwrap(ctx), op.Path)
		handle(wholeBody{ctx, op})
	})
}

// wholeBody has a body that is in memory already.
type wholeBody struct {
	humaContext
	op *huma.Operation
}

// humaContext has a name that is none of its methods'.
type humaContext huma.Context

func (b wholeBody) Unwrap() huma.Context       { return b.humaContext }
func (b wholeBody) Operation() *huma.Operation { return b.op }
func (b wholeBody) BodyReader() io.Reader {
	return bytes.NewReader(bodyRead(humafiber.Unwrap(b.humaContext)))
}
