package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// FuzzSync: whatever is posted as a JSON-RPC call gets an answer of JSON-RPC, or
// is said to be none.
func FuzzSync(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`, `{"id":"x","params":{"product_id":"42"}}`,
		`{"id":null,"params":{"product_id":9.7}}`, `{"params":{"product_id":1e400}}`, `{"id":{"a":[1]},"params":{}}`, `[]`, ``, `{"params":[]}`,
	} {
		f.Add([]byte(seed))
	}
	serve := newBare(f).publicApp.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/product/tree/sync")
		ctx.Request.SetBody(body)
		serve(&ctx)
		answer := ctx.Response.Body()
		switch ctx.Response.StatusCode() {
		case 200:
			var said struct {
				ID            json.RawMessage
				Result, Error json.RawMessage
			}
			var asked struct{ ID json.RawMessage }
			if json.Unmarshal(answer, &said) != nil || json.Unmarshal(body, &asked) != nil || (said.Result == nil) == (said.Error == nil) {
				t.Errorf("%s: %s", body, answer)
			}
		case 400, 413:
			if !json.Valid(answer) {
				t.Errorf("%s: %s", body, answer)
			}
		default:
			t.Errorf("%s: %d %s", body, ctx.Response.StatusCode(), answer)
		}
	})
}

// FuzzNetworks: a network that is taken has its own address in it.
func FuzzNetworks(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "fe80::1%eth0", "10.0.0.1/33", "", "10.0.0.0/8,x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		networks, err := ParseNetworks(strings.Split(text, ","))
		if err != nil {
			return
		}
		for _, network := range networks {
			if !covers(networks, network.Addr()) && network.Addr().Zone() == "" {
				t.Errorf("%v is not in itself", network)
			}
		}
		if len(networks) == 0 && covers(networks, netip.MustParseAddr("127.0.0.1")) {
			t.Error("nobody is to be trusted")
		}
	})
}

// FuzzForwarded: whoever is not trusted says nothing of who asks, and who is believed
// to ask was named by one that is trusted.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.7", "198.51.100.1, 10.0.0.2", "")
	f.Add("10.0.0.1", "198.51.100.1, 10.0.0.2", "evil")
	f.Add("10.0.0.1", "", "::ffff:198.51.100.1%eth0,,")
	f.Add("::ffff:10.0.0.1", "1.2.3.4:99", "10.0.0.9")
	proxies, err := ParseNetworks([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	app := fiber.New()
	f.Fuzz(func(t *testing.T, from, first, second string) {
		remote, err := netip.ParseAddr(from)
		if err != nil {
			return
		}
		var request fasthttp.RequestCtx
		request.Init(&fasthttp.Request{}, net.TCPAddrFromAddrPort(netip.AddrPortFrom(remote.WithZone(""), 1)), nil)
		request.Request.Header.Add(fiber.HeaderXForwardedFor, first)
		request.Request.Header.Add(fiber.HeaderXForwardedFor, second)
		c := app.AcquireCtx(&request)
		defer app.ReleaseCtx(c)
		got, asked := clientOf(c, proxies), remote.WithZone("").Unmap()
		if !covers(proxies, asked) {
			if got != asked {
				t.Errorf("%v is not trusted, and makes himself %v", asked, got)
			}
			return
		}
		named := []netip.Addr{asked}
		hops := strings.Split(forwardedFor(c), ",")
		for _, hop := range slices.Backward(hops) {
			address, err := parseHop(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			named = append(named, address.Unmap().WithZone(""))
			if !covers(proxies, named[len(named)-1]) {
				break
			}
		}
		if got != named[len(named)-1] {
			t.Errorf("%q from %v are of %v, and %v is believed", hops, asked, named, got)
		}
	})
}

// A wire is a connection on which everything has come that will.
type wire struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)     { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error)    { return w.out.Write(b) }
func (*wire) Close() error                     { return nil }
func (*wire) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (*wire) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// FuzzWire: whatever bytes come, either app answers in HTTP, if at all, and holds
// nothing of them afterwards: forms, imports, chunks and what is said twice.
func FuzzWire(f *testing.F) {
	const post = " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + bareToken + "\r\n"
	for _, seed := range []string{
		"GET /shop?q=a%20b&vendor=%zz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\r\n",
		"POST /product/tree/sync" + post + "Content-Length: 9\r\n\r\n{\"id\":1}\n",
		"POST /product/tree/sync" + post + "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"i\r\n6\r\nd\":1}\n\r\n0\r\n\r\n",
		"POST /api/v1/products:import" + post + "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 70\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\na\r\n--x--\r\n",
		"POST /api/v1/products:import" + post + "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nTitle\r\n0\r\n\r\n",
		"POST /api/v1/products:import" + post + "Content-Type: text/csv\r\nContent-Length: 31\r\n\r\nHandle,Title,Body (HTML)\nx,\"y,\nGET /readyz HTTP/1.1\r\n\r\n",
		"POST /api/v1/products:batch" + post + "Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 12\r\nContent-Length: 3\r\n\r\n{\"edits\":[]}",
		"POST /api/v1/products:batch" + post + "Expect: 100-continue\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
		"PATCH /api/v1/products/1" + post + "If-Match: \"7\"\r\nContent-Type: application/merge-patch+json\r\nContent-Length: 99999\r\n\r\n{",
		"GET http://evil/../readyz HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	b := newBare(f)
	b.publicApp.Handler() // makes the apps ready
	b.adminApp.Handler()
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, app := range []*fiber.App{b.publicApp, b.adminApp} {
			w := &wire{}
			w.in.Reset(sent)
			_ = app.Server().ServeConn(w) // how it was at odds with it
			for out := bufio.NewReader(&w.out); ; {
				if _, err := out.Peek(1); err != nil {
					break
				}
				r, err := http.ReadResponse(out, &http.Request{Method: http.MethodHead}) // that there is a head
				if err != nil {
					t.Fatalf("%q: the answer is no HTTP: %v", sent, err)
				}
				if r.ContentLength < 0 || bytes.HasPrefix(sent, []byte("HEAD")) {
					break
				}
				if _, err := out.Discard(int(min(r.ContentLength, int64(out.Size())))); err != nil || r.ContentLength > int64(out.Size()) {
					break
				}
			}
		}
		b.isEmpty(t)
	})
}
