package realtime

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// Subprotocol is the name of this protocol in Sec-WebSocket-Protocol. Its
// frames are JSON text.
const Subprotocol = "shelfcast.v1"

// A Mode is what a session is sent.
type Mode uint8

const (
	Full   Mode = iota // fragments
	Notify             // versions only; the browser fetches fragments, from a CDN maybe
)

// request is what a browser sends.
type request struct {
	Watch   []watch     `json:"watch"`
	Unwatch []int64     `json:"unwatch"`
	Applied []store.Rev `json:"applied"` // the page shows these now; said by a sample of pages
	Ping    *int64      `json:"ping"`    // to be answered with {"pong": the same}: a script in a page sees no other sign of life
}

// watch: the page has this product in this view, and shows this version of it;
// 0 if it shows nothing yet.
type watch struct {
	store.Rev
	View render.View `json:"view"`
}

// A refusal is an error frame, and the code of the close that follows it. Code
// 0: the session goes on.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	ID      int64  `json:"id,omitempty"` // the product that it is about

	close ws.StatusCode
}

func (r *refusal) Error() string { return r.Code + ": " + r.Message }

// frame is the refusal as a WebSocket frame.
func (r *refusal) frame() []byte {
	text, err := json.Marshal(map[string]*refusal{"error": r})
	if err != nil {
		panic(err) // two strings and a number
	}
	return ws.MustCompileFrame(ws.NewTextFrame(text))
}

// parseRequest reads a message of a browser.
func parseRequest(message []byte) (request, *refusal) {
	var r request
	if err := json.Unmarshal(message, &r); err != nil {
		return r, &refusal{Code: "bad_json", Message: "the frame is not the JSON of a request: " + err.Error(), close: ws.StatusInvalidFramePayloadData}
	}
	for _, w := range r.Watch {
		if _, ok := render.ParseView(string(w.View)); !ok {
			return r, &refusal{Code: "unknown_view", Message: fmt.Sprintf("there is no view %q", w.View), ID: w.ID, close: ws.StatusPolicyViolation}
		}
		if w.ID <= 0 || w.Version < 0 || w.Version > maxVersion {
			return r, &refusal{Code: "bad_product", Message: "a product has a positive id, and a version is a time in microseconds", ID: w.ID, close: ws.StatusPolicyViolation}
		}
	}
	return r, nil
}

var (
	opens = map[Mode]string{Full: `{"fragments":[`, Notify: `{"changed":[`}
	shut  = `]}`
	reset = `,"reset":true}` // the page shows a version that the database has lost
)

// appendFrame adds one text frame with the list of these.
func appendFrame(to []byte, mode Mode, picks []pick) []byte {
	length := len(opens[mode]) + len(picks) - 1 + len(shut)
	for _, p := range picks {
		length += len(p.text)
		if p.reset {
			length += len(reset) - 1
		}
	}
	to = appendHeader(to, length)
	to = append(to, opens[mode]...)
	for i, p := range picks {
		if i > 0 {
			to = append(to, ',')
		}
		if p.reset {
			to = append(append(to, p.text[:len(p.text)-1]...), reset...)
		} else {
			to = append(to, p.text...)
		}
	}
	return append(to, shut...)
}

// appendHeader adds the header of a text frame (RFC 6455, 5.2). It is written
// here because ws.WriteHeader wants a Writer, and makes garbage for each frame.
func appendHeader(to []byte, length int) []byte {
	const finText = 0x80 | byte(ws.OpText)
	switch {
	case length < 126:
		return append(to, finText, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(to, finText, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(to, finText, 127), uint64(length))
}

// changedText is what a session is told that is not sent fragments.
func changedText(t *topic, version int64) []byte {
	return fmt.Appendf(nil, `{"id":%d,"version":%d,"view":%q}`, t.id, version, t.kind.view())
}

// pongFrame answers a request's ping.
func pongFrame(ping int64) []byte {
	return ws.MustCompileFrame(ws.NewTextFrame(fmt.Appendf(nil, `{"pong":%d}`, ping)))
}
