// Package liveclient is a client of shelfcast.v1, the WebSocket protocol that
// pages speak (docs/protocol.md), for programs: the smoke test, the load test and the
// tests. It writes the protocol's names out instead of sharing the server's types,
// so that a server that changes them fails the tests.
package liveclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"shelfcast/store"
)

// Subprotocol is the protocol's name in Sec-WebSocket-Protocol.
const Subprotocol = "shelfcast.v1"

// A Frame is a message of the server.
type Frame struct {
	Fragments []Fragment
	Changed   []Fragment // in notify mode, without HTML
	Error     *Error
	Pong      *int64
}

// A Fragment is one product in one view.
type Fragment struct {
	store.Rev
	View, HTML         string
	Reset, Unavailable bool
}

// An Error is what the server says about a request.
type Error struct {
	Code, Message string
	ID            int64
}

// Closed is the error of a session that the server has closed with a close frame.
type Closed struct {
	Code   ws.StatusCode // 1012 if the server restarts
	Reason string
}

func (c *Closed) Error() string { return fmt.Sprintf("%d %s", c.Code, c.Reason) }

// A Conn is a session. One goroutine may read while others write.
type Conn struct {
	net.Conn
	reader *bufio.Reader // of Conn, with what came along with the handshake
}

// maxMessage is the largest message that is read.
const maxMessage = 64 << 20

// Dial opens a session at a URL like wss://shop.example/live. A refused handshake
// is a ws.StatusError.
func Dial(ctx context.Context, dialer ws.Dialer, url string) (*Conn, error) {
	dialer.Protocols = []string{Subprotocol}
	conn, reader, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	if reader == nil { // nothing came with the answer to the handshake
		reader = bufio.NewReaderSize(conn, 1024)
	}
	return &Conn{conn, reader}, nil
}

// Buffered returns how many bytes were received and not yet returned by Next.
func (c *Conn) Buffered() int { return c.reader.Buffered() }

// Send sends a text message.
func (c *Conn) Send(text []byte) error { return c.WriteFrame(ws.NewTextFrame(text)) }

// WriteFrame masks a frame and sends it with one call of Write.
func (c *Conn) WriteFrame(frame ws.Frame) error {
	compiled, err := ws.CompileFrame(ws.MaskFrame(frame))
	if err != nil {
		return err
	}
	_, err = c.Write(compiled)
	return err
}

// Watch says that the page shows these products in a view; version 0 asks for the
// current fragment.
func (c *Conn) Watch(view string, shown ...store.Rev) error {
	return c.Send(appendWatch(nil, view, shown))
}

// WatchAndPing is Watch with a ping, which the server answers with a Pong once it
// has processed the watches.
func (c *Conn) WatchAndPing(ping int64, view string, shown ...store.Rev) error {
	text := appendWatch(nil, view, shown)
	return c.Send(fmt.Appendf(text[:len(text)-1], `,"ping":%d}`, ping))
}

func appendWatch(to []byte, view string, shown []store.Rev) []byte {
	to = append(to, `{"watch":[`...)
	for i, r := range shown {
		if i > 0 {
			to = append(to, ',')
		}
		to = fmt.Appendf(to, `{"id":%d,"version":%d,"view":%q}`, r.ID, r.Version, view)
	}
	return append(to, "]}"...)
}

// Next returns the next frame. Pings are answered on the way; a close frame is the
// error *Closed.
func (c *Conn) Next() (f Frame, err error) {
	text, err := c.ReadMessage()
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("not a frame of %s: %.80q", Subprotocol, text)
	}
	return f, nil
}

// ReadMessage is Next for callers that parse the text themselves.
func (c *Conn) ReadMessage() (text []byte, err error) {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame.Header.OpCode {
		case ws.OpPing:
			_ = c.WriteFrame(ws.NewPongFrame(frame.Payload)) // if nobody is there any more, the next read says so
		case ws.OpPong:
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(frame.Payload)
			return nil, &Closed{code, reason}
		case ws.OpBinary:
			return nil, errors.New("the server sent a binary frame")
		default: // text, or its continuation
			if text == nil {
				text = frame.Payload
			} else {
				text = append(text, frame.Payload...)
			}
			if frame.Header.Fin {
				if !utf8.Valid(text) {
					return nil, fmt.Errorf("the server sent a text that is not UTF-8: %.80q", text)
				}
				return text, nil
			}
		}
	}
}

// ReadFrame returns the next frame of WebSocket as it is, and answers nothing.
func (c *Conn) ReadFrame() (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(c.reader); err != nil {
		return f, err
	}
	if f.Header.Length > maxMessage {
		return f, fmt.Errorf("a frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(c.reader, f.Payload)
	return f, err
}
