package realtime

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A sink is a link that takes everything.
type sink struct{ stone }

func (*sink) write([]byte) (taken, room bool, _ error) { return true, true, nil }
func (*sink) lost() bool                               { return false }

// FuzzFrames: whatever a browser sends, in whatever pieces, is no fault of ours,
// and what is remembered of it has a bound.
func FuzzFrames(f *testing.F) {
	text := func(s string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))) }
	for _, seed := range [][]byte{
		text(`{"watch":[{"id":1,"version":5,"view":"card"},{"id":2,"view":"detail"},{"id":3,"view":"card"}]}`),
		append(text(`{"watch":[{"id":1,"version":5,"view":"card"}],"ping":1}`),
			text(`{"unwatch":[1],"applied":[{"id":1,"version":5}]}`)...),
	} {
		f.Add(seed, byte(1))
		f.Add(seed, byte(255))
	}
	fuzzConnection(f, WebSocket, 1<<10)
}

// FuzzOdoo is FuzzFrames for the bus of Odoo.
func FuzzOdoo(f *testing.F) {
	text := func(s string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))) }
	for _, seed := range [][]byte{
		text(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`),
		text(`{"event_name":"subscribe","data":{"channels":["product_updates",null],"last":99999999999999999999}}`),
		append(text(`{"event_name":"subscribe","data":{"channels":[],"last":-1}}`),
			text(`{"event_name":"update_presence","data":{"inactivity_period":1}}`)...),
		ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(
			[]byte(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":1795433536820389}}`)))),
	} {
		f.Add(seed, byte(1))
		f.Add(seed, byte(255))
	}
	fuzzConnection(f, Odoo, maxOdooMessage)
}

// fuzzConnection takes pieces of bytes as one connection brings them.
func fuzzConnection(f *testing.F, protocol Protocol, limit int) {
	for _, seed := range [][]byte{
		ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("x")))),
		ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye")))),
		ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame([]byte{3}))),
		ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame([]byte{3, 238, 0xff}))),
		append(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte(`{"wat`)))),
			ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, []byte(`ch":[]}`))))...),
		ws.MustCompileFrame(ws.NewTextFrame([]byte("unmasked"))),
		{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		{0xc1, 0x80, 1, 2, 3, 4},
	} {
		f.Add(seed, byte(1))
		f.Add(seed, byte(255))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece byte) {
		shop := newShop(rev(1, 10), rev(2, 10))
		h := NewHub(shop, Config{
			MaxFrame: 1 << 10, MaxProducts: 8, Log: slog.New(slog.DiscardHandler), Odoo: OdooConfig{Changes: shop},
		})
		s := &session{hub: h, from: clientOf(netip.Addr{}), protocol: protocol, conn: &sink{}}
		if protocol == Odoo {
			s.subscriber = &subscriber{}
		}
		h.mu.Lock()
		h.table.add(s)
		h.clients[s.from]++
		h.mu.Unlock()
		h.withScratch(func(w *scratch) {
			for len(data) > 0 && !s.over() {
				n := min(len(data), int(piece)+1)
				if err := s.receiveBytes(w, append([]byte(nil), data[:n]...)); err != nil {
					break
				}
				data = data[n:]
				if s.in != nil && len(s.in.raw)+len(s.in.message) > limit+14 {
					t.Fatalf("%d bytes are kept of a message that may have %d", len(s.in.raw)+len(s.in.message), limit)
				}
			}
		})
		h.running.Wait()
		if n := testutil.ToFloat64(h.metrics.panics); n != 0 {
			t.Fatal("the hub panicked")
		}
		s.mu.Lock()
		if len(s.watching) > 8 {
			t.Errorf("%d products are watched", len(s.watching))
		}
		s.mu.Unlock()
		s.end()
		if h.Sessions() != 0 || len(h.topics) != 0 || len(h.clients) != 0 || len(h.unknown) != 0 ||
			h.partialBytes.Load() != 0 {
			t.Error("the closed session left state behind")
		}
	})
}

// FuzzClose: whatever is in a close frame, the answer is one that RFC 6455 allows.
func FuzzClose(f *testing.F) {
	for _, seed := range [][]byte{nil, {3}, {3, 232}, {3, 237}, {3, 238}, {3, 247}, {0, 0}, {255, 255},
		[]byte("\x03\xe8\xff"), []byte("\x0f\xa2so long")} {
		f.Add(seed)
	}
	h := NewHub(newShop(), Config{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > ws.MaxControlFramePayloadSize {
			return // a frame of that length is refused before
		}
		for _, protocol := range []Protocol{WebSocket, Odoo} {
			s := &session{hub: h, protocol: protocol, conn: &stone{}}
			h.withScratch(func(w *scratch) { s.handleClose(s.speaks().(framed), w, payload) })
			answer, err := ws.ReadFrame(bytes.NewReader(s.out.control))
			if err != nil || answer.Header.OpCode != ws.OpClose {
				t.Fatalf("%v: %x", err, s.out.control)
			}
			if len(answer.Payload) == 0 && len(payload) == 0 && protocol == WebSocket {
				continue
			}
			if err := ws.CheckCloseFrameData(ws.ParseCloseFrameData(answer.Payload)); err != nil {
				t.Errorf("%x is answered with %x: %v", payload, answer.Payload, err)
			}
		}
	})
}

// FuzzRequest: a request is taken or refused, and never both.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{`{"watch":[{"id":1,"version":5,"view":"card"}]}`, `{"unwatch":[1]}`, `{"ping":7}`, `[]`,
		`{"watch":[{"id":1e400}]}`, `{"watch":{}}`, `{"applied":[{}]}`} {
		f.Add([]byte(seed))
	}
	h := NewHub(newShop(), Config{})
	f.Fuzz(func(t *testing.T, message []byte) {
		r, refused := h.parseRequest(message)
		if refused != nil {
			if !json.Valid(refused.text()) || refused.close == 0 {
				t.Errorf("refused with %v", refused)
			}
			return
		}
		for _, w := range r.Watch {
			if w.ID <= 0 || w.Version < 0 || w.Version > maxVersion || w.View != "card" && w.View != "detail" {
				t.Errorf("%v was taken", w)
			}
		}
	})
}
