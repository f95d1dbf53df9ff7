package admin

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"shelfcast/api/apitest"
)

// A page of another site cannot reach the admin app by DNS rebinding: the app answers to its own names alone.
func TestAdminAnswersOnlyToItsOwnHostNames(t *testing.T) {
	b := newOfflineAdmin(t)
	b.Hosts = []string{"shelfcast-admin.shop.svc", "Admin.Example"}
	b.listen(t)
	hosts := map[string]bool{
		"localhost": true, "LOCALHOST:8081": true, "shop.localhost": true,
		"127.0.0.1": true, "127.0.0.1:8081": true, "[::1]:8081": true, "[::1]": true,
		"10.1.2.3:8081": true, "203.0.113.7": true, "shelfcast-admin.shop.svc:8081": true,
		"SHELFCAST-ADMIN.shop.svc.": true, "admin.example": true,
		"evil.example": false, "evil.example:8081": false, "localhost.evil.example": false,
		"notlocalhost": false, "127.0.0.1.evil.example": false,
		"evil.example:127": false, "shelfcast-admin.shop.svc.evil.example": false,
		"xadmin.example": false, "1.2.3": false, "*": false,
	}
	for host, own := range hosts {
		for path, status := range map[string]int{"/metrics": 200, "/readyz": 200, "/livez": 200,
			"/admin": 200, "/api/v1/products": 401, "/api/docs": 200, "/nothing": 404} {
			if !own {
				status = http.StatusMisdirectedRequest
			}
			got := apitest.Send(t, b.address, "GET",
				func(w io.Writer) { fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host) })
			if got.Status != status {
				t.Errorf("%s of %q: %d", path, host, got.Status)
			}
		}
	}
	if got := apitest.Send(t, b.address, "GET",
		func(w io.Writer) { fmt.Fprint(w, "GET /readyz HTTP/1.0\r\n\r\n") }); got.Status != 200 {
		t.Errorf("a load balancer's probe, which names no host: %d", got.Status)
	}
	b.Hosts = []string{"*"}
	if got := apitest.Send(t, b.address, "GET",
		func(w io.Writer) { fmt.Fprint(w, "GET /readyz HTTP/1.1\r\nHost: any.example\r\n\r\n") }); got.Status != 200 {
		t.Errorf("all names are its own: %d", got.Status)
	}
}

// A load balancer that blocks a path blocks what is served.
func TestAdminPathsHaveOneSpelling(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	apitest.PathsHaveOneSpelling(t, b.address)
	for _, target := range []string{"/Metrics", "/metrics/", "/API/v1/products", "/ADMIN", "/api/V1/products"} {
		if got := apitest.Get(t, b.address, target); got.Status != 404 {
			t.Errorf("%s: %d", target, got.Status)
		}
	}
}

func TestTrailingSlashLeadsToTheAdminPage(t *testing.T) {
	apitest.SlashRedirects(t, newOfflineAdmin(t).listen(t).address, "/admin/", "/admin")
}

// FuzzAdminConnection: the app answers any bytes in HTTP, if at all, and holds none of them afterwards.
func FuzzAdminConnection(f *testing.F) {
	b := newOfflineAdmin(f)
	apitest.FuzzConnection(f, b.app, rootToken, b.holdsNoBody)
}
