package server_test

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// The handshake of Odoo's bus.
func TestOdooHandshake(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Origins = []string{"https://shop.example"} })
	address := f.instances[1].PublicAddr()
	for name, c := range map[string]struct {
		target  string
		headers map[string]string
		want    int
	}{
		"as a browser has it":   {"/websocket", nil, 101},
		"slash":                 {"/websocket/", nil, 101},
		"query":                 {"/websocket?version=1", nil, 101},
		"an origin of the list": {"/websocket", map[string]string{"Origin": "https://shop.example"}, 101},
		"no cookie":             {"/websocket", map[string]string{"Cookie": ""}, 101},
		"subprotocols":          {"/websocket", map[string]string{"Sec-WebSocket-Protocol": "a, b"}, 101},
		"no host":               {"/websocket", map[string]string{"Host": ""}, 400},
		"no upgrade":            {"/websocket", map[string]string{"Upgrade": ""}, 400},
		"no connection":         {"/websocket", map[string]string{"Connection": ""}, 400},
		"no key":                {"/websocket", map[string]string{"Sec-WebSocket-Key": ""}, 400},
		"no version":            {"/websocket", map[string]string{"Sec-WebSocket-Version": ""}, 400},
		"no origin":             {"/websocket", map[string]string{"Origin": ""}, 400},
		"another upgrade":       {"/websocket", map[string]string{"Upgrade": "h2c"}, 400},
		"connection: close":     {"/websocket", map[string]string{"Connection": "close"}, 400},
		"a short key":           {"/websocket", map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, 400},
		"no base64":             {"/websocket", map[string]string{"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, 400},
		"version 8":             {"/websocket", map[string]string{"Sec-WebSocket-Version": "8"}, 426},
		"another site":          {"/websocket", map[string]string{"Origin": "https://evil.example"}, 403},
		"a language":            {"/en/websocket", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			_, response, _ := handshake16(t, address, c.target, c.headers)
			if response.StatusCode != c.want {
				t.Errorf("%s, want %d", response.Status, c.want)
			}
			switch c.want {
			case 101:
				if response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
					response.Header.Get("Sec-WebSocket-Extensions") != "" || response.Header.Get("Sec-WebSocket-Protocol") != "" {
					t.Errorf("%v", response.Header)
				}
			case 426:
				if response.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Errorf("%v", response.Header)
				}
			}
		})
	}
	status, headers, body := call(t, "GET", f.public(0, "/websocket/health"), "", nil)
	if status != 200 || body != `{"status": "pass"}` || headers.Get("Content-Type") != "application/json" ||
		headers.Get("Cache-Control") != "no-store" || headers.Get("Set-Cookie") != "" {
		t.Errorf("%d %v %s", status, headers, body)
	}
}

// A full instance refuses before the upgrade.
func TestOdooLimitsRefuseBeforeUpgrade(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.MaxSessions = 2 })
	address := f.instances[0].PublicAddr()
	odooAt(t, address)
	odooAt(t, address)
	testkit.Eventually(t, "both are sessions", func() bool { return f.instances[0].Sessions() == 2 })
	if _, response, _ := handshake16(t, address, "/websocket", nil); response.StatusCode != 503 ||
		response.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", response.Status, response.Header)
	}
}

// at sets the version of a product to a time in the past, like another program.
func (f *fleet) at(t testing.TB, db *sql.DB, id int64, ago time.Duration) int64 {
	t.Helper()
	version := time.Now().Add(-ago).UnixMicro()
	if _, err := db.Exec("UPDATE products SET version = ? WHERE id = ?", version, id); err != nil {
		t.Fatal(err)
	}
	return version
}

// Which notifications are replayed after a reconnect.
func TestOdooReplay(t *testing.T) {
	t.Parallel()
	dsn := testkit.DSN(t)
	f := startFleetOn(t, dsn, once)
	db := testkit.SQL(t, dsn)
	var products []store.Product
	var versions []int64
	for n := range 7 {
		p := f.product(t, fmt.Sprint("p", n))
		products = append(products, p)
	}
	for n, p := range products { // 46, 40, 34, 28, 22, 16, 13 s ago
		versions = append(versions, f.at(t, db, p.ID, max(time.Duration(46-6*n), 13)*time.Second))
	}
	// Within the feed's overlap, which other instances may not have read yet.
	var all []int64
	for _, p := range products {
		all = append(all, p.ID)
	}
	for instance := range 2 {
		for name, last := range map[string]int64{"C1": 0, "10^9": 1_000_000_000, "too high": 1<<53 - 1} {
			s := odooAt(t, f.instances[instance].PublicAddr())
			s.subscribe(last, "product_updates")
			if got := s.next(); !slices.Equal(got, all) {
				t.Errorf("%s: %v, want %v", name, got, all)
			}
			s.subscribe(1, "product_updates")
			s.nothing()
		}
		s := odooAt(t, f.instances[instance].PublicAddr())
		s.last = versions[2]
		s.subscribe(versions[2], "product_updates")
		// The later ones, and those of the overlap before it, which may have committed late.
		if got := s.next(); !slices.Equal(got[len(got)-4:], all[3:]) {
			t.Errorf("after the third: %v of %v", got, all)
		}
	}
}

// Channels, over two instances.
func TestOdooChannels(t *testing.T) {
	t.Parallel()
	f := startFleet(t, once)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	a, b := odooAt(t, f.instances[0].PublicAddr()), odooAt(t, f.instances[1].PublicAddr())
	// What the worker sends after a failed first connection.
	for _, channels := range [][]string{{"product_updates", "x2"}, {"product_updates"}, {"product_updates", "x2"}} {
		a.subscribe(0, channels...)
	}
	a.hears(lamp.ID, mug.ID)
	b.subscribe(0)
	b.subscribe(0, "product_updates") // the other order of the worker's calls
	b.hears(lamp.ID, mug.ID)
	lamp = f.edit(t, 0, lamp.Rev, `{"stock":3}`)
	for _, s := range []*odooSocket{a, b} {
		if got := s.told(); len(got) != 1 || got[0].rev(t) != lamp.Rev || got[0].Message.Type != "notification" {
			t.Errorf("got %+v, want %v", got, lamp.Rev)
		}
	}
	b.say(`{"event_name":"subscribe","data":{"channels":[],"last":30}}`)
	a.say(`{"event_name":"update_presence","data":{"inactivity_period":331,"im_status_ids_by_model":{}}}`)
	a.say(`{"event_name":"foo","data":{"a":1}}`)
	for _, bad := range []string{`{bad`, `[]`, `"x"`, `{"a":1}`, `{"event_name":"subscribe"}`} {
		a.say(bad)
	}
	a.nothing()
	b.nothing()
	mug = f.edit(t, 1, mug.Rev, `{"stock":3}`)
	a.hears(mug.ID)
	b.nothing()
	// A broadcast reaches all sessions on all instances.
	status, _, answer := f.admin(t, 1, "POST", "/api/v1/odoo/broadcasts",
		`{"type":"bundle_changed","payload":{"server_version":"16.0-é"}}`, nil)
	if status != http.StatusOK || !strings.Contains(answer, `"instances":2`) {
		t.Errorf("%d %s", status, answer)
	}
	for _, s := range []*odooSocket{a, b} {
		got := s.told()
		if len(got) != 1 || got[0].Message.Type != "bundle_changed" ||
			string(got[0].Message.Payload) != `{"server_version":"16.0-é"}` {
			t.Errorf("got %+v", got)
		}
	}
	for _, bad := range []string{`{"type":"x","payload":null}`, `{"type":"x","payload":[]}`, `{"type":"x"}`,
		`{"type":"","payload":{}}`} {
		status, _, answer := f.admin(t, 1, "POST", "/api/v1/odoo/broadcasts", bad, nil)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", bad, status, answer)
		}
	}
	// Two changes at once are one frame.
	for range 20 { // more frames at once than Odoo accepts
		a.subscribe(0, "product_updates")
	}
	body := fmt.Sprintf(`{"edits":[{"id":%d,"version":%d,"set":{"stock":9}},{"id":%d,"version":%d,"set":{"stock":9}}]}`,
		lamp.ID, lamp.Version, mug.ID, mug.Version)
	if status, _, answer := f.admin(t, 0, "POST", "/api/v1/products:batch", body, nil); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	got := a.next()
	slices.Sort(got)
	if !slices.Equal(got, []int64{lamp.ID, mug.ID}) {
		t.Errorf("got %v", got)
	}
	a.nothing()
}

// Invalid frames, and frames of other kinds.
func TestOdooFrames(t *testing.T) {
	t.Parallel()
	f := startFleet(t, once)
	lamp := f.product(t, "lamp")
	address := f.instances[0].PublicAddr()
	const c1 = `{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`
	for name, frames := range map[string][]ws.Frame{
		"binary": {ws.NewBinaryFrame([]byte(c1))},
		"fragments": {
			ws.NewFrame(ws.OpText, false, []byte(c1[:20])), ws.NewPingFrame([]byte("in between")),
			ws.NewFrame(ws.OpContinuation, false, []byte(c1[20:30])), ws.NewFrame(ws.OpContinuation, true, []byte(c1[30:])),
		},
		"a whole MiB": {ws.NewTextFrame([]byte(c1 + strings.Repeat(" ", 1<<20-len(c1))))},
	} {
		s := odooAt(t, address)
		for _, frame := range frames {
			s.frame(frame)
		}
		if name == "fragments" {
			if got := s.read(); got.Header.OpCode != ws.OpPong || string(got.Payload) != "in between" {
				t.Errorf("%v %q", got.Header.OpCode, got.Payload)
			}
		}
		s.hears(lamp.ID)
	}
	code := func(n uint16, reason string) []byte { return append(binary.BigEndian.AppendUint16(nil, n), reason...) }
	unmasked := ws.MustCompileFrame(ws.NewTextFrame([]byte(c1)))
	for name, c := range map[string]struct {
		bytes  []byte
		code   ws.StatusCode
		reason string
	}{
		"empty close":     {masked(ws.NewCloseFrame(nil)), 1000, ""},
		"close 1001":      {masked(ws.NewCloseFrame(code(1001, ""))), 1001, ""},
		"close 1000":      {masked(ws.NewCloseFrame(code(1000, "bye"))), 1000, "bye"},
		"close 4999":      {masked(ws.NewCloseFrame(code(4999, "own"))), 4999, "own"},
		"close 1005":      {masked(ws.NewCloseFrame(code(1005, ""))), 1002, "protocol"},
		"close 999":       {masked(ws.NewCloseFrame(code(999, ""))), 1002, "protocol"},
		"close of 1 byte": {masked(ws.NewCloseFrame([]byte{3})), 1002, "protocol"},
		"unmasked":        {unmasked, 1002, "protocol"},
		"an RSV bit":      {append([]byte{0xC1}, masked(ws.NewTextFrame([]byte("x")))[1:]...), 1002, "protocol"},
		"bad UTF-8":       {masked(ws.NewTextFrame([]byte("\xff"))), 1007, "bad_utf8"},
		"too long":        {masked(ws.NewTextFrame(make([]byte, 1<<20+1))), 1009, "too_large"},
		"too long in all": {slices.Concat(masked(ws.NewFrame(ws.OpText, false, make([]byte, 1<<20))),
			masked(ws.NewFrame(ws.OpContinuation, true, []byte("x")))), 1009, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			s := odooAt(t, address)
			go func() { _, _ = s.conn.Write(c.bytes) }()
			got := s.read()
			status, reason := ws.ParseCloseFrameData(got.Payload)
			if got.Header.OpCode != ws.OpClose || status != c.code || reason != c.reason {
				t.Errorf("%v %d %q, want %d %q", got.Header.OpCode, status, reason, c.code, c.reason)
			}
		})
	}
}

func masked(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }

// A drain tells each session to reconnect at once.
func TestOdooDrain(t *testing.T) {
	t.Parallel()
	f := startFleet(t, once)
	a, b := odooAt(t, f.instances[0].PublicAddr()), odooAt(t, f.instances[1].PublicAddr())
	a.subscribe(0, "product_updates")
	b.following(f)
	f.stop[0]()
	got := a.read()
	code, reason := ws.ParseCloseFrameData(got.Payload)
	if got.Header.OpCode != ws.OpClose || code != 4002 || reason != "" {
		t.Errorf("%v %d %q", got.Header.OpCode, code, reason)
	}
	b.nothing()
}
