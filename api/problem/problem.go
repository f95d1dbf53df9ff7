// Package problem turns errors into problem details (RFC 9457), the body of every failed request.
//
// It knows the errors of store, render and realtime. A package above it declares an error that a client may see
// with New, next to its status and type.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"shelfcast/internal/tracing"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// problems maps the errors of the packages below to their problems. Names are stable: clients see them at the
// end of a problem's type.
var problems = []struct {
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
	{store.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	{realtime.ErrBus, http.StatusServiceUnavailable, "bus-unavailable"},
	{realtime.ErrDraining, http.StatusServiceUnavailable, "draining"},
	{realtime.ErrFull, http.StatusServiceUnavailable, "full"},
	{realtime.ErrAddressFull, http.StatusTooManyRequests, "too-many-sessions-of-address"},
	{realtime.ErrOrigin, http.StatusForbidden, "origin-not-allowed"},
	{realtime.ErrAddressRate, http.StatusTooManyRequests, "too-many-new-sessions-of-address"},
	{realtime.ErrRate, http.StatusServiceUnavailable, "too-many-new-sessions"},
}

// An apiError is an error of the API itself. It is comparable with errors.Is by identity.
type apiError struct {
	status        int
	name, message string
}

func (e *apiError) Error() string { return e.message }

// New returns an error that becomes a problem of this status and type, with message as its detail. The name is
// stable and ends the problem's type: urn:shelfcast:problem:NAME.
func New(status int, name, message string) error { return &apiError{status, name, message} }

// typePrefix begins the type of every problem.
const typePrefix = "urn:shelfcast:problem:"

// TypeOfStatus returns the type of a problem that has no error of its own: one named after its status, such as
// "unsupported-media-type".
func TypeOfStatus(status int) string {
	switch status {
	case http.StatusUnprocessableEntity:
		return typePrefix + "invalid-request"
	case http.StatusNotFound:
		return typePrefix + "no-such-route"
	}
	return typePrefix + strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "-"))
}

// Limits of what a problem repeats of the request that it is about.
const (
	maxDetails     = 100 // errors
	maxValueLength = 200 // bytes of each value
)

// Shorten returns text of a request as an answer or a log line may repeat it: at most 200 bytes.
func Shorten(text string) string {
	if len(text) <= maxValueLength {
		return text
	}
	return strings.ToValidUTF8(text[:maxValueLength], "") + "…"
}

// shortenValue returns the value of an error detail as the problem repeats it: Huma would send back the whole body,
// or the whole list that is too long.
func shortenValue(value any) any {
	switch v := value.(type) {
	case string:
		return Shorten(v)
	case map[string]any, map[any]any, []any, []byte:
		return nil
	}
	return value
}

// Huma's own errors get a type and the trace ID as well. Huma has no other hook for it.
func init() {
	plain := huma.NewError
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		errs = errs[:min(len(errs), maxDetails)]
		for _, err := range errs {
			if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
				d.Value = shortenValue(d.Value)
			}
		}
		err := plain(status, message, errs...)
		if p, ok := err.(*huma.ErrorModel); ok && status >= 400 {
			p.Type = TypeOfStatus(status)
		}
		return err
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		err := huma.NewError(status, message, errs...)
		if p, ok := err.(*huma.ErrorModel); ok && ctx != nil {
			return WithTrace(p, tracing.ID(ctx.Context()))
		}
		return err
	}
}

// RetryAfter is the Retry-After of a 503 or a 429, in seconds.
const RetryAfter = 5

// Of returns err as problem details, with the headers that belong to them. An error that clients must not see
// becomes a 500 without details; known is false then, and the caller logs err.
func Of(err error) (p *huma.ErrorModel, headers http.Header, known bool) {
	headers = http.Header{}
	if with, ok := errors.AsType[huma.HeadersError](err); ok {
		headers = with.GetHeaders()
	}
	if p, ok := errors.AsType[*huma.ErrorModel](err); ok {
		return p, headers, true
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		return &huma.ErrorModel{Type: TypeOfStatus(e.Code), Status: e.Code,
			Title: http.StatusText(e.Code), Detail: e.Message}, headers, e.Code < 500
	}
	status, name, message := lookUp(err)
	if status == 0 {
		return &huma.ErrorModel{Type: TypeOfStatus(500),
			Status: http.StatusInternalServerError, Title: "Internal Server Error"}, headers, false
	}
	p = &huma.ErrorModel{Type: typePrefix + name, Status: status, Title: http.StatusText(status), Detail: message}
	addDetails(p, headers, err)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		headers.Set("Retry-After", strconv.Itoa(RetryAfter))
	}
	return p, headers, true
}

// lookUp returns the problem that err is declared as. A status of 0 means that it is none.
func lookUp(err error) (status int, name, message string) {
	if own, ok := errors.AsType[*apiError](err); ok {
		return own.status, own.name, own.message
	}
	for _, s := range problems {
		if errors.Is(err, s.err) {
			return s.status, s.name, s.err.Error()
		}
	}
	return 0, "", ""
}

// addDetails adds the details of err to p.
func addDetails(p *huma.ErrorModel, headers http.Header, err error) {
	if batch, ok := errors.AsType[*store.BatchError](err); ok {
		for i, r := range batch.Results {
			if r.Err == nil {
				continue
			}
			edit, _, _ := Of(r.Err)
			p.Errors = append(p.Errors, &huma.ErrorDetail{
				Location: fmt.Sprintf("body.edits[%d]", i), Message: oneLine(edit), Value: edit.Type,
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
		headers.Set("ETag", ETag(conflict.Current))
	}
	if errors.Is(err, store.ErrTooMany) || errors.Is(err, store.ErrKeyReused) {
		p.Detail = err.Error()
	}
}

// oneLine returns a problem as one line of text.
func oneLine(p *huma.ErrorModel) string {
	parts := []string{p.Detail}
	for _, e := range p.Errors {
		parts = append(parts, e.Message)
	}
	return strings.Join(parts, "; ")
}

// Write answers a request with the problem that err is. It can be a Fiber ErrorHandler.
func Write(c *fiber.Ctx, err error) error {
	p, headers, _ := Of(err)
	SetHeaders(c, headers)
	body, err := json.Marshal(WithTrace(p, tracing.ID(c.UserContext())))
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(p.Status).Send(body)
}

// WithTrace returns p with the trace of its request as its instance, or p itself if traceID is "". It does not
// change p, which may be stored for retries of the request.
func WithTrace(p *huma.ErrorModel, traceID string) *huma.ErrorModel {
	if traceID == "" {
		return p
	}
	traced := *p
	traced.Instance = "urn:shelfcast:trace:" + traceID
	return &traced
}

// SetHeaders sets the headers that Of returns.
func SetHeaders(c *fiber.Ctx, headers http.Header) {
	for name, values := range headers {
		c.Set(name, values[0])
	}
}

// ETag returns the entity tag of a product at that version.
func ETag(r store.Rev) string { return `"` + strconv.FormatInt(r.Version, 10) + `"` }
