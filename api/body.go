package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Bodies come as streams in both apps. This file is the only one that reads one,
// so that its bounds cannot be forgotten: a body is never inflated, is read only by
// a handler that wants it, up to that handler's limit, and counts against what all
// bodies of the app may take of memory. Fiber's own c.Body inflates without a bound,
// and reads a stream without one.

// errBodies is told to whoever sends a body while those of others take all that
// bodies may take.
var errBodies = errors.New("too many large bodies are being sent at this moment")

// An intake bounds what the bodies of an app take of memory, all together and those
// of each caller.
type intake struct {
	most    int64 // bytes of all bodies that are held
	share   int64 // bytes of those of one caller
	discard int64 // bytes that are read of what nobody wants, so that its sender gets to read the answer
	refused *prometheus.CounterVec

	mu   sync.Mutex
	held int64
	by   map[string]int64 // of each caller who has any
}

// newIntake makes one for the app of that name.
func newIntake(app string, most, share, discard int64, metrics prometheus.Registerer) *intake {
	i := &intake{most: most, share: share, discard: discard, by: map[string]int64{}}
	i.refused = promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "shelfcast_bodies_refused_total", Help: "Request bodies that were not taken, by reason.",
		ConstLabels: prometheus.Labels{"app": app},
	}, []string{"reason"})
	for _, reason := range []string{"encoding", "form", "size", "memory"} {
		i.refused.WithLabelValues(reason)
	}
	return i
}

// take reserves n more bytes for a body of that caller. It reports false if there
// is no room for them.
func (i *intake) take(caller string, n int64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held+n > i.most || i.by[caller]+n > i.share {
		return false
	}
	i.held += n
	i.by[caller] += n
	return true
}

// release gives n bytes back.
func (i *intake) release(caller string, n int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held -= n
	if i.by[caller] -= n; i.by[caller] == 0 {
		delete(i.by, caller)
	}
}

// An incoming body is that of a request under way.
type incoming struct {
	*intake
	from   io.Reader
	caller string
	bytes  []byte // what was read of it; nobody else has them
	took   int64  // bytes that are reserved for it
}

type incomingKey struct{}

// guard is the middleware that every request passes before a handler sees it. It
// refuses bodies that no handler can read, and deals with what handlers leave of
// the others.
func (i *intake) guard(c *fiber.Ctx) error {
	from := c.Context().RequestBodyStream()
	switch {
	case from != nil && c.Request().Header.ContentLength() == 0:
		from = nil
	case from == nil && len(c.Request().Body()) > 0: // of a request that came over no socket
		from = bytes.NewReader(c.Request().Body())
	}
	if from != nil {
		b := &incoming{intake: i, from: from}
		c.Locals(incomingKey{}, b)
		defer b.end(c)
	}
	if err := i.acceptable(c); err != nil {
		return err
	}
	return c.Next()
}

// acceptable refuses (415) what no handler takes: bodies that are compressed,
// which would be bombs, and forms, which would be files of any size.
func (i *intake) acceptable(c *fiber.Ctx) error {
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
	if kind := c.Request().Header.ContentType(); len(kind) >= len(form) && strings.EqualFold(string(kind[:len(form)]), form) {
		i.refused.WithLabelValues("form").Inc()
		return fiber.NewError(fiber.StatusUnsupportedMediaType, "forms are not taken: send the file or the JSON itself")
	}
	return nil
}

// end gives back what the body took, and discards what nobody has read of it: a
// connection that is closed while the other side writes is reset, and the answer
// may be lost. Of what goes on for too long it does not read the end.
func (b *incoming) end(c *fiber.Ctx) {
	b.release(b.caller, b.took)
	if c.Context().Hijacked() {
		return
	}
	if _, err := io.CopyN(io.Discard, b.from, b.discard); err != io.EOF {
		c.Context().SetConnectionClose()
	}
}

// readBody reads the whole body of a request, which is of that caller, up to limit
// bytes. The bytes are the request's own and may be kept. There are none if it has no
// body. Errors: 413, 408, and errBodies if too much is held for others.
func readBody(c *fiber.Ctx, caller string, limit int64) ([]byte, error) {
	b, ok := c.Locals(incomingKey{}).(*incoming)
	if !ok {
		return nil, nil
	}
	if b.took > 0 {
		return nil, errors.New("a body is read once")
	}
	b.caller = caller
	declared := int64(c.Request().Header.ContentLength()) // less than 0: it is not said
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
		if !b.take(caller, size-b.took) {
			b.refused.WithLabelValues("memory").Inc()
			return nil, errBodies
		}
		b.took = size
		b.bytes = append(make([]byte, 0, size), b.bytes...)
		for err == nil && len(b.bytes) < cap(b.bytes) {
			var n int
			n, err = b.from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
			b.bytes = b.bytes[:len(b.bytes)+n]
		}
	}
	if int64(len(b.bytes)) > limit {
		return nil, b.tooLarge(limit)
	}
	if err != io.EOF || int64(len(b.bytes)) < declared {
		c.Context().SetConnectionClose()
		return nil, fiber.NewError(fiber.StatusRequestTimeout, "the body did not come whole, or not in time")
	}
	return b.bytes, nil
}

func (b *incoming) tooLarge(limit int64) error {
	b.refused.WithLabelValues("size").Inc()
	return fiber.NewError(fiber.StatusRequestEntityTooLarge, fmt.Sprintf("a body has at most %d bytes", limit))
}

// bodyRead is what readBody has read of a request; nil if it has not.
func bodyRead(c *fiber.Ctx) []byte {
	if b, ok := c.Locals(incomingKey{}).(*incoming); ok {
		return b.bytes
	}
	return nil
}

// bodyStream is the body of a request for a handler that reads it piece by piece;
// nil if there is none.
func bodyStream(c *fiber.Ctx) io.Reader {
	if b, ok := c.Locals(incomingKey{}).(*incoming); ok {
		return b.from
	}
	return nil
}
