package public

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"shelfcast/api/apitest"
)

func TestPublicRefusesCompressedBodies(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	apitest.CompressedBodiesAreRefused(t, b.app, b.address, "no token")
	// A second line of the header counts too.
	bomb := fasthttp.AppendBrotliBytes(nil, make([]byte, 64<<20))
	got := apitest.Send(t, b.address, "POST", func(w io.Writer) {
		fmt.Fprintf(w, "POST /product/tree/sync HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: identity\r\n"+
			"Content-Encoding: br\r\nContent-Length: %d\r\n\r\n%s", len(bomb), bomb)
	})
	if got.Status != http.StatusUnsupportedMediaType {
		t.Errorf("two lines: %d %s", got.Status, got.Body)
	}
	call := `{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`
	got = apitest.Send(t, b.address, "POST", func(w io.Writer) {
		fmt.Fprintf(w, "POST /product/tree/sync HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: identity\r\n"+
			"Content-Length: %d\r\n\r\n%s", len(call), call)
	})
	if got.Status != http.StatusOK || !strings.Contains(got.Body, `"result"`) {
		t.Errorf("identity: %d %s", got.Status, got.Body)
	}
}

func TestPublicRefusesForms(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	apitest.FormsAreRefused(t, b.address, "no token", "/product/tree/sync", "/shop", "/live")
}

func TestPublicBuffersNoBodyThatItRefuses(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	apitest.RefusedUploadsAreNotBuffered(t, b.address, []apitest.Upload{
		{Name: "the shop", Path: "/shop", Size: 1 << 20, Status: 405},
		{Name: "a call that is too large", Path: "/product/tree/sync", Size: 1 << 20, Status: 413},
	})
	b.holdsNoBody(t)
}

// FuzzPublicConnection: the app answers any bytes in HTTP, if at all, and holds none of them afterwards.
func FuzzPublicConnection(f *testing.F) {
	b := newOfflinePublic(f)
	apitest.FuzzConnection(f, b.app, "no token", b.holdsNoBody)
}

func TestPublicPathsHaveOneSpelling(t *testing.T) {
	apitest.PathsHaveOneSpelling(t, newOfflinePublic(t).listen(t).address)
}

func TestTrailingSlashLeadsToTheShopPage(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	for target, to := range map[string]string{
		"/shop/": "/shop", "/shop/?q=two+words&sort=price": "/shop?q=two+words&sort=price",
		"/shop/products/42/": "/shop/products/42",
	} {
		apitest.SlashRedirects(t, b.address, target, to)
	}
}

func TestShopAnswersToEveryHostName(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	got := apitest.Send(t, b.address, "GET",
		func(w io.Writer) { fmt.Fprint(w, "GET /shop HTTP/1.1\r\nHost: any.example\r\n\r\n") })
	if got.Status != 200 {
		t.Error(got.Status)
	}
}

// Without a token everybody reaches exactly these routes.
func TestPublicRoutesAreListed(t *testing.T) {
	app := newOfflinePublic(t).app
	open := []string{
		"GET /", "GET /shop", "GET /shop/", "GET /shop/products/:id", "GET /shop/products/:id/",
		"GET /robots.txt", "GET /sitemap.xml", "GET /sitemaps/products-:number.xml",
		"GET /assets/*", "GET /favicon.ico", "GET /fragments", "GET /fragments/:view/:id",
		"GET /live", "GET /live/poll", "GET /live/:stream", "GET /websocket", "GET /websocket/", "GET /websocket/health",
		"GET /product/tree/sync", "POST /product/tree/sync", "GET /livez", "GET /readyz",
	}
	var found []string
	for _, r := range app.GetRoutes(true) {
		if r.Method != http.MethodHead {
			if found = append(found, r.Method+" "+r.Path); !slices.Contains(open, found[len(found)-1]) {
				t.Errorf("the public app has %s %s, which is not in the list", r.Method, r.Path)
			}
		}
	}
	if len(found) != len(open) {
		t.Errorf("the public app has %v, the list %v", found, open)
	}
}
