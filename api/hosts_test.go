package api

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// A page of another site has no way to the admin app by DNS rebinding: it answers to its
// own names alone, whatever is asked for.
func TestTheAdminAppAnswersToItsOwnNames(t *testing.T) {
	b := newBare(t)
	b.admin.Hosts = []string{"shelfcast-admin.shop.svc", "Admin.Example"}
	b.listen()
	hosts := map[string]bool{
		"localhost": true, "LOCALHOST:8081": true, "shop.localhost": true, "127.0.0.1": true, "127.0.0.1:8081": true, "[::1]:8081": true, "[::1]": true,
		"10.1.2.3:8081": true, "203.0.113.7": true, "shelfcast-admin.shop.svc:8081": true, "SHELFCAST-ADMIN.shop.svc.": true, "admin.example": true,
		"evil.example": false, "evil.example:8081": false, "localhost.evil.example": false, "notlocalhost": false, "127.0.0.1.evil.example": false,
		"evil.example:127": false, "shelfcast-admin.shop.svc.evil.example": false, "xadmin.example": false, "1.2.3": false, "*": false,
	}
	for host, own := range hosts {
		for path, status := range map[string]int{"/metrics": 200, "/readyz": 200, "/livez": 200, "/admin": 200, "/api/v1/products": 401, "/api/docs": 200, "/nothing": 404} {
			if !own {
				status = http.StatusMisdirectedRequest
			}
			got := b.raw(b.adminAddress, "GET", func(w io.Writer) { fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host) })
			if got.status != status {
				t.Errorf("%s of %q: %d", path, host, got.status)
			}
		}
	}
	if got := b.raw(b.adminAddress, "GET", func(w io.Writer) { fmt.Fprint(w, "GET /readyz HTTP/1.0\r\n\r\n") }); got.status != 200 {
		t.Errorf("a load balancer's probe, which names no host: %d", got.status)
	}
	if got := b.raw(b.publicAddress, "GET", func(w io.Writer) { fmt.Fprint(w, "GET /shop HTTP/1.1\r\nHost: any.example\r\n\r\n") }); got.status != 200 {
		t.Errorf("the shop is for all names: %d", got.status)
	}
	b.admin.Hosts = []string{"*"}
	if got := b.raw(b.adminAddress, "GET", func(w io.Writer) { fmt.Fprint(w, "GET /readyz HTTP/1.1\r\nHost: any.example\r\n\r\n") }); got.status != 200 {
		t.Errorf("all names are its own: %d", got.status)
	}
}

// What a load balancer blocks by its path is served under no other spelling.
func TestAPathHasOneSpelling(t *testing.T) {
	b := newBare(t).listen()
	get := func(address, target string) answer {
		return b.raw(address, "GET", func(w io.Writer) { fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target) })
	}
	for _, address := range []string{b.publicAddress, b.adminAddress} {
		for _, name := range []string{"readyz", "livez"} {
			if got := get(address, "/"+name); got.status != 200 {
				t.Errorf("/%s: %d", name, got.status)
			}
			for _, target := range []string{
				"/" + name + "/", "/R" + name[1:], "/" + name[:4] + "YZ", "/%72" + name[1:], "//" + name, "/./" + name, "/x/../" + name, "/" + name + "%2f",
				"/" + name + ";x", "/" + name + "//", "/" + name + "/x", "/%2e/" + name, "/" + name + "%00", "/" + name + "%20", "\\" + name,
			} {
				if got := get(address, target); got.status != 404 && got.status != 400 {
					t.Errorf("%s: %d", target, got.status)
				}
			}
		}
	}
	for _, target := range []string{"/Metrics", "/metrics/", "/API/v1/products", "/ADMIN", "/api/V1/products"} {
		if got := get(b.adminAddress, target); got.status != 404 {
			t.Errorf("%s: %d", target, got.status)
		}
	}
}

// Links that have a slash at the end of a page's path lead to the page.
func TestAPageIsFoundWithASlash(t *testing.T) {
	b := newBare(t).listen()
	for target, to := range map[string]string{
		"/shop/": "/shop", "/shop/?q=two+words&sort=price": "/shop?q=two+words&sort=price", "/shop/products/42/": "/shop/products/42", "/admin/": "/admin",
	} {
		address := b.publicAddress
		if target == "/admin/" {
			address = b.adminAddress
		}
		got := b.raw(address, "GET", func(w io.Writer) { fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target) })
		if got.status != http.StatusMovedPermanently || got.header.Get("Location") != to {
			t.Errorf("%s: %d, to %q", target, got.status, got.header.Get("Location"))
		}
	}
}
