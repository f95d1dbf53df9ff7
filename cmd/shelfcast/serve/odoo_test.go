package serve_test

import (
	"bufio"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// An odooSocket is a raw socket, over which the tests say the very bytes that the
// stock worker of Odoo 16 sends.
type odooSocket struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	last int64
}

// handshake16 is what Chromium sends, but for what headers says: "" leaves one out.
func handshake16(t testing.TB, address, target string, headers map[string]string) (net.Conn, *http.Response, *bufio.Reader) {
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

// odooNews is a notification as the worker has it.
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

// told is the next frame, which is a list that is not empty with ids that rise.
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

// hears reads until these products were told, and nothing else is.
func (s *odooSocket) hears(want ...int64) {
	s.t.Helper()
	got := s.next()
	if !slices.Equal(got, want) {
		s.t.Errorf("heard of %v, want %v", got, want)
	}
}

// next are the products of the next frame.
func (s *odooSocket) next() (ids []int64) {
	s.t.Helper()
	for _, n := range s.told() {
		ids = append(ids, n.rev(s.t).ID)
	}
	return ids
}

// nothing: there was nothing to be said before the answer to a ping.
func (s *odooSocket) nothing() {
	s.t.Helper()
	s.frame(ws.NewPingFrame([]byte("?")))
	if f := s.read(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "?" {
		s.t.Fatalf("%v %q", f.Header.OpCode, f.Payload)
	}
}

// once has changes told once, so that a test may say what comes next.
func once(s *serve.Settings) { s.Odoo.Again = -1 }

// following waits until the session is told of changes.
func (s *odooSocket) following(f *fleet) {
	s.t.Helper()
	before := f.counter(s.t, "shelfcast_odoo_resumed_total")
	s.subscribe(0, "product_updates")
	storetest.Eventually(s.t, "it follows", func() bool { return f.counter(s.t, "shelfcast_odoo_resumed_total") > before })
}

// §1: the handshake.
func TestOdooHandshake(t *testing.T) {
	f := startFleet(t, func(s *serve.Settings) { s.Origins = []string{"https://shop.example"} })
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
				if response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || response.Header.Get("Sec-WebSocket-Extensions") != "" || response.Header.Get("Sec-WebSocket-Protocol") != "" {
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
	if status != 200 || body != `{"status": "pass"}` || headers.Get("Content-Type") != "application/json" || headers.Get("Cache-Control") != "no-store" || headers.Get("Set-Cookie") != "" {
		t.Errorf("%d %v %s", status, headers, body)
	}
}

// An instance that is full refuses before the upgrade.
func TestOdooIsRefusedBeforeTheUpgrade(t *testing.T) {
	f := startFleet(t, func(s *serve.Settings) { s.MaxSessions = 2 })
	address := f.instances[0].PublicAddr()
	odooAt(t, address)
	odooAt(t, address)
	storetest.Eventually(t, "both are sessions", func() bool { return f.instances[0].Sessions() == 2 })
	if _, response, _ := handshake16(t, address, "/websocket", nil); response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", response.Status, response.Header)
	}
}

// at gives a product the version of so long ago, as another program might.
func (f *fleet) at(t testing.TB, db *sql.DB, id int64, ago time.Duration) int64 {
	t.Helper()
	version := time.Now().Add(-ago).UnixMicro()
	if _, err := db.Exec("UPDATE products SET version = ? WHERE id = ?", version, id); err != nil {
		t.Fatal(err)
	}
	return version
}

// §9, scenario 1: what is replayed.
func TestOdooReplay(t *testing.T) {
	dsn := storetest.DSN(t)
	f := startFleetOn(t, dsn, once)
	db := storetest.SQL(t, dsn)
	var products []store.Product
	var versions []int64
	for n := range 7 {
		p := f.product(t, fmt.Sprint("p", n))
		products = append(products, p)
	}
	for n, p := range products { // 46, 40, 34, 28, 22, 16, 13 s ago
		versions = append(versions, f.at(t, db, p.ID, max(time.Duration(46-6*n), 13)*time.Second))
	}
	// Of the feed's last Overlap, as others may know of these.
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
		// Those after it, and those of the overlap before it: they may have committed late.
		if got := s.next(); !slices.Equal(got[len(got)-4:], all[3:]) {
			t.Errorf("after the third: %v of %v", got, all)
		}
	}
}

// §9, scenarios 2 to 4 and S1, S2: channels, over two instances.
func TestOdooChannels(t *testing.T) {
	f := startFleet(t, once)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	a, b := odooAt(t, f.instances[0].PublicAddr()), odooAt(t, f.instances[1].PublicAddr())
	// What the worker flushes after a first connection that failed.
	for _, channels := range [][]string{{"product_updates", "x2"}, {"product_updates"}, {"product_updates", "x2"}} {
		a.subscribe(0, channels...)
	}
	a.hears(lamp.ID, mug.ID)
	b.subscribe(0)
	b.subscribe(0, "product_updates") // the other order in which the seed's calls come
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
	// A broadcast comes to all, and to all instances.
	status, _, answer := f.admin(t, 1, "POST", "/api/v1/odoo/broadcasts", `{"type":"bundle_changed","payload":{"server_version":"16.0-é"}}`, nil)
	if status != http.StatusOK || !strings.Contains(answer, `"instances":2`) {
		t.Errorf("%d %s", status, answer)
	}
	for _, s := range []*odooSocket{a, b} {
		got := s.told()
		if len(got) != 1 || got[0].Message.Type != "bundle_changed" || string(got[0].Message.Payload) != `{"server_version":"16.0-é"}` {
			t.Errorf("got %+v", got)
		}
	}
	for _, bad := range []string{`{"type":"x","payload":null}`, `{"type":"x","payload":[]}`, `{"type":"x"}`, `{"type":"","payload":{}}`} {
		if status, _, answer := f.admin(t, 1, "POST", "/api/v1/odoo/broadcasts", bad, nil); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", bad, status, answer)
		}
	}
	// Two at once are one frame.
	for range 20 { // more at once than Odoo takes
		a.subscribe(0, "product_updates")
	}
	body := fmt.Sprintf(`{"edits":[{"id":%d,"version":%d,"set":{"stock":9}},{"id":%d,"version":%d,"set":{"stock":9}}]}`, lamp.ID, lamp.Version, mug.ID, mug.Version)
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

// §9, scenario 5, and frames of other kinds.
func TestOdooFrames(t *testing.T) {
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
		"too long in all": {slices.Concat(masked(ws.NewFrame(ws.OpText, false, make([]byte, 1<<20))), masked(ws.NewFrame(ws.OpContinuation, true, []byte("x")))), 1009, "too_large"},
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

// §6 and scenario 8: the call.
func TestOdooSync(t *testing.T) {
	f := startFleet(t, func(s *serve.Settings) { s.Odoo.View = "odoo" })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"title":"<b>A</b> & \"q\" 's' é"}`)
	mug = f.edit(t, 0, mug.Rev, fmt.Sprintf(`{"external_id":"odoo:product.template:%d"}`, 9_000_009))
	const card = `<div class=\"js_replace_me_please\" data-product-id=\"%d\" data-product-version=\"%d\" data-view=\"odoo\">\n    <div>\n        <h6>\n            <a>%s</a>\n        </h6>\n    </div>\n</div>`
	ofLamp := fmt.Sprintf(card, lamp.ID, lamp.Version, `&lt;b&gt;A&lt;/b&gt; &amp; &#34;q&#34; &#39;s&#39; é`)
	ofMug := fmt.Sprintf(card, mug.ID, mug.Version, "The mug")
	for _, c := range []struct{ body, id, html string }{
		{`{"id":1,"jsonrpc":"2.0","method":"call","params":{"product_id":%d}}`, "1", ofLamp},
		{`{"id":0,"jsonrpc":"2.0","method":"call","params":{"product_id":%d}}`, "0", ofLamp},
		{`{"params":{"product_id":"%d"}}`, "null", ofLamp},
		{`{"id":"x","params":{"product_id":"%d ","context":{"lang":"de"},"unknown":1}}`, `"x"`, ofLamp},
		{`{"id":1.5,"params":{"product_id":%d.7}}`, "1.5", ofLamp},
		{`{"id":null,"params":{"product_id":9000009}}`, "null", ofMug},
	} {
		body := c.body
		if strings.Contains(body, "%d") {
			body = fmt.Sprintf(body, lamp.ID)
		}
		for n := range 2 {
			status, headers, answer := call(t, "POST", f.public(n, "/product/tree/sync"), body, nil)
			if status != 200 || headers.Get("Content-Type") != "application/json; charset=utf-8" || !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":`+c.id+`,"result":{"html":"`+c.html+`"`) {
				t.Errorf("%s: %d %s\nwant %s", body, status, answer, c.html)
			}
		}
	}
	for _, c := range []struct {
		body string
		code int
	}{
		{`{"id":0,"params":{"product_id":4711}}`, 404}, {`{"id":0,"params":{"product_id":-1}}`, -32602}, {`{"id":0,"params":{}}`, -32602},
		{fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, mug.ID), 404}, // Odoo knows it by another number
		{`{"id":0,"params":{"product_id":"9.7"}}`, -32602}, {`{"id":0}`, -32602},
	} {
		status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), c.body, nil)
		got := parse[struct {
			ID     *int
			Result any
			Error  struct {
				Code int
				Data map[string]any
			}
		}](t, answer)
		if status != 200 || got.ID == nil || *got.ID != 0 || got.Result != nil || got.Error.Code != c.code || got.Error.Data["name"] == "" || strings.Contains(answer, "goroutine") {
			t.Errorf("%s: %d %s", c.body, status, answer)
		}
	}
	if status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), `{"id":1,"params":{"product_id":true}}`, nil); status != 200 || !strings.Contains(answer, `"id":1,`) {
		t.Errorf("%d %s", status, answer)
	}
	for body, kind := range map[string]string{`[]`: "application/json", `{`: "application/json", `{"params":{"product_id":1}}`: "text/plain"} {
		if status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), body, http.Header{"Content-Type": {kind}}); status != 400 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, _, _ := call(t, "GET", f.public(0, "/product/tree/sync"), "", nil); status != 400 {
		t.Errorf("GET: %d", status)
	}
	f.edit(t, 0, lamp.Rev, `{"published":false}`)
	_, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, lamp.ID), nil)
	if strings.Contains(answer, "&lt;b&gt;") || !strings.Contains(answer, "not available") {
		t.Errorf("unpublished: %s", answer)
	}
}

// An external id may pass from one product to another, and a product without one
// gives way to the one that has its number.
func TestOdooNumbersMove(t *testing.T) {
	f := startFleet(t, once)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	shows := func(number int64, want store.Rev) {
		t.Helper()
		for n := range 2 {
			storetest.Eventually(t, fmt.Sprintf("instance %d shows %v for %d", n, want, number), func() bool {
				_, _, answer := call(t, "POST", f.public(n, "/product/tree/sync"), fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, number), nil)
				return strings.Contains(answer, fmt.Sprintf(`data-product-id=\"%d\" data-product-version=\"%d\"`, want.ID, want.Version))
			})
		}
	}
	const name = `{"external_id":"odoo:product.template:777"}`
	lamp = f.edit(t, 0, lamp.Rev, name)
	shows(777, lamp.Rev)
	lamp = f.edit(t, 1, lamp.Rev, `{"external_id":null}`)
	mug = f.edit(t, 0, mug.Rev, name)
	shows(777, mug.Rev)
	shows(lamp.ID, lamp.Rev)
	// Another system's name is none of Odoo's.
	lamp = f.edit(t, 1, lamp.Rev, `{"external_id":"erp:7"}`)
	shows(lamp.ID, lamp.Rev)
	s := odooAt(t, f.instances[1].PublicAddr())
	s.subscribe(0, "product_updates")
	if got := s.next(); len(got) != 2 || !slices.Contains(got, 777) || !slices.Contains(got, lamp.ID) {
		t.Errorf("heard of %v", got)
	}
}

// The stock client asks for what it is told of, in every tab: of a thousand that
// do, one has it made.
func TestOdooAHerdIsOneRender(t *testing.T) {
	f := startFleet(t, func(s *serve.Settings) { s.MaxPerAddress, s.Odoo.View = 0, "odoo" })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"external_id":"odoo:product.template:1042"}`)
	sync := func(n int, number int64) string {
		_, _, answer := call(t, "POST", f.public(n, "/product/tree/sync"), fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, number), nil)
		return answer
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // some were opened for a burst and never used: an instance waits for those
	const clients = 1000
	var all []*odooSocket
	for n := range clients {
		s := odooAt(t, f.instances[n%2].PublicAddr())
		s.subscribe(0, "product_updates")
		s.next()
		all = append(all, s)
	}
	for n := range 2 { // the pages had it from here before
		sync(n, 1042)
		sync(n, mug.ID)
	}
	storetest.Eventually(t, "the feed vouches", func() bool {
		for _, i := range f.instances {
			if status, _, _ := call(t, "GET", "http://"+i.AdminAddr()+"/readyz", "", nil); status != 200 {
				return false
			}
		}
		return true
	})
	for number, product := range map[int64]*store.Product{1042: &lamp, mug.ID: &mug} {
		renders, loads := f.counter(t, "shelfcast_fragment_renders_total"), f.counter(t, "shelfcast_fragment_loads_total")
		*product = f.edit(t, 0, product.Rev, `{"stock":4}`)
		queries := f.queries(t)
		answers := make(chan string, clients)
		for n, s := range all {
			go func() {
				for { // what came of the gathering comes before
					for _, news := range s.told() {
						if news.rev(t) == (store.Rev{ID: number, Version: product.Version}) {
							answers <- sync(n%2, number)
							return
						}
					}
				}
			}()
		}
		want := fmt.Sprintf(`data-product-version=\"%d\"`, product.Version)
		for range clients {
			if answer := <-answers; !strings.Contains(answer, want) {
				t.Fatalf("%s, want %s", answer, want)
			}
		}
		if made, read := f.counter(t, "shelfcast_fragment_renders_total")-renders, f.counter(t, "shelfcast_fragment_loads_total")-loads; made != 1 || read != 1 {
			t.Errorf("%v renders and %v reads for %d clients", made, read, clients)
		}
		if asked := f.queries(t) - queries; asked != 0 {
			t.Errorf("%v look-ups of external ids", asked)
		}
	}
}

// queries is how often the database was asked whose external id a number is.
func (f *fleet) queries(t testing.TB) float64 { return f.counter(t, "shelfcast_odoo_lookups_total") }

// A drain tells each to come back at once.
func TestOdooDrain(t *testing.T) {
	f := startFleet(t, once)
	a, b := odooAt(t, f.instances[0].PublicAddr()), odooAt(t, f.instances[1].PublicAddr())
	a.subscribe(0, "product_updates")
	b.following(f)
	f.stop[0]()
	got := a.read()
	if code, reason := ws.ParseCloseFrameData(got.Payload); got.Header.OpCode != ws.OpClose || code != 4002 || reason != "" {
		t.Errorf("%v %d %q", got.Header.OpCode, code, reason)
	}
	b.nothing()
}
