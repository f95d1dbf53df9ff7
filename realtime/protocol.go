package realtime

import (
	"net/netip"
	"time"

	"github.com/gobwas/ws"
)

// A Protocol is how a page and the hub talk over a connection. To add one: implement
// protocol in a file of its own, and add it to the constants and protocols below. If it is
// a stream, implement stream too, and it is served at /live/PATH; otherwise route requests
// for it to Hub.Adopt in api/public. Metrics follow; docs/metrics.md lists its name.
type Protocol uint8

const (
	// WebSocket is shelfcast.v1 (see Subprotocol): both sides speak.
	WebSocket Protocol = iota
	// EventStream is server-sent events, for browsers that no WebSocket gets through to.
	EventStream
	// Odoo is the bus of Odoo 16 over a WebSocket: see OdooConfig.
	Odoo
)

var protocols = [...]protocol{WebSocket: webSocket{}, EventStream: eventStream{}, Odoo: odooBus{}}

// protocolNames returns the names of all protocols.
func protocolNames() (names []string) {
	for _, p := range protocols {
		names = append(names, p.name())
	}
	return names
}

// String returns the protocol's name, as metrics have it.
func (p Protocol) String() string { return protocols[p].name() }

// protocol is what a session needs of its Protocol. Implementations have no state: what
// they remember is in the session.
type protocol interface {
	name() string

	// receive handles bytes that the browser has sent: any number of messages, or a part of
	// one. data is the caller's again afterwards. An error ends the connection.
	receive(s *session, w *scratch, data []byte) error
	// byteCost is what a byte of them takes out of the session's budget.
	byteCost() time.Duration

	// appendNews appends one message with these versions.
	appendNews(to []byte, mode Mode, picks []pick) []byte
	// sharesFrames reports whether a message with one version is the very frame that a flush
	// cycle makes once for all sessions: a text frame with the list of shelfcast.v1.
	sharesFrames() bool

	// refusal returns what tells the browser that what it has sent is refused, and reports
	// whether it ends the session.
	refusal(r *refusal) (frames []byte, last bool)
	// ping returns what keeps the connection from being taken for dead, and reports whether
	// the browser answers it.
	ping() (frames []byte, answered bool)
	// end returns the last frames of a session: code and reason are those of a WebSocket's
	// close frame (RFC 6455, 7.4).
	end(code ws.StatusCode, reason string) []byte
	// restart returns the last frames of a session that is to connect again at once, maybe
	// elsewhere.
	restart() []byte
}

// stream is a protocol that sends the response to one GET request, which does not end.
type stream interface {
	protocol
	path() string        // the last segment of its path
	contentType() string // of the response
	// first is sent at once: the client detects a proxy that buffers, as it does not arrive.
	first() []byte
}

// A Stream is what a response in a Protocol begins with.
type Stream struct {
	Protocol    Protocol
	ContentType string
	First       []byte // the first bytes of the body
}

// StreamAt returns the stream that is served at /live/path, and false if there is none.
func StreamAt(path string) (Stream, bool) {
	for i, p := range protocols {
		if s, ok := p.(stream); ok && s.path() == path {
			return Stream{Protocol(i), s.contentType(), s.first()}, true
		}
	}
	return Stream{}, false
}

// speaks returns the session's protocol.
func (s *session) speaks() protocol { return protocols[s.protocol] }

// A Join says how a session begins. The zero value is a WebSocket that is sent
// fragments and has yet to say what it watches.
type Join struct {
	Protocol Protocol
	Mode     Mode
	From     netip.Addr // see Admit
	Head     []byte     // is written before all else: the header of a response
	Watch    []Watch    // what the page shows, as far as the request has said it
	Early    []byte     // what the browser has sent after its request, if it was read already
}

// statusRestart is 1012 of the IANA registry of close codes: service restart.
const statusRestart ws.StatusCode = 1012
