package admin

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

	"shelfcast/api/httpx"
	"shelfcast/api/problem"
	"shelfcast/store"
)

const apiDescription = `Shop staff, ERPs and scripts read and change products here. ` +
	`A change is on every open page that shows the product within milliseconds.

- A product's ETag is its version. A change needs If-Match with the ETag that its author has seen. ` +
	`Without it the answer is 428, with a stale one 412 and the current ETag.
- Prices are decimal strings, exact throughout, with the digits of their currency.
- Every error is a problem document (RFC 9457) with a stable type. Retry a 503 or 429 after Retry-After seconds.
- A call that changes something may carry an Idempotency-Key. Then it is made once, however often it is sent. ` +
	`After a 503, or without an answer, the change may have been made or not: the key makes it safe to retry.
- Each token has a number of calls per minute, over all instances: ` +
	`RateLimit-Policy and RateLimit say how many are left.`

// A registry registers the operations of the API. What the OpenAPI document says of one and what the app checks come
// from the same operation.
//
// To add an operation: register it in the method for its group (products, bulk, tokens, …) with registerRead or
// registerWrite, and give it examples in examples.go. If its scope is not the usual one of its method, add it to
// scopeExceptions in scope_test.go.
type registry struct {
	api   huma.API
	admin *App
}

// An operation describes one, except for its types.
type operation struct {
	id, method, path     string // path begins after apiPath
	tag                  string
	summary, description string
	scope                string // required of the caller: one of store.Scopes, or anyToken; must be set
	status               int    // of success; default 200, or 204 without a body
	errors               []int  // besides commonErrors
	request, response    any    // examples
	responses            map[string]*huma.Response
	maxBody              int64  // limit of the body in bytes; default 1 MiB
	patch                bool   // the body is a merge patch
	minimal              bool   // Prefer: return=minimal is supported
	bodyType             string // content type of a body that is not JSON
}

// anyToken as the scope of an operation admits every valid token.
const anyToken = "any token"

// scopeKey is the key of the scope in an operation's metadata.
const scopeKey = "scope"

// commonErrors are possible in every operation.
var commonErrors = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
	http.StatusNotAcceptable, http.StatusRequestTimeout,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
	http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
}

// registerRead registers an operation that changes nothing.
func registerRead[I, O any](r *registry, e operation, handle func(context.Context, *I) (*O, error)) {
	register(r, e, withProblems(r.admin, handle))
}

// registerWrite registers an operation that writes: see commitThenPublish.
func registerWrite[I, O any](r *registry, e operation, handle write[I, O]) {
	register(r, e, commitThenPublish(r.admin, handle))
}

// register panics if the operation has no scope, so that no operation is open to all callers by mistake.
func register[I, O any](r *registry, e operation, handle func(context.Context, *I) (*O, error)) {
	if e.maxBody == 0 && e.bodyType == "" {
		e.maxBody = maxBody
	}
	op := huma.Operation{
		OperationID: e.id, Method: e.method, Path: apiPath + e.path, Summary: e.summary, Description: e.description,
		Tags: []string{e.tag}, DefaultStatus: e.status, MaxBodyBytes: e.maxBody, Responses: e.responses,
		Errors:   append(append([]int{}, commonErrors...), e.errors...),
		Metadata: map[string]any{scopeKey: e.scope},
	}
	switch {
	case slices.Contains(store.Scopes, e.scope):
		op.Security = []map[string][]string{{"token": {e.scope}}}
	case e.scope == anyToken:
		op.Security = []map[string][]string{{"token": {}}}
	default:
		panic(fmt.Sprintf("api: operation %q has the scope %q, which does not exist", e.id, e.scope))
	}
	huma.Register(r.api, op, handle)
	r.addExamples(e)
}

// addExamples adds to the document what Huma cannot derive from types.
func (r *registry) addExamples(e operation) {
	op := operationOf(r.api.OpenAPI().Paths[apiPath+e.path], e.method)
	if e.bodyType != "" {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			e.bodyType: {Schema: &huma.Schema{Type: "string"}},
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
	return &huma.ErrorModel{Type: problem.TypeOfStatus(status), Title: http.StatusText(status),
		Status: status, Detail: "what was wrong, for people to read"}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}[method]
}

// adapter is Huma's for Fiber. It allows paths with a colon, and bodies that httpx reads.
type adapter struct{ huma.Adapter }

func (a adapter) Handle(op *huma.Operation, handle func(huma.Context)) {
	escaped := *op
	escaped.Path = strings.ReplaceAll(op.Path, ":", `\:`)
	a.Adapter.Handle(&escaped, func(ctx huma.Context) {
		setRoute(humafiber.Unwrap(ctx), op.Path)
		handle(bufferedBody{ctx, op})
	})
}

// A bufferedBody is the context of a call whose body is in memory already.
type bufferedBody struct {
	humaContext
	op *huma.Operation
}

// humaContext is an alias with a name that none of its methods has, so that it can be embedded.
type humaContext huma.Context

func (b bufferedBody) Unwrap() huma.Context       { return b.humaContext }
func (b bufferedBody) Operation() *huma.Operation { return b.op }
func (b bufferedBody) BodyReader() io.Reader {
	return bytes.NewReader(httpx.ReceivedBody(humafiber.Unwrap(b.humaContext)))
}
