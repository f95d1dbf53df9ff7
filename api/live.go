package api

import (
	"encoding/base64"
	"io"
	"net"
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
	upgrade := websocket.New(func(c *websocket.Conn) {
		join, _ := c.Locals(joinLocal).(realtime.Join)
		p.adopt(c.NetConn(), join)
	}, config)
	return func(c *fiber.Ctx) error {
		if !websocket.IsWebSocketUpgrade(c) {
			return fiber.NewError(fiber.StatusUpgradeRequired, "this is a WebSocket: ws(s)://…/live, subprotocol "+realtime.Subprotocol)
		}
		if err := handshake(c); err != nil {
			return err
		}
		mode, err := p.visit(c)
		if err != nil {
			return err
		}
		from := clientOf(c, p.TrustedProxies)
		if err := p.Hub.Admit(from); err != nil {
			return err
		}
		c.Locals(joinLocal, realtime.Join{Mode: mode, From: from})
		return upgrade(c)
	}
}

// handshake holds a request to upgrade against RFC 6455, 4.2.1, where the library
// is lenient.
func handshake(c *fiber.Ctx) error {
	request := c.Request()
	if !request.Header.IsHTTP11() || c.Method() != fiber.MethodGet {
		return fiber.NewError(fiber.StatusBadRequest, "a WebSocket handshake is a GET of HTTP/1.1")
	}
	if key, err := base64.StdEncoding.DecodeString(c.Get(fiber.HeaderSecWebSocketKey)); err != nil || len(key) != 16 {
		return fiber.NewError(fiber.StatusBadRequest, "Sec-WebSocket-Key is not the base64 of 16 bytes")
	}
	if c.Get(fiber.HeaderSecWebSocketVersion) != "13" {
		c.Set(fiber.HeaderSecWebSocketVersion, "13")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this server speaks version 13 of the WebSocket protocol")
	}
	return nil
}

// joinLocal is where the handshake leaves how the session begins.
const joinLocal = "join"

// visit is whether a page may have what is new, and how.
func (p *Public) visit(c *fiber.Ctx) (realtime.Mode, error) {
	if !p.allowed(c) {
		return 0, fiber.NewError(fiber.StatusForbidden, "pages of this origin may not open sessions here")
	}
	switch c.Query("mode") {
	case "":
		return realtime.Full, nil
	case "notify":
		return realtime.Notify, nil
	}
	return 0, fiber.NewError(fiber.StatusBadRequest, "there is no such mode")
}

// allowed: the page that asks is of this host or of one that is on the list. A
// browser always says of which; programs need not. The host is Host's, which a
// page cannot set: X-Forwarded-Host is whatever somebody has written there.
func (p *Public) allowed(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" || origin == p.PublicURL || slices.Contains(p.Origins, "*") || slices.Contains(p.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(c.Request().Host()))
}

// adopt takes the socket out of its wrappers and hands it to the hub. The
// wrappers are pooled: once this has returned they are somebody else's.
func (p *Public) adopt(conn net.Conn, join realtime.Join) {
	if hijacked, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
		join.Early = buffered(conn)
		conn = hijacked.UnsafeConn()
	}
	conn.SetDeadline(time.Time{})
	if err := p.Hub.Adopt(conn, join); err != nil {
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
