package api

import (
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"shelfcast/realtime"
)

// live is GET /live: the handshake, after which the connection is the hub's.
// Whoever is refused is so before the upgrade, so that his back-off grows.
func (p *Public) live() fiber.Handler {
	config := websocket.Config{
		Subprotocols:    []string{realtime.Subprotocol},
		ReadBufferSize:  125, // used for nothing: the hub reads from the socket itself
		WriteBufferSize: 256,
		WriteBufferPool: &sync.Pool{},
	}
	full := websocket.New(func(c *websocket.Conn) { p.adopt(c, realtime.Full) }, config)
	notify := websocket.New(func(c *websocket.Conn) { p.adopt(c, realtime.Notify) }, config)
	return func(c *fiber.Ctx) error {
		if !websocket.IsWebSocketUpgrade(c) {
			return fiber.NewError(fiber.StatusUpgradeRequired, "this is a WebSocket: ws(s)://…/live, subprotocol "+realtime.Subprotocol)
		}
		if !p.allowed(c) {
			return fiber.NewError(fiber.StatusForbidden, "pages of this origin may not open sessions here")
		}
		upgrade := full
		switch c.Query("mode") {
		case "":
		case "notify":
			upgrade = notify
		default:
			return fiber.NewError(fiber.StatusBadRequest, "there is no such mode")
		}
		from := clientOf(c, p.TrustedProxies)
		if err := p.Hub.Admit(from); err != nil {
			return err
		}
		c.Locals(fromLocal, from)
		return upgrade(c)
	}
}

// allowed: the page that asks is of this host or of one that is on the list. A
// browser always says of which; programs need not.
func (p *Public) allowed(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" || slices.Contains(p.Origins, "*") || slices.Contains(p.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, c.Hostname())
}

// fromLocal is where the handshake leaves the client's address.
const fromLocal = "from"

// adopt takes the socket out of its wrappers and hands it to the hub. The
// wrappers are pooled: once this has returned they are somebody else's.
func (p *Public) adopt(c *websocket.Conn, mode realtime.Mode) {
	conn := c.NetConn()
	from, _ := c.Locals(fromLocal).(netip.Addr)
	var early []byte
	if hijacked, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
		early = buffered(conn)
		conn = hijacked.UnsafeConn()
	}
	conn.SetDeadline(time.Time{})
	if err := p.Hub.Adopt(conn, early, mode, from); err != nil {
		p.Log.Debug("a session came too late", "error", err)
	}
}

// buffered is what the server has read together with the request: a browser
// that does not wait for the answer has sent it. Nothing is read from the
// socket, which has no time for it.
func buffered(conn net.Conn) []byte {
	conn.SetReadDeadline(time.Unix(1, 0))
	early, _ := io.ReadAll(io.LimitReader(conn, maxHeader)) // until there is no more
	return early
}
