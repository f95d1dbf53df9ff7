package apitest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// compressedBombs returns a few bytes in each encoding that become 64 MiB.
func compressedBombs() map[string][]byte {
	plain := make([]byte, 64<<20)
	gzip := fasthttp.AppendGzipBytes(nil, plain)
	return map[string][]byte{
		"gzip": gzip, "x-gzip": gzip, "GZIP": gzip, "deflate": fasthttp.AppendDeflateBytes(nil, plain),
		"br":   fasthttp.AppendBrotliBytes(nil, plain),
		"zstd": fasthttp.AppendZstdBytes(nil, plain), "identity, br": fasthttp.AppendBrotliBytes(nil, plain),
		"gzip, gzip": fasthttp.AppendGzipBytes(nil, gzip),
	}
}

// CompressedBodiesAreRefused fails if a route of the app inflates a body, with any method, or if the answer does not
// say that no encoding is taken (RFC 9110, 15.5.16; RFC 7694).
func CompressedBodiesAreRefused(t *testing.T, app *fiber.App, address, token string) {
	t.Helper()
	seen, bombs := map[string]bool{}, compressedBombs()
	for _, route := range append(app.GetRoutes(true), fiber.Route{Method: "POST", Path: "/no/such/route"}) {
		path := strings.NewReplacer(`\`, "", ":id", "42", ":view", "card", ":number", "1", "*", "shelfcast.js").
			Replace(route.Path)
		if seen[route.Method+path] || route.Method == http.MethodConnect {
			continue
		}
		seen[route.Method+path] = true
		for encoding, bomb := range bombs {
			allocated := AllocatedBy(func() {
				got := Send(t, address, route.Method, func(w io.Writer) {
					fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\n",
						route.Method, path, token, encoding)
					fmt.Fprintf(w, "Content-Type: application/json\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s",
						encoding, len(bomb), bomb)
				})
				if got.Status != http.StatusUnsupportedMediaType || got.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("%s %s, %s: %d %v %s", route.Method, path, encoding, got.Status, got.Header, got.Body)
				}
			})
			if allocated > 8<<20 {
				t.Fatalf("%s %s, %s: a body of %d bytes had %d bytes allocated", route.Method, path, encoding, len(bomb), allocated)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d routes were tried", len(seen))
	}
}

// FormsAreRefused fails if one of the paths takes a multipart body: it would be files of any size.
func FormsAreRefused(t *testing.T, address, token string, paths ...string) {
	t.Helper()
	form := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nHandle\r\n--x--\r\n"
	for _, path := range paths {
		for _, kind := range []string{"multipart/form-data; boundary=x", "Multipart/Mixed; boundary=x"} {
			got := Send(t, address, "POST", func(w io.Writer) {
				fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"+
					"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, token, kind, len(form), form)
			})
			if got.Status != http.StatusUnsupportedMediaType {
				t.Errorf("%s, %s: %d %s", path, kind, got.Status, got.Body)
			}
		}
	}
}

// An Upload is a POST of so many zeros that is refused with that status.
type Upload struct {
	Name, Path, Token string
	Size, Status      int
}

// RefusedUploadsAreNotBuffered fails if a body is held in memory before it is known that its sender may send it, or
// if the sender is not told why it is refused.
func RefusedUploadsAreNotBuffered(t *testing.T, address string, uploads []Upload) {
	t.Helper()
	for _, u := range uploads {
		for _, chunked := range []bool{false, true} {
			allocated := AllocatedBy(func() {
				got := Send(t, address, "POST", func(w io.Writer) {
					fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n", u.Path)
					if u.Token != "" {
						fmt.Fprintf(w, "Authorization: Bearer %s\r\n", u.Token)
					}
					if chunked {
						fmt.Fprintf(w, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", u.Size)
						WriteZeros(w, u.Size)
						fmt.Fprint(w, "\r\n0\r\n\r\n")
					} else {
						fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", u.Size)
						WriteZeros(w, u.Size)
					}
				})
				if got.Status != u.Status {
					t.Errorf("%s, chunked %v: %d %s", u.Name, chunked, got.Status, got.Body)
				}
			})
			limit := 2 << 20
			if u.Status == http.StatusRequestEntityTooLarge && chunked {
				limit = 64 << 20 // only reading shows the size
			}
			if allocated > limit {
				t.Errorf("%s, chunked %v: a body of %d bytes had %d bytes allocated", u.Name, chunked, u.Size, allocated)
			}
		}
	}
}

// PathsHaveOneSpelling fails if the health routes are served under another spelling: a load balancer that blocks
// them by path would let it through.
func PathsHaveOneSpelling(t *testing.T, address string) {
	t.Helper()
	for _, name := range []string{"readyz", "livez"} {
		if got := Get(t, address, "/"+name); got.Status != 200 {
			t.Errorf("/%s: %d", name, got.Status)
		}
		for _, target := range []string{
			"/" + name + "/", "/R" + name[1:], "/" + name[:4] + "YZ", "/%72" + name[1:],
			"//" + name, "/./" + name, "/x/../" + name, "/" + name + "%2f",
			"/" + name + ";x", "/" + name + "//", "/" + name + "/x",
			"/%2e/" + name, "/" + name + "%00", "/" + name + "%20", "\\" + name,
		} {
			if got := Get(t, address, target); got.Status != 404 && got.Status != 400 {
				t.Errorf("%s: %d", target, got.Status)
			}
		}
	}
}

// SlashRedirects fails if target is not redirected to the page to, for good.
func SlashRedirects(t *testing.T, address, target, to string) {
	t.Helper()
	if got := Get(t, address, target); got.Status != http.StatusMovedPermanently || got.Header.Get("Location") != to {
		t.Errorf("%s: %d, to %q", target, got.Status, got.Header.Get("Location"))
	}
}

// Get sends a GET of target, as it is written, with the host localhost.
func Get(t testing.TB, address, target string) Response {
	t.Helper()
	return Send(t, address, "GET",
		func(w io.Writer) { fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target) })
}
