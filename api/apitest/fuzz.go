package apitest

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
)

// A connection has received everything that it will.
type connection struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

func (c *connection) Read(b []byte) (int, error)     { return c.in.Read(b) }
func (c *connection) Write(b []byte) (int, error)    { return c.out.Write(b) }
func (*connection) Close() error                     { return nil }
func (*connection) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (*connection) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (*connection) SetDeadline(time.Time) error      { return nil }
func (*connection) SetReadDeadline(time.Time) error  { return nil }
func (*connection) SetWriteDeadline(time.Time) error { return nil }

// FuzzConnection sends bytes to the app: forms, imports, chunks and repeated headers. It fails if the app answers
// with anything but HTTP. after runs after each input.
func FuzzConnection(f *testing.F, app *fiber.App, token string, after func(testing.TB)) {
	post := " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n"
	for _, seed := range []string{
		"GET /shop?q=a%20b&vendor=%zz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\r\n",
		"POST /product/tree/sync" + post + "Content-Length: 9\r\n\r\n{\"id\":1}\n",
		"POST /product/tree/sync" + post + "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"i\r\n6\r\nd\":1}\n\r\n0\r\n\r\n",
		"POST /api/v1/products:import" + post + "Content-Type: multipart/form-data; boundary=x\r\n" +
			"Content-Length: 70\r\n\r\n" +
			"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\na\r\n--x--\r\n",
		"POST /api/v1/products:import" + post +
			"Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nTitle\r\n0\r\n\r\n",
		"POST /api/v1/products:import" + post + "Content-Type: text/csv\r\nContent-Length: 31\r\n\r\n" +
			"Handle,Title,Body (HTML)\nx,\"y,\nGET /readyz HTTP/1.1\r\n\r\n",
		"POST /api/v1/products:batch" + post + "Idempotency-Key: k\r\nContent-Type: application/json\r\n" +
			"Content-Length: 12\r\nContent-Length: 3\r\n\r\n{\"edits\":[]}",
		"POST /api/v1/products:batch" + post +
			"Expect: 100-continue\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
		"PATCH /api/v1/products/1" + post +
			"If-Match: \"7\"\r\nContent-Type: application/merge-patch+json\r\nContent-Length: 99999\r\n\r\n{",
		"GET http://evil/../readyz HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	app.Handler() // makes the app ready
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &connection{}
		c.in.Reset(sent)
		_ = app.Server().ServeConn(c) // what it found wrong with the input
		for out := bufio.NewReader(&c.out); ; {
			if _, err := out.Peek(1); err != nil {
				break
			}
			r, err := http.ReadResponse(out, &http.Request{Method: http.MethodHead}) // only the head is read
			if err != nil {
				t.Fatalf("%q: the answer is not HTTP: %v", sent, err)
			}
			if r.ContentLength < 0 || bytes.HasPrefix(sent, []byte("HEAD")) {
				break
			}
			if _, err := out.Discard(int(min(r.ContentLength, int64(out.Size())))); err != nil ||
				r.ContentLength > int64(out.Size()) {
				break
			}
		}
		after(t)
	})
}
