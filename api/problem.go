// Package api is Shelfcast's HTTP: the public app that browsers see and the
// admin app that shop staff and programs see, both on Fiber. A handler parses,
// makes one call and answers. Nothing here starts a goroutine, and no string of
// Fiber's outlives its handler.
package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
)

// statuses says what each error is over HTTP. The names are stable: they end
// the problem's type, urn:shelfcast:problem:NAME.
var statuses = []struct {
	err    error
	status int
	name   string
}{
	{store.ErrNotFound, http.StatusNotFound, "not-found"},
	{store.ErrConflict, http.StatusPreconditionFailed, "stale-version"},
	{store.ErrDuplicateSKU, http.StatusConflict, "duplicate-sku"},
	{store.ErrArchived, http.StatusConflict, "archived"},
	{store.ErrInvalid, http.StatusUnprocessableEntity, "invalid-product"},
	{render.ErrBusy, http.StatusServiceUnavailable, "busy"},
	{store.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	{realtime.ErrDraining, http.StatusServiceUnavailable, "draining"},
	{realtime.ErrFull, http.StatusServiceUnavailable, "full"},
	{realtime.ErrAddress, http.StatusTooManyRequests, "too-many-sessions-of-address"},
	{realtime.ErrRate, http.StatusServiceUnavailable, "too-many-new-sessions"},
}

// retryAfter is what a 503 or a 429 asks for, in seconds.
const retryAfter = 5

// problem is err as problem details (RFC 9457), with the headers that belong to
// it. An error that is nobody's to see comes out as a bare 500; known is false
// then, and it is for the log.
func problem(err error) (p *huma.ErrorModel, headers http.Header, known bool) {
	headers = http.Header{}
	if p, ok := errors.AsType[*huma.ErrorModel](err); ok {
		return p, headers, true
	}
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		return &huma.ErrorModel{Status: e.Code, Title: http.StatusText(e.Code), Detail: e.Message}, headers, e.Code < 500
	}
	for _, s := range statuses {
		if !errors.Is(err, s.err) {
			continue
		}
		p := &huma.ErrorModel{
			Type: "urn:shelfcast:problem:" + s.name, Status: s.status,
			Title: http.StatusText(s.status), Detail: s.err.Error(),
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
		if s.status == http.StatusServiceUnavailable || s.status == http.StatusTooManyRequests {
			headers.Set("Retry-After", strconv.Itoa(retryAfter))
		}
		return p, headers, true
	}
	return &huma.ErrorModel{Status: http.StatusInternalServerError, Title: "Internal Server Error"}, headers, false
}

// writeProblem answers with err.
func writeProblem(c *fiber.Ctx, p *huma.ErrorModel, headers http.Header) error {
	for name, values := range headers {
		c.Set(name, values[0])
	}
	p.Type = cmp.Or(p.Type, "about:blank")
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(p.Status).Send(body)
}

// etag is that of a product in that version.
func etag(r store.Rev) string { return `"` + strconv.FormatInt(r.Version, 10) + `"` }
