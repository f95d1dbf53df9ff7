package realtime

import (
	"net/netip"

	"github.com/gobwas/ws"
)

// A Wire is how a connection carries what a session is told. The frames are the
// same JSON on each.
type Wire uint8

const (
	// WebSocket is RFC 6455: both sides speak.
	WebSocket Wire = iota
	// EventStream is server-sent events (HTML, 9.2), for browsers whose way
	// here lets no WebSocket through. What the page shows it has said in its
	// request; nothing that it sends after that is read, and the end of the
	// stream has no code.
	EventStream
	// Odoo is the bus of Odoo 16 over a WebSocket: see OdooConfig.
	Odoo
)

// String is the wire's name in metrics.
func (w Wire) String() string {
	switch w {
	case EventStream:
		return "event-stream"
	case Odoo:
		return "odoo"
	}
	return "websocket"
}

// A Join says how a session begins. The zero value is a WebSocket that is sent
// fragments and has yet to say what it watches.
type Join struct {
	Wire  Wire
	Mode  Mode
	From  netip.Addr // see Admit
	Head  []byte     // is written before all else: the header of a response
	Watch []Watch    // what the page shows, as far as the request has said it
	Early []byte     // what the browser has sent after its request, if it was read already
}

// beat is a sign of life that a script in a page can see; an event that is
// empty.
var beat = []byte("data: {}\n\n")

var pingFrame = ws.MustCompileFrame(ws.NewPingFrame(nil))

// message is one message with that text. The text is JSON, and so has no line
// break.
func (w Wire) message(text []byte) []byte {
	if w == EventStream {
		return append(append([]byte("data: "), text...), "\n\n"...)
	}
	return ws.MustCompileFrame(ws.NewTextFrame(text))
}

// ping keeps what is between here and the browser from taking the connection
// for dead. Over a WebSocket it is answered.
func (w Wire) ping() []byte {
	if w == EventStream {
		return beat
	}
	return pingFrame
}

// end says that, and why, the connection is about to be closed.
func (w Wire) end(code ws.StatusCode, reason string) []byte {
	if w == EventStream {
		return nil
	}
	return ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
}

// farewell is the answer to a close frame without a code. Odoo's server says 1000: its client takes any other answer as
// a reason to come back at once.
func (w Wire) farewell() []byte {
	if w == Odoo {
		return w.end(ws.StatusNormalClosure, "")
	}
	return ws.MustCompileFrame(ws.NewCloseFrame(nil))
}

// statusRestart is 1012 of the IANA registry of close codes: service restart.
const statusRestart ws.StatusCode = 1012

// restart is the end of a session that is to come again, elsewhere maybe.
func (w Wire) restart() []byte {
	if w == Odoo {
		return w.end(statusKeepAlive, "")
	}
	return w.end(statusRestart, "service restart")
}

// appendFrame adds one message with the list of these.
func (w Wire) appendFrame(to []byte, mode Mode, picks []pick) []byte {
	if w == EventStream {
		to = append(to, "data: "...)
		return append(appendList(to, mode, picks), "\n\n"...)
	}
	return appendFrame(to, mode, picks)
}
