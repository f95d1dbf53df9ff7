package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// An odooSocket is a raw socket, over which tests send exactly what Odoo 16's worker
// sends.
type odooSocket struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	last int64
}

// handshake16 returns the handshake of Chromium, changed by headers; "" removes one.
func handshake16(t testing.TB, address, target string,
	headers map[string]string) (net.Conn, *http.Response, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	all := map[string]string{
		"Host": address, "Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket", "Origin": "http://" + address,
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
		"Cookie":                   "session_id=not one of 40 digits; frontend_lang=en_US; tz=Europe/Berlin",
	}
	for name, value := range headers {
		all[name] = value
	}
	request := "GET " + target + " HTTP/1.1\r\n"
	for name, value := range all {
		if value != "" {
			request += name + ": " + value + "\r\n"
		}
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	return conn, response, r
}

func odooAt(t testing.TB, address string) *odooSocket {
	t.Helper()
	conn, response, r := handshake16(t, address, "/websocket", nil)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	return &odooSocket{t: t, conn: conn, r: r}
}

func (s *odooSocket) frame(f ws.Frame) {
	s.t.Helper()
	if err := ws.WriteFrame(s.conn, ws.MaskFrameInPlace(f)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *odooSocket) say(text string) {
	s.t.Helper()
	s.frame(ws.NewTextFrame([]byte(text)))
}

func (s *odooSocket) subscribe(last int64, channels ...string) {
	s.t.Helper()
	list, _ := json.Marshal(append([]string{}, channels...))
	s.say(fmt.Sprintf(`{"event_name":"subscribe","data":{"channels":%s,"last":%d}}`, list, last))
}

func (s *odooSocket) read() ws.Frame {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	h, err := ws.ReadHeader(s.r)
	if err != nil {
		s.t.Fatal(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		s.t.Fatal(err)
	}
	if h.Masked || h.Rsv != 0 || !h.Fin {
		s.t.Fatalf("frame %+v", h)
	}
	return ws.Frame{Header: h, Payload: payload}
}

// odooNews is a notification as Odoo's worker receives it.
type odooNews struct {
	ID      int64 `json:"id"`
	Message struct {
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload"`
	} `json:"message"`
}

// product and version are those of the payload, which is an object.
func (n odooNews) rev(t testing.TB) store.Rev {
	t.Helper()
	payload := parse[struct {
		Product int64 `json:"product_tmpl_id"`
		Version int64 `json:"version"`
	}](t, string(n.Message.Payload))
	return store.Rev{ID: payload.Product, Version: payload.Version}
}

// told returns the next frame, which must be a non-empty list with rising ids.
func (s *odooSocket) told() []odooNews {
	s.t.Helper()
	f := s.read()
	if f.Header.OpCode != ws.OpText {
		s.t.Fatalf("a frame of kind %v: %q", f.Header.OpCode, f.Payload)
	}
	all := parse[[]odooNews](s.t, string(f.Payload))
	if len(all) == 0 {
		s.t.Fatal("an empty list")
	}
	for _, n := range all {
		if n.ID <= s.last || n.ID >= 1<<53 {
			s.t.Errorf("id %d after %d", n.ID, s.last)
		}
		s.last = n.ID
		if n.Message.Payload[0] != '{' {
			s.t.Errorf("payload %s", n.Message.Payload)
		}
	}
	return all
}

// hears reads until exactly these products were notified.
func (s *odooSocket) hears(want ...int64) {
	s.t.Helper()
	got := s.next()
	if !slices.Equal(got, want) {
		s.t.Errorf("heard of %v, want %v", got, want)
	}
}

// next returns the products of the next frame.
func (s *odooSocket) next() (ids []int64) {
	s.t.Helper()
	for _, n := range s.told() {
		ids = append(ids, n.rev(s.t).ID)
	}
	return ids
}

// nothing checks that no notification arrives before the answer to a ping.
func (s *odooSocket) nothing() {
	s.t.Helper()
	s.frame(ws.NewPingFrame([]byte("?")))
	if f := s.read(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "?" {
		s.t.Fatalf("%v %q", f.Header.OpCode, f.Payload)
	}
}

// once turns redelivery off, so that notifications arrive once.
func once(s *server.Settings) { s.Odoo.RedeliveryDelay = -1 }

// following waits until the session receives changes.
func (s *odooSocket) following(f *fleet) {
	s.t.Helper()
	before := f.counter(s.t, "shelfcast_odoo_catch_ups_total")
	s.subscribe(0, "product_updates")
	testkit.Eventually(s.t, "it follows", func() bool { return f.counter(s.t, "shelfcast_odoo_catch_ups_total") > before })
}
