package api

import (
	"bytes"
	"net"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"

	"shelfcast/realtime"
)

// stream is GET /live/sse?watch=ID:VERSION:VIEW,…: a session for browsers whose
// way here lets no WebSocket through, as server-sent events.
func (p *Public) stream(c *fiber.Ctx) error {
	mode, watch, err := p.asked(c)
	if err != nil {
		return err
	}
	from := clientOf(c, p.TrustedProxies)
	if err := p.Hub.Admit(from); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store, no-transform")
	c.Set("X-Accel-Buffering", "no") // nginx would collect events
	header := &c.Response().Header
	header.SetContentLength(-2) // none: it ends with the connection
	join := realtime.Join{
		Wire: realtime.EventStream, Mode: mode, From: from, Watch: watch,
		// A proxy that collects events is found out by the first one not coming.
		Head: append(bytes.Clone(header.Header()), "data: {}\n\n"...),
	}
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(conn net.Conn) { p.adopt(conn, join) })
	return nil
}

// poll is GET /live/poll?watch=ID:VERSION:VIEW,…: one frame with what is newer,
// for a page that can have no session. If that is more than a frame full, its next
// says how many of the list were looked at: the page asks for the rest at once.
func (p *Public) poll(c *fiber.Ctx) error {
	mode, watch, err := p.asked(c)
	if err != nil {
		return err
	}
	from := clientOf(c, p.TrustedProxies)
	return p.answer(c, from, func() (net.Buffers, error) {
		if err := p.Hub.AdmitPoll(from); err != nil {
			return nil, err
		}
		frame, err := p.Hub.Poll(c.UserContext(), mode, watch)
		if err != nil {
			return nil, err
		}
		c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
		c.Set(fiber.HeaderCacheControl, "no-store")
		return frame, nil
	})
}

// asked is what a request for news wants. HEAD is not one: there is nothing to
// say of a stream but the stream.
func (p *Public) asked(c *fiber.Ctx) (realtime.Mode, []realtime.Watch, error) {
	if c.Method() != fiber.MethodGet {
		c.Set(fiber.HeaderAllow, fiber.MethodGet)
		return 0, nil, fiber.ErrMethodNotAllowed
	}
	mode, err := p.visit(c)
	if err != nil {
		return 0, nil, err
	}
	watch, err := p.watchList(c.Query("watch"))
	return mode, watch, err
}

// watchList reads a list of products in views.
func (p *Public) watchList(text string) ([]realtime.Watch, error) {
	list, err := p.Hub.ParseWatch(strings.Clone(text)) // views are looked up, and errors outlive the request
	if err != nil {
		return nil, fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	return list, nil
}

// crossOrigin lets pages of the allowed origins use what browsers fetch. Without
// any, answers do not vary with who asks, which is the best for a CDN.
func (p *Public) crossOrigin() fiber.Handler {
	switch {
	case len(p.Origins) == 0:
		return func(c *fiber.Ctx) error { return c.Next() }
	case slices.Contains(p.Origins, "*"):
		return cors.New(cors.Config{AllowOrigins: "*", AllowMethods: "GET,HEAD"})
	}
	return cors.New(cors.Config{AllowOrigins: strings.Join(p.Origins, ","), AllowMethods: "GET,HEAD"})
}
