// Package api is Shelfcast's HTTP: the public app that browsers see and the
// admin app that shop staff and programs see, both on Fiber. A handler parses,
// makes one call and answers. Nothing here starts a goroutine but NewJWT, for the
// keys of an identity provider, and the reading of lists for all who wait for one,
// which ends by the store's time limits.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/tracing"
)

// statuses says what each error is over HTTP. The names are stable: they end
// the problem's type, urn:shelfcast:problem:NAME.
var statuses = []struct {
	err    error
	status int
	name   string
}{
	{store.ErrNotFound, http.StatusNotFound, "not-found"},
	{store.ErrNoToken, http.StatusNotFound, "no-such-token"},
	{store.ErrConflict, http.StatusPreconditionFailed, "stale-version"},
	{store.ErrDuplicateSKU, http.StatusConflict, "duplicate-sku"},
	{store.ErrDuplicateExternalID, http.StatusConflict, "duplicate-external-id"},
	{store.ErrArchived, http.StatusConflict, "archived"},
	{store.ErrBatch, http.StatusConflict, "batch-failed"},
	{store.ErrInvalid, http.StatusUnprocessableEntity, "invalid-input"},
	{store.ErrTooMany, http.StatusUnprocessableEntity, "too-many-products"},
	{store.ErrKeyReused, http.StatusUnprocessableEntity, "idempotency-key-reused"},
	{render.ErrBusy, http.StatusServiceUnavailable, "busy"},
	{errBodies, http.StatusServiceUnavailable, "too-many-bodies"},
	{store.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	{ErrKeys, http.StatusServiceUnavailable, "identity-provider-unavailable"},
	{ErrLooking, http.StatusServiceUnavailable, "too-many-unknown-tokens"},
	{ErrWaiting, http.StatusServiceUnavailable, "too-many-waiting-calls"},
	{ErrWaitingShare, http.StatusTooManyRequests, "too-many-waiting-calls-of-token"},
	{realtime.ErrBus, http.StatusServiceUnavailable, "bus-unavailable"},
	{realtime.ErrDraining, http.StatusServiceUnavailable, "draining"},
	{realtime.ErrFull, http.StatusServiceUnavailable, "full"},
	{realtime.ErrAddress, http.StatusTooManyRequests, "too-many-sessions-of-address"},
	{ErrAnswers, http.StatusServiceUnavailable, "too-many-answers"},
	{ErrAnswersAddress, http.StatusTooManyRequests, "too-many-answers-of-address"},
	{realtime.ErrHurry, http.StatusTooManyRequests, "too-many-new-sessions-of-address"},
	{ErrSearches, http.StatusTooManyRequests, "too-many-searches"},
	{realtime.ErrRate, http.StatusServiceUnavailable, "too-many-new-sessions"},
}

// typePrefix begins the type of every problem.
const typePrefix = "urn:shelfcast:problem:"

// typeOf is the type of a problem that has no error of ours: a name for its
// status, as "unsupported-media-type".
func typeOf(status int) string {
	switch status {
	case http.StatusUnprocessableEntity:
		return typePrefix + "invalid-request"
	case http.StatusNotFound:
		return typePrefix + "no-such-route"
	}
	return typePrefix + strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "-"))
}

// What an answer tells of what is wrong with a request.
const (
	maxDetails = 100 // things
	maxValue   = 200 // bytes of each
)

// brief is a value of a request in the answer that says what is wrong with it: Huma
// would send the whole body back, or the whole list that is too long.
func brief(value any) any {
	switch v := value.(type) {
	case string:
		if len(v) > maxValue {
			return strings.ToValidUTF8(v[:maxValue], "") + "…"
		}
	case map[string]any, map[any]any, []any, []byte:
		return nil
	}
	return value
}

// Huma's own errors have a type too, and the trace. It has no other place for this.
func init() {
	plain := huma.NewError
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		errs = errs[:min(len(errs), maxDetails)]
		for _, err := range errs {
			if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
				d.Value = brief(d.Value)
			}
		}
		err := plain(status, message, errs...)
		if p, ok := err.(*huma.ErrorModel); ok && status >= 400 {
			p.Type = typeOf(status)
		}
		return err
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		err := huma.NewError(status, message, errs...)
		if p, ok := err.(*huma.ErrorModel); ok && ctx != nil {
			return withTrace(p, tracing.ID(ctx.Context()))
		}
		return err
	}
}

// retryAfter is what a 503 or a 429 asks for, in seconds.
const retryAfter = 5

// problem is err as problem details (RFC 9457), with the headers that belong to
// it. An error that is nobody's to see comes out as a bare 500; known is false
// then, and it is for the log.
func problem(err error) (p *huma.ErrorModel, headers http.Header, known bool) {
	headers = http.Header{}
	if with, ok := errors.AsType[huma.HeadersError](err); ok {
		headers = with.GetHeaders()
	}
	if p, ok := errors.AsType[*huma.ErrorModel](err); ok {
		return p, headers, true
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		return &huma.ErrorModel{Type: typeOf(e.Code), Status: e.Code, Title: http.StatusText(e.Code), Detail: e.Message}, headers, e.Code < 500
	}
	for _, s := range statuses {
		if !errors.Is(err, s.err) {
			continue
		}
		p := &huma.ErrorModel{
			Type: typePrefix + s.name, Status: s.status,
			Title: http.StatusText(s.status), Detail: s.err.Error(),
		}
		detail(p, headers, err)
		if s.status == http.StatusServiceUnavailable || s.status == http.StatusTooManyRequests {
			headers.Set("Retry-After", strconv.Itoa(retryAfter))
		}
		return p, headers, true
	}
	return &huma.ErrorModel{Type: typeOf(500), Status: http.StatusInternalServerError, Title: "Internal Server Error"}, headers, false
}

// detail says in p what more there is to err.
func detail(p *huma.ErrorModel, headers http.Header, err error) {
	if batch, ok := errors.AsType[*store.BatchError](err); ok {
		for i, r := range batch.Results {
			if r.Err == nil {
				continue
			}
			its, _, _ := problem(r.Err)
			p.Errors = append(p.Errors, &huma.ErrorDetail{
				Location: fmt.Sprintf("body.edits[%d]", i), Message: explain(its), Value: its.Type,
			})
		}
		return
	}
	if invalid, ok := errors.AsType[*store.InvalidError](err); ok {
		for _, f := range invalid.Fields {
			p.Errors = append(p.Errors, &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Field + " " + f.Message})
		}
	}
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		p.Detail = conflict.Error()
		headers.Set("ETag", etag(conflict.Current))
	}
	if errors.Is(err, store.ErrTooMany) || errors.Is(err, store.ErrKeyReused) {
		p.Detail = err.Error()
	}
}

// explain is a problem in one line.
func explain(p *huma.ErrorModel) string {
	said := []string{p.Detail}
	for _, e := range p.Errors {
		said = append(said, e.Message)
	}
	return strings.Join(said, "; ")
}

// writeProblem answers with err.
func writeProblem(c *fiber.Ctx, p *huma.ErrorModel, headers http.Header) error {
	setHeaders(c, headers)
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(p.Status).Send(body)
}

func setHeaders(c *fiber.Ctx, headers http.Header) {
	for name, values := range headers {
		c.Set(name, values[0])
	}
}

// etag is that of a product in that version.
func etag(r store.Rev) string { return `"` + strconv.FormatInt(r.Version, 10) + `"` }
