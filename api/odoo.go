package api

import (
	"strings"
	"sync"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"shelfcast/realtime"
)

// odooBus is GET /websocket: the handshake of Odoo 16's bus, after which the
// connection is the hub's. Cookies are passed over: what there is to hear here is
// the same for all.
func (p *Public) odooBus() fiber.Handler {
	upgrade := websocket.New(func(c *websocket.Conn) {
		join, _ := c.Locals(joinLocal).(realtime.Join)
		p.adopt(c.NetConn(), join)
	}, websocket.Config{
		ReadBufferSize:  125, // used for nothing: the hub reads from the socket itself
		WriteBufferSize: 256,
		WriteBufferPool: &sync.Pool{},
	})
	return func(c *fiber.Ctx) error {
		if err := p.odooHandshake(c); err != nil {
			return err
		}
		from := clientOf(c, p.TrustedProxies)
		if err := p.Hub.Admit(from); err != nil {
			return err
		}
		c.Locals(joinLocal, realtime.Join{Wire: realtime.Odoo, From: from})
		return upgrade(c)
	}
}

// odooHandshake holds a request against the rules of Odoo's server, and an Origin
// against our list: a browser always sends one, and a page of another site is not
// to listen here.
func (p *Public) odooHandshake(c *fiber.Ctx) error {
	if len(c.Request().Header.Host()) == 0 {
		return fiber.NewError(fiber.StatusBadRequest, "a WebSocket handshake needs the header Host")
	}
	for _, name := range []string{fiber.HeaderUpgrade, fiber.HeaderConnection, fiber.HeaderSecWebSocketKey, fiber.HeaderSecWebSocketVersion, fiber.HeaderOrigin} {
		if c.Get(name) == "" {
			return fiber.NewError(fiber.StatusBadRequest, "a WebSocket handshake needs the header "+name)
		}
	}
	if !strings.EqualFold(c.Get(fiber.HeaderUpgrade), "websocket") || !hasToken(c.Get(fiber.HeaderConnection), "upgrade") {
		return fiber.NewError(fiber.StatusBadRequest, "this is a WebSocket: Upgrade: websocket, Connection: Upgrade")
	}
	if err := handshake(c); err != nil {
		return err
	}
	if !p.allowed(c) {
		return fiber.NewError(fiber.StatusForbidden, "pages of this origin may not open sessions here")
	}
	return nil
}

// hasToken: a header that is a comma list has it.
func hasToken(header, token string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if strings.EqualFold(strings.TrimSpace(one), token) {
			return true
		}
	}
	return false
}

// odooHealth is GET /websocket/health, as Odoo's proxies ask for it.
func odooHealth(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendString(`{"status": "pass"}`)
}
