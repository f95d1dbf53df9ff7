package attack

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// uploads sends large bodies to every route of one app that takes one, until it is
// refused.
func uploads(admin bool, size int, headers func(t target, n int) []string) func(a *attacker) {
	return func(a *attacker) {
		block := bytes.Repeat([]byte("[1,2],"), mib/6)
		var all []route
		for _, r := range routes() {
			if r.admin == admin && r.method != "GET" {
				all = append(all, r)
			}
		}
		a.each(8, func(turn int) {
			for n := turn; n < 2*len(all) && !a.over(); n += 8 {
				r := all[n%len(all)]
				host := r.at(a.target, 0)
				lines := append(headers(a.target, n), asJSON)
				var head []byte
				chunked := n >= len(all)
				if chunked {
					head = request(r.method, r.path, host, nil, append(lines, "Transfer-Encoding: chunked")...)
				} else {
					head = request(r.method, r.path, host, nil, append(lines, fmt.Sprint("Content-Length: ", size))...)
				}
				a.upload(host, n, r.method, head, block, size, chunked)
			}
		})
	}
}

// upload sends a body of that size, in blocks, and counts the answer.
func (a *attacker) upload(host string, from int, method string, head, block []byte, size int, chunked bool) {
	c, err := a.dial(host, from%50)
	if err != nil {
		a.note(failure(err))
		return
	}
	defer c.Close()
	answered := make(chan string, 1)
	go func() { answered <- c.status() }()
	_, err = c.Write(head)
	for sent := 0; err == nil && sent < size; sent += len(block) {
		if chunked {
			fmt.Fprintf(c, "%x\r\n", len(block))
		}
		_, err = c.Write(block[:min(len(block), size-sent)])
		if chunked {
			io.WriteString(c, "\r\n")
		}
		select {
		case status := <-answered: // it was answered early
			a.note(status)
			return
		default:
		}
	}
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	a.note(<-answered)
}

// multipart sends forms of very many parts to each route.
func multipart(a *attacker) {
	part := "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n\r\n"
	body := []byte(strings.Repeat(part, 60_000/len(part)) + "--x--\r\n")
	for n, r := range routes() {
		if a.over() {
			return
		}
		host := r.at(a.target, 0)
		status, _, _ := a.ask(host, n%50, "POST", request("POST", r.path, host, body, bearer(a.Writer),
			"Content-Type: multipart/form-data; boundary=x", "Connection: close"))
		if status == 0 || status < 400 {
			a.wrong("POST %s with a form of 900 parts is answered %d", r.path, status)
		}
	}
}

// heads sends request heads above the limit.
func heads(a *attacker) {
	long := strings.Repeat("x", mib)
	many := strings.Repeat("X-A: b\r\n", mib/8)
	for i, host := range []string{a.Public[0], a.Admin[0]} {
		for n, head := range []string{
			"GET /" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /shop?q=" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + long + "\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: " + long + "\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\n" + many + "\r\n",
			long,
		} {
			a.each(20, func(m int) {
				status, _, _ := a.ask(host, m, "GET", []byte(head))
				if status != 0 && status < 400 {
					a.wrong("head %d of %d bytes is answered %d by app %d", n, len(head), status, i)
				}
			})
		}
	}
}

// frames sends messages that are too large, that never end, or that are invalid, each
// on many sessions.
func frames(a *attacker) {
	header := func(length int64) []byte {
		var b bytes.Buffer
		_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: length}) // to memory
		return b.Bytes()
	}
	begun := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte(" "))))
	empty := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, false, nil)))
	some := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(ws.OpContinuation, false, bytes.Repeat([]byte(" "), 1000))))
	cases := []struct {
		name  string
		ends  bool // ends the session at once; otherwise the ping timeout does
		bytes []byte
	}{
		{"a frame of 2^62 bytes", true, header(1 << 62)},
		{"a frame of 1 GiB", true, append(header(1<<30), bytes.Repeat([]byte("x"), mib)...)},
		{"a message of empty fragments", false, append(bytes.Clone(begun), bytes.Repeat(empty, 50_000)...)},
		{"a message of many fragments", true, append(bytes.Clone(begun), bytes.Repeat(some, 3_000)...)},
		{"a list of 10,000 products", true,
			text(`{"watch":[` + strings.TrimSuffix(strings.Repeat(`{"id":1,"view":"card"},`, 10_000), ",") + `]}`)},
		{"deep JSON", true, text(`{"watch":` + strings.Repeat("[", 16_000))},
	}
	for _, path := range []string{"/live", "/websocket"} {
		for i, c := range cases {
			a.each(10, func(n int) {
				s := a.join(0, 10*i+n, path, false)
				if s == nil {
					return
				}
				defer s.Close()
				s.SetWriteDeadline(time.Now().Add(2 * time.Second))
				s.Write(c.bytes)
				s.SetReadDeadline(time.Now().Add(2 * time.Second))
				// Odoo silently ignores what it does not understand.
				if s.end() == -1 && path == "/live" && c.ends {
					a.wrong("%s: the session goes on", c.name)
				}
			})
		}
	}
}

// lists sends lists above the limits, in URLs and bodies.
func lists(a *attacker) {
	deep := []byte(strings.Repeat("[", 60_000))
	for n, r := range [][]byte{
		get("/live/poll?watch="+list(501, "card"), a.Public[0], "Connection: close"),
		get("/live/sse?watch="+list(501, "card"), a.Public[0], "Connection: close"),
		get("/live/poll?watch="+strings.Repeat(",", 15_000), a.Public[0], "Connection: close"),
		get("/fragments?ids="+list(101, "card"), a.Public[0], "Connection: close"),
		request("POST", "/product/tree/sync", a.Public[0], deep, asJSON, "Connection: close"),
		request("POST", "/product/tree/sync", a.Public[0], append([]byte(`{"params":{"product_id":`), deep...),
			asJSON, "Connection: close"),
	} {
		a.each(20, func(m int) {
			if status, _, body := a.ask(a.Public[0], m, "GET", r); status < 400 {
				a.wrong("list %d is answered %d %.80q", n, status, body)
			}
		})
	}
	nested := []byte(strings.Repeat("[", 900_000))
	items := []byte(`{"ids":` + numbersUpTo(1, 100_000) + `}`)
	for n, r := range routes() {
		if !r.admin || r.method == "GET" {
			continue
		}
		for _, body := range [][]byte{nested, items} {
			if a.over() {
				a.wrong("there was no time for all of it")
				return
			}
			lines := []string{bearer(a.Writer), asJSON, "If-Match: \"1\"", "Connection: close"}
			if status, _, _ := a.ask(a.Admin[0], n%50, r.method,
				request(r.method, r.path, a.Admin[0], body, lines...)); status >= 500 {
				a.wrong("%s %s with a long list is answered %d", r.method, r.path, status)
			}
		}
	}
}

// files imports files of one line each: of many megabytes, and of very many cells.
func files(a *attacker) {
	header := "Handle,Title,Variant SKU,Variant Price\r\n"
	a.each(4, func(n int) {
		block := bytes.Repeat([]byte(`x`), mib)
		head := header + `a,"`
		if n%2 == 1 {
			block, head = bytes.Repeat([]byte(`,x`), mib/2), header
		}
		r := request("POST", "/api/v1/products:import?currency=EUR", a.Admin[0], nil, bearer(a.Writer),
			"Content-Type: text/csv", fmt.Sprint("Content-Length: ", len(head)+8*mib))
		a.upload(a.Admin[0], n, "POST", append(r, head...), block, 8*mib, false)
	})
	if a.met("422") == 0 {
		a.wrong("it is not said what is wrong with the file")
	}
}
