package httpx

import (
	"net"

	"github.com/gofiber/fiber/v2"
)

// SendParts answers with parts, which are not copied and must not change. It calls done once, from any goroutine,
// when the last byte is written or it is certain that none will be.
func SendParts(c *fiber.Ctx, parts net.Buffers, done func()) {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	c.Response().SetBodyStream(&partsStream{parts, done}, size)
}

// A partsStream is closed by the server when it was written, or will never be.
type partsStream struct {
	net.Buffers
	done func()
}

// Close implements io.Closer.
func (s *partsStream) Close() error {
	if s.done != nil {
		s.done()
		s.done = nil
	}
	return nil
}
