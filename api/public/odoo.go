package public

import (
	"strings"
	"sync"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"shelfcast/api/httpx"
	"shelfcast/realtime"
)

// odooBus is GET /websocket: the handshake of Odoo 16's bus, after which the hub has the connection. Cookies are
// ignored: all clients get the same messages.
func (p *App) odooBus() fiber.Handler {
	upgrade := websocket.New(func(c *websocket.Conn) {
		join, _ := c.Locals(joinLocal).(realtime.Join)
		p.adopt(c.NetConn(), join)
	}, websocket.Config{
		ReadBufferSize:  125, // unused: the hub reads from the socket itself
		WriteBufferSize: 256,
		WriteBufferPool: &sync.Pool{},
	})
	return func(c *fiber.Ctx) error {
		if err := p.checkOdooHandshake(c); err != nil {
			return err
		}
		from := httpx.ClientAddr(c, p.TrustedProxies)
		if err := p.Hub.Admit(from); err != nil {
			return err
		}
		c.Locals(joinLocal, realtime.Join{Protocol: realtime.Odoo, From: from})
		return upgrade(c)
	}
}

// checkOdooHandshake checks a request by the rules of Odoo's server, and its Origin against Origins: a browser always
// sends one, and pages of other sites must not listen here.
func (p *App) checkOdooHandshake(c *fiber.Ctx) error {
	if len(c.Request().Header.Host()) == 0 {
		return fiber.NewError(fiber.StatusBadRequest, "a WebSocket handshake needs the header Host")
	}
	for _, name := range []string{fiber.HeaderUpgrade, fiber.HeaderConnection,
		fiber.HeaderSecWebSocketKey, fiber.HeaderSecWebSocketVersion, fiber.HeaderOrigin} {
		if c.Get(name) == "" {
			return fiber.NewError(fiber.StatusBadRequest, "a WebSocket handshake needs the header "+name)
		}
	}
	if !strings.EqualFold(c.Get(fiber.HeaderUpgrade), "websocket") ||
		!headerHasToken(c.Get(fiber.HeaderConnection), "upgrade") {
		return fiber.NewError(fiber.StatusBadRequest, "this is a WebSocket: Upgrade: websocket, Connection: Upgrade")
	}
	if err := checkHandshake(c); err != nil {
		return err
	}
	return p.checkOrigin(c)
}

// headerHasToken reports whether a header that is a comma-separated list contains the token.
func headerHasToken(header, token string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if strings.EqualFold(strings.TrimSpace(one), token) {
			return true
		}
	}
	return false
}

// odooHealth is GET /websocket/health, which Odoo's proxies call.
func odooHealth(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.SendString(`{"status": "pass"}`)
}
