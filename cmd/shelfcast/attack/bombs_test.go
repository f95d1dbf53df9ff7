package attack

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/valyala/fasthttp"
)

// inflated is the size of a bomb when decompressed: the machine can bear it, and
// compressed it is below the limit of any body.
const inflated = 48 * mib

// A bomb is a small compressed body.
type bomb struct {
	encoding string
	body     []byte
}

// bombs has one for each encoding that the HTTP library knows, and each compressed
// twice.
var bombs = sync.OnceValue(func() (all []bomb) {
	long := append([]byte(`{"params":{"product_id":"`), bytes.Repeat([]byte(" "), inflated)...)
	for _, e := range []struct {
		name string
		pack func(to, from []byte) []byte
	}{
		{"gzip", fasthttp.AppendGzipBytes},
		{"deflate", fasthttp.AppendDeflateBytes},
		{"br", fasthttp.AppendBrotliBytes},
		{"zstd", fasthttp.AppendZstdBytes},
	} {
		once := e.pack(nil, long)
		all = append(all, bomb{e.name, once}, bomb{e.name + ", " + e.name, e.pack(nil, once)})
	}
	return all
})

// bombardment sends each bomb to each route of one app, with each method that may have
// a body, on each instance. headers returns the headers of a request.
func bombardment(admin bool, headers func(t target, n int) []string) func(a *attacker) {
	return func(a *attacker) {
		n := 0
		for _, b := range bombs() {
			for _, r := range routes() {
				if r.admin != admin {
					continue
				}
				for _, method := range slices.Compact([]string{"POST", r.method}) {
					if n++; a.over() {
						a.wrong("there was no time for all of it")
						return
					}
					host := r.at(a.target, n%2)
					lines := append(headers(a.target, n), "Content-Encoding: "+b.encoding, asJSON, "Connection: close")
					status, _, _ := a.ask(host, n%100, method, request(method, r.path, host, b.body, lines...))
					if status == 0 || status >= 500 && status != 503 || method == "POST" && status < 300 {
						a.wrong("%s %s with a bomb of %s is answered %d", method, r.path, b.encoding, status)
					}
				}
			}
		}
	}
}

func nobody(target, int) []string { return nil }

// reader returns the header of a read-only token.
func reader(t target, _ int) []string { return []string{bearer(t.Reader)} }

// caller returns the header of a token, and a new idempotency key for each call, so
// that the server reads the body for its hash.
func caller(t target, n int) []string {
	return []string{bearer(t.Writer), fmt.Sprint("Idempotency-Key: bomb-", n)}
}
