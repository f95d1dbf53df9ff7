package httpx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/api/problem"
)

// Request bodies are streams in both apps. This file is the only one that reads them, so that the limits cannot be
// forgotten: a body is never decompressed; it is read only by a handler that wants it, up to that handler's limit; and
// it counts against the memory for all bodies of the app. Fiber's own c.Body decompresses without a limit, and reads a
// stream without one.

// errTooManyBodies is the answer to a body when those of others take all the memory for bodies.
var errTooManyBodies = problem.New(fiber.StatusServiceUnavailable,
	"too-many-bodies", "this instance has reached its memory limit for request bodies")

// A BodyLimiter limits the memory that the bodies of an app take.
type BodyLimiter struct {
	*Budget
	maxDiscard int64 // bytes read of a body that no handler wants, so that its sender gets to read the answer
	refused    *prometheus.CounterVec
}

// NewBodyLimiter returns the limiter of the app of that name. It holds at most limit bytes, callerLimit of those for
// one caller, and discards up to maxDiscard bytes of a body that no handler reads.
func NewBodyLimiter(app string, limit, callerLimit, maxDiscard int64, metrics prometheus.Registerer) *BodyLimiter {
	i := &BodyLimiter{Budget: NewBudget(limit, callerLimit), maxDiscard: maxDiscard}
	i.refused = promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_request_bodies_refused_total", Help: "Request bodies refused, by reason.",
		ConstLabels: prometheus.Labels{"app": app},
	}, []string{"reason"})
	for _, reason := range []string{"encoding", "form", "size", "memory"} {
		i.refused.WithLabelValues(reason)
	}
	return i
}

// An incomingBody is the body of a request under way.
type incomingBody struct {
	*BodyLimiter
	stream   io.Reader
	caller   string
	bytes    []byte // what was read of it; not shared
	reserved int64  // bytes reserved for it in the budget
}

type incomingBodyKey struct{}

// guard is the middleware before all handlers. It refuses bodies that no handler can read, and deals with what handlers
// leave unread.
func (i *BodyLimiter) guard(c *fiber.Ctx) error {
	from := c.Context().RequestBodyStream()
	switch {
	case from != nil && c.Request().Header.ContentLength() == 0:
		from = nil
	case from == nil && len(c.Request().Body()) > 0: // of a request without a socket, as in tests
		from = bytes.NewReader(c.Request().Body())
	}
	if from != nil {
		b := &incomingBody{BodyLimiter: i, stream: from}
		c.Locals(incomingBodyKey{}, b)
		defer b.end(c)
	}
	if err := i.checkHeaders(c); err != nil {
		return err
	}
	return c.Next()
}

// checkHeaders refuses (415) what no handler takes: compressed bodies, which could be bombs, and forms, which could be
// files of any size.
func (i *BodyLimiter) checkHeaders(c *fiber.Ctx) error {
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderContentEncoding) {
		for coding := range strings.SplitSeq(string(line), ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				c.Set(fiber.HeaderAcceptEncoding, "identity") // RFC 9110, 15.5.16
				i.refused.WithLabelValues("encoding").Inc()
				return fiber.NewError(fiber.StatusUnsupportedMediaType, "send the body without Content-Encoding")
			}
		}
	}
	const form = "multipart/"
	if kind := c.Request().Header.ContentType(); len(kind) >= len(form) &&
		strings.EqualFold(string(kind[:len(form)]), form) {
		i.refused.WithLabelValues("form").Inc()
		return fiber.NewError(fiber.StatusUnsupportedMediaType, "forms are not accepted: send the file or the JSON itself")
	}
	return nil
}

// end releases the body's memory, and discards what was not read: a connection that is closed while the client still
// writes is reset, and the client may never see the answer. It gives up on a body that goes on for too long.
func (b *incomingBody) end(c *fiber.Ctx) {
	b.Release(b.caller, b.reserved)
	if c.Context().Hijacked() {
		return
	}
	if _, err := io.CopyN(io.Discard, b.stream, b.maxDiscard); err != io.EOF {
		c.Context().SetConnectionClose()
	}
}

// ReadBody reads the whole body of a request of that caller, up to limit bytes. The bytes belong to the request and may
// be kept. They are nil if there is no body. Errors: 413, 408, and a 503 if the memory for bodies is taken.
func ReadBody(c *fiber.Ctx, caller string, limit int64) ([]byte, error) {
	b, ok := c.Locals(incomingBodyKey{}).(*incomingBody)
	if !ok {
		return nil, nil
	}
	if b.reserved > 0 {
		return nil, errors.New("the body was read already")
	}
	b.caller = caller
	declared := int64(c.Request().Header.ContentLength()) // negative if the client does not say
	most, size := limit+1, int64(512)
	if declared > limit {
		return nil, b.tooLarge(limit)
	}
	if declared > 0 {
		most, size = declared+1, 64<<10
	}
	var err error
	for size = min(size, most); err == nil; size = min(2*size, most) {
		if int64(len(b.bytes)) > limit {
			return nil, b.tooLarge(limit)
		}
		if !b.Reserve(caller, size-b.reserved) {
			b.refused.WithLabelValues("memory").Inc()
			return nil, errTooManyBodies
		}
		b.reserved = size
		b.bytes = append(make([]byte, 0, size), b.bytes...)
		for err == nil && len(b.bytes) < cap(b.bytes) {
			var n int
			n, err = b.stream.Read(b.bytes[len(b.bytes):cap(b.bytes)])
			b.bytes = b.bytes[:len(b.bytes)+n]
		}
	}
	if int64(len(b.bytes)) > limit {
		return nil, b.tooLarge(limit)
	}
	if err != io.EOF || int64(len(b.bytes)) < declared {
		c.Context().SetConnectionClose()
		return nil, fiber.NewError(fiber.StatusRequestTimeout, "the body did not arrive completely, or not in time")
	}
	return b.bytes, nil
}

func (b *incomingBody) tooLarge(limit int64) error {
	b.refused.WithLabelValues("size").Inc()
	return fiber.NewError(fiber.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes", limit))
}

// ReceivedBody returns what ReadBody has read of a request, or nil.
func ReceivedBody(c *fiber.Ctx) []byte {
	if b, ok := c.Locals(incomingBodyKey{}).(*incomingBody); ok {
		return b.bytes
	}
	return nil
}

// BodyStream returns the body for a handler that reads it piece by piece, or nil if there is none.
func BodyStream(c *fiber.Ctx) io.Reader {
	if b, ok := c.Locals(incomingBodyKey{}).(*incomingBody); ok {
		return b.stream
	}
	return nil
}
