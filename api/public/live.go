package public

import (
	"encoding/base64"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"shelfcast/api/httpx"
	"shelfcast/realtime"
)

// live is GET /live: the handshake, after which the hub has the connection. Refusals come before the upgrade, so that
// the client backs off.
func (p *App) live() fiber.Handler {
	config := websocket.Config{
		Subprotocols:    []string{realtime.Subprotocol},
		ReadBufferSize:  125, // unused: the hub reads from the socket itself
		WriteBufferSize: 256,
		WriteBufferPool: &sync.Pool{},
	}
	upgrade := websocket.New(func(c *websocket.Conn) {
		join, _ := c.Locals(joinLocal).(realtime.Join)
		p.adopt(c.NetConn(), join)
	}, config)
	return func(c *fiber.Ctx) error {
		if !websocket.IsWebSocketUpgrade(c) {
			return fiber.NewError(fiber.StatusUpgradeRequired,
				"this is a WebSocket: ws(s)://…/live, subprotocol "+realtime.Subprotocol)
		}
		if err := checkHandshake(c); err != nil {
			return err
		}
		mode, err := p.checkVisit(c)
		if err != nil {
			return err
		}
		from := httpx.ClientAddr(c, p.TrustedProxies)
		if err := p.Hub.Admit(from); err != nil {
			return err
		}
		c.Locals(joinLocal, realtime.Join{Mode: mode, From: from})
		return upgrade(c)
	}
}

// checkHandshake checks what RFC 6455, 4.2.1 requires and the library does not.
func checkHandshake(c *fiber.Ctx) error {
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

// joinLocal is the key under which the handshake stores how the session begins.
const joinLocal = "join"

// checkVisit returns the mode of a session, or an error if the page may not have one.
func (p *App) checkVisit(c *fiber.Ctx) (realtime.Mode, error) {
	if err := p.checkOrigin(c); err != nil {
		return 0, err
	}
	switch c.Query("mode") {
	case "":
		return realtime.Full, nil
	case "notify":
		return realtime.Notify, nil
	}
	return 0, fiber.NewError(fiber.StatusBadRequest, "there is no such mode")
}

// adopt takes the socket out of its wrappers and hands it to the hub. The wrappers are pooled: they must not be used
// after it returns.
func (p *App) adopt(conn net.Conn, join realtime.Join) {
	if hijacked, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
		join.Early = bufferedBytes(conn)
		conn = hijacked.UnsafeConn()
	}
	conn.SetDeadline(time.Time{})
	if err := p.Hub.Adopt(conn, join); err != nil {
		p.Log.Debug("handing a connection to the hub failed", "error", err)
	}
}

// bufferedBytes returns what the server has read together with the request, from a browser that does not wait for the
// answer. It reads nothing from the socket, whose deadline has passed.
func bufferedBytes(conn net.Conn) []byte {
	conn.SetReadDeadline(time.Unix(1, 0))
	early, _ := io.ReadAll(io.LimitReader(conn, httpx.MaxHeader)) // until nothing is left
	return early
}
