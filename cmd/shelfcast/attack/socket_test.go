package attack

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/gobwas/ws"
)

// A socket is an attacker's WebSocket.
type socket struct{ *conn }

// handshake returns a WebSocket handshake.
func handshake(path, host string, headers ...string) []byte {
	return get(path, host, append([]string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: http://" + host,
	}, headers...)...)
}

// join opens a session, with a small receive buffer if slow. It returns nil if the
// session was refused, which it counts.
func (a *attacker) join(instance, from int, path string, slow bool) *socket {
	c, err := a.dial(a.Public[instance], from)
	if err != nil {
		a.note(failure(err))
		return nil
	}
	if slow {
		c.slow()
	}
	if _, err = c.Write(handshake(path, a.Public[instance])); err == nil {
		var status int
		if status, _, _, err = c.upgraded(); err == nil && status != 101 {
			a.note(fmt.Sprint("handshake ", status))
			c.Close()
			return nil
		}
	}
	if err != nil {
		a.note("handshake " + failure(err))
		c.Close()
		return nil
	}
	return &socket{c}
}

// upgraded reads the answer to a handshake, and nothing after it.
func (c *conn) upgraded() (status int, protocol string, early int, err error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return 0, "", 0, err
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
		return 0, "", 0, err
	}
	for {
		header, err := c.r.ReadString('\n')
		if err != nil || header == "\r\n" {
			return status, protocol, c.r.Buffered(), err
		}
	}
}

// text returns the bytes of a masked text frame.
func text(s string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))) }

// end reads until the session ends, and counts and returns how: the close code, 0 if
// it ended without one, -1 if it did not end.
func (s *socket) end() (code int) {
	for {
		frame, err := ws.ReadFrame(s.r)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed): // by us
			s.a.note("open")
			return -1
		case err != nil:
			s.a.note(failure(err))
			return 0
		case frame.Header.OpCode == ws.OpClose:
			code, _ := ws.ParseCloseFrameData(frame.Payload)
			s.a.note(fmt.Sprint("close ", uint16(code)))
			return int(code)
		}
	}
}

// flood sends the same bytes until writing fails, or most times.
func (s *socket) flood(frame []byte, most int) (sent int) {
	for ; sent < most; sent++ {
		if _, err := s.Write(frame); err != nil {
			break
		}
	}
	return sent
}
