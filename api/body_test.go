package api

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"shelfcast/store"
	"shelfcast/store/storetest"
)

// allocated is what work has had allocated, in bytes.
func allocated(work func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// A bomb is a few bytes that become 64 MiB.
func bombs(t *testing.T) map[string][]byte {
	t.Helper()
	plain := make([]byte, 64<<20)
	gzip := fasthttp.AppendGzipBytes(nil, plain)
	return map[string][]byte{
		"gzip": gzip, "x-gzip": gzip, "GZIP": gzip, "deflate": fasthttp.AppendDeflateBytes(nil, plain), "br": fasthttp.AppendBrotliBytes(nil, plain),
		"zstd": fasthttp.AppendZstdBytes(nil, plain), "identity, br": fasthttp.AppendBrotliBytes(nil, plain), "gzip, gzip": fasthttp.AppendGzipBytes(nil, gzip),
	}
}

// No body is inflated: not on any route of either app, with any method, whoever sends
// it. It is said which encodings are taken: none (RFC 9110, 15.5.16; RFC 7694).
func TestNoBodyIsInflated(t *testing.T) {
	b := newBare(t).listen()
	all := bombs(t)
	for address, app := range map[string]*fiber.App{b.publicAddress: b.publicApp, b.adminAddress: b.adminApp} {
		seen := map[string]bool{}
		for _, route := range append(app.GetRoutes(true), fiber.Route{Method: "POST", Path: "/no/such/route"}) {
			path := strings.NewReplacer(`\`, "", ":id", "42", ":view", "card", ":number", "1", "*", "shelfcast.js").Replace(route.Path)
			if seen[route.Method+path] || route.Method == http.MethodConnect {
				continue
			}
			seen[route.Method+path] = true
			for encoding, bomb := range all {
				took := allocated(func() {
					got := b.raw(address, route.Method, func(w io.Writer) {
						fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\n", route.Method, path, bareToken, encoding)
						fmt.Fprintf(w, "Content-Type: application/json\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", encoding, len(bomb), bomb)
					})
					if got.status != http.StatusUnsupportedMediaType || got.header.Get("Accept-Encoding") != "identity" {
						t.Errorf("%s %s, %s: %d %v %s", route.Method, path, encoding, got.status, got.header, got.body)
					}
				})
				if took > 8<<20 {
					t.Fatalf("%s %s, %s: %d bytes had %d bytes allocated", route.Method, path, encoding, len(bomb), took)
				}
			}
		}
		if len(seen) < 20 {
			t.Errorf("only %d routes were tried", len(seen))
		}
	}
	// A second line of the header is the same header.
	got := b.raw(b.publicAddress, "POST", func(w io.Writer) {
		fmt.Fprintf(w, "POST /product/tree/sync HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: %d\r\n\r\n%s", len(all["br"]), all["br"])
	})
	if got.status != http.StatusUnsupportedMediaType {
		t.Errorf("two lines: %d %s", got.status, got.body)
	}
	call := `{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`
	got = b.raw(b.publicAddress, "POST", func(w io.Writer) {
		fmt.Fprintf(w, "POST /product/tree/sync HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: identity\r\nContent-Length: %d\r\n\r\n%s", len(call), call)
	})
	if got.status != http.StatusOK || !strings.Contains(got.body, `"result"`) {
		t.Errorf("identity: %d %s", got.status, got.body)
	}
}

// Forms are taken nowhere: files of any size would be.
func TestFormsAreRefused(t *testing.T) {
	b := newBare(t).listen()
	form := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nHandle\r\n--x--\r\n"
	for path, address := range map[string]string{
		"/api/v1/products:import": b.adminAddress, "/api/v1/products:batch": b.adminAddress, "/admin": b.adminAddress,
		"/product/tree/sync": b.publicAddress, "/shop": b.publicAddress, "/live": b.publicAddress,
	} {
		for _, kind := range []string{"multipart/form-data; boundary=x", "Multipart/Mixed; boundary=x"} {
			got := b.raw(address, "POST", func(w io.Writer) {
				fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, bareToken, kind, len(form), form)
			})
			if got.status != http.StatusUnsupportedMediaType {
				t.Errorf("%s, %s: %d %s", path, kind, got.status, got.body)
			}
		}
	}
}

// flood is the body of a request that never has more than a piece of it in memory.
func flood(w io.Writer, bytes int) {
	piece := make([]byte, 64<<10)
	for ; bytes > 0; bytes -= len(piece) {
		if _, err := w.Write(piece[:min(bytes, len(piece))]); err != nil {
			return
		}
	}
}

// Whoever may not make a call has none of its body kept, however much he sends, and
// gets to know why.
func TestABodyIsNotKeptBeforeItsSenderIsKnown(t *testing.T) {
	b := newBare(t).listen()
	reader := "a token that may only read"
	b.knows(reader, Caller{Name: "reader", Key: "token:7", Scopes: []string{store.ReadProducts}})
	const batch = "/api/v1/products:batch"
	for _, c := range []struct {
		name, address, path, token string
		size                       int
		status                     int
	}{
		{"no token", b.adminAddress, batch, "", 16 << 20, 401},
		{"no token and too large", b.adminAddress, batch, "", 48 << 20, 401},
		{"a token without the scope", b.adminAddress, batch, reader, 16 << 20, 403},
		{"too large", b.adminAddress, batch, bareToken, 32 << 20, 413},
		{"an import without a token", b.adminAddress, "/api/v1/products:import", "", 16 << 20, 401},
		{"a path that there is not", b.adminAddress, "/nothing", bareToken, 16 << 20, 404},
		{"a page", b.adminAddress, "/admin", "", 16 << 20, 405},
		{"the shop", b.publicAddress, "/shop", "", 1 << 20, 405},
		{"a call that is too large", b.publicAddress, "/product/tree/sync", "", 1 << 20, 413},
	} {
		for _, chunked := range []bool{false, true} {
			took := allocated(func() {
				got := b.raw(c.address, "POST", func(w io.Writer) {
					fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n", c.path)
					if c.token != "" {
						fmt.Fprintf(w, "Authorization: Bearer %s\r\n", c.token)
					}
					if chunked {
						fmt.Fprintf(w, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", c.size)
						flood(w, c.size)
						fmt.Fprint(w, "\r\n0\r\n\r\n")
					} else {
						fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", c.size)
						flood(w, c.size)
					}
				})
				if got.status != c.status {
					t.Errorf("%s, chunked %v: %d %s", c.name, chunked, got.status, got.body)
				}
			})
			most := 2 << 20
			if c.status == 413 && chunked {
				most = 64 << 20 // it is known by reading
			}
			if took > most {
				t.Errorf("%s, chunked %v: %d bytes had %d bytes allocated", c.name, chunked, c.size, took)
			}
		}
	}
	b.isEmpty(t)
}

// knows has the admin app know a token.
func (b *bare) knows(token string, caller Caller) {
	b.admin.gate.known.Set(comer{sha256.Sum256([]byte(token)), "127.0.0.1"}, admitted{caller, time.Now().Add(time.Hour)})
}

// isEmpty waits until neither app holds any body.
func (b *bare) isEmpty(t testing.TB) {
	t.Helper()
	for name, i := range map[string]*intake{"public": b.public.bodies, "admin": b.admin.bodies} {
		storetest.Eventually(t, "the "+name+" app holds no body", func() bool {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.held == 0 && len(i.by) == 0
		})
	}
}

// Bodies that are valid take no more memory than they may, all together and those of
// each caller, and it is free again when they are answered.
func TestBodiesUnderWayAreBounded(t *testing.T) {
	b := newBare(t).listen()
	const size = 1<<20 - 1                                             // with the byte that shows that there is no more
	b.admin.bodies.most, b.admin.bodies.share = 4*(size+1), 2*(size+1) // bodies that are there at once
	b.knows("the first", Caller{Name: "first", Key: "token:1", Scopes: store.Scopes})
	b.knows("the second", Caller{Name: "second", Key: "token:2", Scopes: store.Scopes})
	b.knows("the third", Caller{Name: "third", Key: "token:3", Scopes: store.Scopes})
	begin := func(token string, size int) net.Conn {
		conn, err := net.Dial("tcp", b.adminAddress)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "POST /api/v1/products HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", token)
		fmt.Fprintf(conn, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
		return conn
	}
	status := func(conn net.Conn) int { return readAnswer(t, bufio.NewReader(conn), "POST").status }
	holds := func(want int64) {
		t.Helper()
		storetest.Eventually(t, fmt.Sprintf("%d bytes are held", want), func() bool {
			b.admin.bodies.mu.Lock()
			defer b.admin.bodies.mu.Unlock()
			return b.admin.bodies.held == want
		})
	}
	var slow []net.Conn
	for n, token := range []string{"the first", "the first", "the second", "the second"} {
		conn := begin(token, size)
		flood(conn, size-1)
		slow = append(slow, conn)
		holds(int64(n+1) * (size + 1))
	}
	for _, token := range []string{"the first", "the third"} { // that one has its share, and the other has none left
		conn := begin(token, 1<<10)
		flood(conn, 1<<10)
		if got := status(conn); got != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", token, got)
		}
	}
	for _, conn := range slow[:2] {
		flood(conn, 1)
		if got := status(conn); got != http.StatusBadRequest { // so many zeros are no JSON
			t.Errorf("a slow one: %d", got)
		}
	}
	for _, conn := range slow[2:] {
		conn.Close()
	}
	b.isEmpty(t)
	conn := begin("the third", 1<<10)
	flood(conn, 1<<10)
	if got := status(conn); got != http.StatusBadRequest {
		t.Errorf("afterwards: %d", got)
	}
}

// What is wrong with a body is said in a few words, and not by sending all of it back.
func TestAProblemDoesNotSendTheBodyBack(t *testing.T) {
	b := newBare(t).listen()
	for name, body := range map[string]string{
		"no JSON":         strings.Repeat("x", 8<<20),
		"too many edits":  `{"edits":[` + strings.Repeat(`1,`, 1<<20) + `1]}`,
		"too long a text": `{"edits":[{"action":"` + strings.Repeat("x", 8<<20) + `"}]}`,
	} {
		got := b.raw(b.adminAddress, "POST", func(w io.Writer) {
			fmt.Fprintf(w, "POST /api/v1/products:batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", bareToken)
			fmt.Fprintf(w, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		})
		if got.status != 400 && got.status != 422 || len(got.body) > 64<<10 {
			t.Errorf("%s: %d, in %d bytes", name, got.status, len(got.body))
		}
	}
}
