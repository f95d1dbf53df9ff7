package public

import (
	"net"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"

	"shelfcast/api/httpx"
	"shelfcast/realtime"
)

// stream is GET /live/STREAM?watch=ID:VERSION:VIEW,…: a session as a response that does not end, such as server-sent
// events, for browsers behind proxies that let no WebSocket through.
func (p *App) stream(c *fiber.Ctx) error {
	stream, ok := realtime.StreamAt(c.Params("stream"))
	if !ok {
		return fiber.ErrNotFound
	}
	mode, watch, err := p.parsePoll(c)
	if err != nil {
		return err
	}
	from := httpx.ClientAddr(c, p.TrustedProxies)
	if err := p.Hub.Admit(from); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, stream.ContentType)
	c.Set(fiber.HeaderCacheControl, "no-store, no-transform")
	c.Set("X-Accel-Buffering", "no") // otherwise nginx would buffer it
	header := &c.Response().Header
	header.SetContentLength(-2) // none: the body ends with the connection
	join := realtime.Join{
		Protocol: stream.Protocol, Mode: mode, From: from, Watch: watch,
		Head: slices.Concat(header.Header(), stream.First),
	}
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(conn net.Conn) { p.adopt(conn, join) })
	return nil
}

// poll is GET /live/poll?watch=ID:VERSION:VIEW,…: one frame with what is newer, for a page that can have no session.
// If that is more than fits into a frame, its next says how many of the list were checked, and the page asks for the
// rest at once.
func (p *App) poll(c *fiber.Ctx) error {
	mode, watch, err := p.parsePoll(c)
	if err != nil {
		return err
	}
	from := httpx.ClientAddr(c, p.TrustedProxies)
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

// parsePoll returns what a stream or a poll asks for. HEAD is refused: there is nothing to answer but the body.
func (p *App) parsePoll(c *fiber.Ctx) (realtime.Mode, []realtime.Watch, error) {
	if c.Method() != fiber.MethodGet {
		c.Set(fiber.HeaderAllow, fiber.MethodGet)
		return 0, nil, fiber.ErrMethodNotAllowed
	}
	mode, err := p.checkVisit(c)
	if err != nil {
		return 0, nil, err
	}
	watch, err := p.watchList(c.Query("watch"))
	return mode, watch, err
}

// watchList parses a list of products in views.
func (p *App) watchList(text string) ([]realtime.Watch, error) {
	list, err := p.Hub.ParseWatch(text)
	if err != nil {
		return nil, fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	return list, nil
}

// crossOrigin returns the CORS handler for the allowed origins. Without any, answers do not vary by origin, which is
// best for a CDN.
func (p *App) crossOrigin() fiber.Handler {
	switch {
	case len(p.Origins) == 0:
		return func(c *fiber.Ctx) error { return c.Next() }
	case slices.Contains(p.Origins, "*"):
		return cors.New(cors.Config{AllowOrigins: "*", AllowMethods: "GET,HEAD"})
	}
	return cors.New(cors.Config{AllowOrigins: strings.Join(p.Origins, ","), AllowMethods: "GET,HEAD"})
}
