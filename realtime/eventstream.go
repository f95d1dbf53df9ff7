package realtime

import (
	"time"

	"github.com/gobwas/ws"
)

// eventStream is server-sent events (HTML, 9.2). The page has said in its request what it
// shows, and nothing that it sends after that is read. The end of the stream has no code.
type eventStream struct{}

func (eventStream) name() string { return "event-stream" }

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

// ping is an event that is empty, which a script in a page can see.
func (eventStream) ping() (frames []byte, answered bool) { return []byte("data: {}\n\n"), false }

func (eventStream) end(ws.StatusCode, string) []byte { return nil }
func (eventStream) restart() []byte                  { return nil }
