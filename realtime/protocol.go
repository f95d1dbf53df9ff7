package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// Subprotocol is the name of this protocol in Sec-WebSocket-Protocol. Its
// frames are JSON text.
const Subprotocol = "shelfcast.v1"

// A Mode is what a session is sent.
type Mode int

const (
	Full   Mode = iota // fragments
	Notify             // versions only; the browser fetches fragments, from a CDN maybe
)

// request is what a browser sends.
type request struct {
	Watch   []watch `json:"watch"`
	Unwatch []int64 `json:"unwatch"`
	Ping    *int64  `json:"ping"` // to be answered with {"pong": the same}: a script in a page sees no other sign of life
}

// watch: the page has this product in this view, and shows this version of it;
// 0 if it shows nothing yet.
type watch struct {
	store.Rev
	View render.View `json:"view"`
}

// target is what a session watches: one product in one view.
type target struct {
	id   int64
	view render.View
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
		if w.ID <= 0 || w.Version < 0 {
			return r, &refusal{Code: "bad_product", Message: "a product has a positive id and no negative version", ID: w.ID, close: ws.StatusPolicyViolation}
		}
	}
	return r, nil
}

// A delivery is one fragment on its way to one session.
type delivery struct {
	target
	version  int64
	fragment *render.Fragment // nil in notify mode
	reset    bool             // the page shows a version that the database has lost
}

// perFrame bounds a frame, so that a page of hundreds of products is brought up
// to date step by step.
const perFrame = 64

// appendFrames adds the frames of these deliveries to the buffers of one write.
// The bytes of the fragments are shared, not copied.
func appendFrames(to net.Buffers, mode Mode, all []delivery) net.Buffers {
	for len(all) > 0 {
		some := all[:min(len(all), perFrame)]
		all = all[len(some):]
		if mode == Notify {
			to = appendFrame(to, [][]byte{notifyText(some)})
		} else {
			to = appendFrame(to, fragmentsText(some))
		}
	}
	return to
}

// appendFrame adds one text frame whose payload is in parts.
func appendFrame(to net.Buffers, parts [][]byte) net.Buffers {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	header := bytes.NewBuffer(make([]byte, 0, ws.MaxHeaderSize))
	if err := ws.WriteHeader(header, ws.Header{Fin: true, OpCode: ws.OpText, Length: int64(length)}); err != nil {
		panic(err) // a header that we made, into memory
	}
	return append(append(to, header.Bytes()), parts...)
}

var (
	fragmentsOpen = []byte(`{"fragments":[`)
	listClose     = []byte(`]}`)
	comma         = []byte(`,`)
	resetClose    = []byte(`,"reset":true}`)
)

func fragmentsText(some []delivery) [][]byte {
	parts := make([][]byte, 0, 2*len(some)+2)
	parts = append(parts, fragmentsOpen)
	for i, d := range some {
		if i > 0 {
			parts = append(parts, comma)
		}
		text := d.fragment.JSON()
		if d.reset {
			parts = append(parts, text[:len(text)-1], resetClose)
		} else {
			parts = append(parts, text)
		}
	}
	return append(parts, listClose)
}

// pongFrame answers a request's ping.
func pongFrame(ping int64) []byte {
	return ws.MustCompileFrame(ws.NewTextFrame(fmt.Appendf(nil, `{"pong":%d}`, ping)))
}

func notifyText(some []delivery) []byte {
	text := []byte(`{"changed":[`)
	for i, d := range some {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, `{"id":`...)
		text = strconv.AppendInt(text, d.id, 10)
		text = append(text, `,"version":`...)
		text = strconv.AppendInt(text, d.version, 10)
		text = append(text, `,"view":"`...)
		text = append(text, d.view...)
		text = append(text, '"')
		if d.reset {
			text = append(text, `,"reset":true`...)
		}
		text = append(text, '}')
	}
	return append(text, listClose...)
}
