package realtime

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// Subprotocol is the name of our protocol in Sec-WebSocket-Protocol. Its frames are JSON text.
const Subprotocol = "shelfcast.v1"

// A Mode says what a session is sent.
type Mode uint8

const (
	Full   Mode = iota // fragments
	Notify             // versions only; the browser fetches fragments, from a CDN maybe
)

// request is what a browser sends.
type request struct {
	Watch   []Watch     `json:"watch"`
	Unwatch []int64     `json:"unwatch"`
	Applied []store.Rev `json:"applied"` // the page shows these now; said by a sample of pages
	Ping    *int64      `json:"ping"`    // to be answered with {"pong": the same}: a script in a page cannot see ping frames
}

// A Watch is a product that a page shows in a view, and the version that it shows; 0: nothing
// yet.
type Watch struct {
	store.Rev
	View render.View `json:"view"`
}

// A refusal is an error that is sent to a browser, and the close code that follows. Close code
// 0 means that the session goes on.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	ID      int64  `json:"id,omitempty"` // the product that it is about

	close ws.StatusCode
}

func (r *refusal) Error() string { return r.Code + ": " + r.Message }

// messageBytes bounds the message of a refusal, which may quote the browser.
const messageBytes = 200

// text returns the refusal as the text of a frame.
func (r *refusal) text() []byte {
	if len(r.Message) > messageBytes {
		r.Message = strings.ToValidUTF8(r.Message[:messageBytes], "") + "…"
	}
	text, err := json.Marshal(map[string]*refusal{"error": r})
	if err != nil {
		panic(err) // two strings and a number
	}
	return text
}

// parseRequest parses a message of a browser.
func (h *Hub) parseRequest(message []byte) (request, *refusal) {
	var r request
	if err := json.Unmarshal(message, &r); err != nil {
		return r, &refusal{Code: "bad_json", Message: "the frame is not the JSON of a request: " + err.Error(),
			close: ws.StatusInvalidFramePayloadData}
	}
	if max(len(r.Watch), len(r.Unwatch), len(r.Applied)) > h.cfg.MaxProducts {
		return r, h.tooMany()
	}
	for i := range r.Watch {
		if refused := h.check(&r.Watch[i]); refused != nil {
			return r, refused
		}
	}
	return r, nil
}

// check validates w, and replaces its view by our own copy of the name: a session must not keep
// bytes that a browser has sent.
func (h *Hub) check(w *Watch) *refusal {
	view, ok := h.fragments.ParseView(string(w.View))
	if !ok {
		return &refusal{Code: "unknown_view", Message: fmt.Sprintf("there is no view %q", w.View), ID: w.ID,
			close: ws.StatusPolicyViolation}
	}
	if w.ID <= 0 || w.Version < 0 || w.Version > maxVersion {
		return &refusal{Code: "bad_product", ID: w.ID, close: ws.StatusPolicyViolation,
			Message: "a product has a positive id, and a version is a time in microseconds"}
	}
	w.View = view
	return nil
}

// ParseWatch reads a list as it stands in a URL, ID:VERSION:VIEW,… where the
// view may be missing (render.Card) and with it the version (0). Numbers are as we
// write them, and no product is there twice in a view. The list may be empty. An error
// says what is wrong with it, for whoever made it.
func (h *Hub) ParseWatch(list string) ([]Watch, error) {
	if list == "" {
		return nil, nil
	}
	items := strings.Split(list, ",")
	if len(items) > h.cfg.MaxProducts {
		return nil, h.tooMany()
	}
	all := make([]Watch, len(items))
	seen := make(map[Watch]bool, len(items)) // without their versions
	for i, item := range items {
		id, rest, _ := strings.Cut(item, ":")
		version, view, _ := strings.Cut(rest, ":")
		w := &all[i]
		var bad, worse error
		version = cmp.Or(version, "0")
		w.ID, bad = strconv.ParseInt(id, 10, 64)
		w.Version, worse = strconv.ParseInt(version, 10, 64)
		if bad != nil || worse != nil || strconv.FormatInt(w.ID, 10) != id || strconv.FormatInt(w.Version, 10) != version {
			return nil, &refusal{Code: "bad_list", Message: fmt.Sprintf("%.40q is not ID:VERSION:VIEW", item)}
		}
		w.View = cmp.Or(render.View(view), render.Card)
		if refused := h.check(w); refused != nil {
			return nil, refused
		}
		shown := Watch{store.Rev{ID: w.ID}, w.View}
		if seen[shown] {
			return nil, &refusal{Code: "bad_list", Message: fmt.Sprintf("%.40q is in the list twice", item), ID: w.ID}
		}
		seen[shown] = true
	}
	return all, nil
}

func (h *Hub) tooMany() *refusal {
	return &refusal{Code: "too_many_products", close: ws.StatusPolicyViolation,
		Message: fmt.Sprintf("a session watches at most %d products", h.cfg.MaxProducts)}
}

var (
	opens = map[Mode]string{Full: `{"fragments":[`, Notify: `{"changed":[`}
	shut  = `]}`
	reset = `,"reset":true}` // the page shows a version that the database has lost
)

// appendFrame appends a text frame with these picks.
func appendFrame(to []byte, mode Mode, picks []pick) []byte {
	length := len(opens[mode]) + len(picks) - 1 + len(shut)
	for _, p := range picks {
		length += len(p.text)
		if p.reset {
			length += len(reset) - 1
		}
	}
	return appendList(appendHeader(to, length), mode, picks)
}

// appendList appends the text of a frame.
func appendList(to []byte, mode Mode, picks []pick) []byte {
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

// whole returns the text of p, with its reset if it has one.
func (p pick) whole() []byte {
	if p.reset {
		return slices.Concat(p.text[:len(p.text)-1], []byte(reset))
	}
	return p.text
}

// Frame returns the text of a frame with these texts in its list, in parts, so that they are
// not copied. next, unless it is 0, is how many of the requested products the frame covers:
// the browser has to ask again for the rest.
func Frame(mode Mode, texts [][]byte, next int) net.Buffers {
	parts := make(net.Buffers, 0, 2*len(texts)+2)
	parts = append(parts, []byte(opens[mode]))
	for i, text := range texts {
		if i > 0 {
			parts = append(parts, comma)
		}
		parts = append(parts, text)
	}
	if next == 0 {
		return append(parts, []byte(shut))
	}
	return append(parts, fmt.Appendf(nil, `],"next":%d}`, next))
}

var comma = []byte(",")

// appendHeader appends the header of a text frame (RFC 6455, 5.2). ws.WriteHeader would need a
// Writer, and allocate for each frame.
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

// changedText returns what a session in Notify mode is sent.
func changedText(t *topic, version int64) []byte {
	return fmt.Appendf(nil, `{"id":%d,"version":%d,"view":%q}`, t.id, version, t.kind.view)
}

// pongFrame returns the answer to a request's ping.
func pongFrame(ping int64) []byte {
	return ws.MustCompileFrame(ws.NewTextFrame(fmt.Appendf(nil, `{"pong":%d}`, ping)))
}
