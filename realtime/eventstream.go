package realtime

import (
	"time"

	"github.com/gobwas/ws"
)

// eventStream is server-sent events (HTML, 9.2); protocol.go says how to add a protocol. The
// page has said in its request what it shows, and nothing that it sends after that is read.
// The end of the stream has no code.
type eventStream struct{}

func (eventStream) name() string        { return "event-stream" }
func (eventStream) path() string        { return "sse" }
func (eventStream) contentType() string { return "text/event-stream" }
func (eventStream) first() []byte       { return emptyEvent }

// emptyEvent can be seen by a script in a page, unlike a comment.
var emptyEvent = []byte("data: {}\n\n")

func (eventStream) receive(*session, *scratch, []byte) error { return nil }
func (eventStream) byteCost() time.Duration                  { return byteCost }

func (eventStream) appendNews(to []byte, mode Mode, picks []pick) []byte {
	to = append(to, "data: "...)
	return append(appendList(to, mode, picks), "\n\n"...)
}

func (eventStream) sharesFrames() bool { return false }

// refusal: the text is JSON, and so has no line break.
func (eventStream) refusal(r *refusal) (frames []byte, last bool) {
	return append(append([]byte("data: "), r.text()...), "\n\n"...), r.close != 0
}

func (eventStream) ping() (frames []byte, answered bool) { return emptyEvent, false }

func (eventStream) end(ws.StatusCode, string) []byte { return nil }
func (eventStream) restart() []byte                  { return nil }
