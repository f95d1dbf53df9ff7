package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// example writes a file of deploy/odoo with these addresses.
func example(t testing.TB, file, listen, odoo string, instances []string) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/odoo/" + file)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(listen, ":")
	return strings.NewReplacer("bind :80\n", "bind "+listen+"\n", "listen 80;", "listen 127.0.0.1:"+port+";",
		"tier1:8080", instances[0], "tier2:8080", instances[1], "odoo:8069", odoo).Replace(string(text))
}

// haproxyOf and nginxOf start HAProxy and nginx with the examples.
func haproxyOf(t testing.TB, odoo string, instances []string) (address string) {
	t.Helper()
	address = testkit.FreeAddr(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(example(t, "haproxy.cfg", address, odoo, instances)), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.StartServer(t, fleettest.Answers("http://"+address+"/websocket/health"), nil,
		testkit.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return address
}

func nginxOf(t testing.TB, odoo string, instances []string) (address string) {
	t.Helper()
	address = testkit.FreeAddr(t)
	dir := t.TempDir()
	site, main := filepath.Join(dir, "site.conf"), filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(site, []byte(example(t, "nginx.conf", address, odoo, instances)), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
events { worker_connections 1000; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; `+
		`uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  include %[2]s;
}
`, dir, site)
	if err := os.WriteFile(main, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.StartServer(t, fleettest.Answers("http://"+address+"/websocket/health"), nil,
		testkit.Program(t, "nginx-light", "nginx"), "-c", main)
	return address
}

// The example load balancers route the realtime paths of an Odoo shop to Shelfcast and
// the rest to Odoo, also when an instance is down.
func TestOdooBehindExampleProxies(t *testing.T) {
	t.Parallel()
	odoo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "Odoo: "+r.URL.Path)
	}))
	t.Cleanup(odoo.Close)
	for name, start := range map[string]func(testing.TB, string, []string) string{"haproxy": haproxyOf, "nginx": nginxOf} {
		t.Run(name, func(t *testing.T) {
			f := startFleet(t, func(s *server.Settings) { once(s); s.TrustedProxies = []string{"127.0.0.1"} })
			lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
			address := start(t, strings.TrimPrefix(odoo.URL, "http://"), f.publicAddresses())
			for _, path := range []string{"/", "/shop", "/bus/websocket_worker_bundle", "/websocketx", "/product/tree"} {
				if _, _, body := call(t, "GET", "http://"+address+path, "", nil); body != "Odoo: "+path {
					t.Errorf("%s: %s", path, body)
				}
			}
			if status, _, body := call(t, "GET", "http://"+address+"/websocket/health", "", nil); status != 200 ||
				body != `{"status": "pass"}` {
				t.Errorf("%d %s", status, body)
			}
			sync := func() {
				t.Helper()
				_, _, body := call(t, "POST", "http://"+address+"/product/tree/sync",
					fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, lamp.ID), nil)
				if !strings.Contains(body, fmt.Sprintf(`"version":%d}`, lamp.Version)) {
					t.Errorf("sync: %s", body)
				}
			}
			var sockets []*odooSocket
			for range 4 { // on either instance
				s := odooAt(t, address)
				s.subscribe(0, "product_updates")
				s.hears(lamp.ID, mug.ID)
				sockets = append(sockets, s)
			}
			if f.instances[0].Sessions() == 0 || f.instances[1].Sessions() == 0 {
				t.Errorf("%d and %d sessions", f.instances[0].Sessions(), f.instances[1].Sessions())
			}
			lamp = f.edit(t, 0, lamp.Rev, `{"stock":1}`)
			for _, s := range sockets {
				s.hears(lamp.ID)
			}
			for range 4 {
				sync()
			}
			_, response, _ := handshake16(t, address, "/websocket", map[string]string{"Origin": "https://evil.example"})
			if response.StatusCode != 403 {
				t.Errorf("another site: %s", response.Status)
			}
			f.stop[0]()
			for range 4 {
				sync()
				s := odooAt(t, address)
				s.subscribe(0, "product_updates")
				if got := s.next(); len(got) != 2 {
					t.Errorf("heard of %v", got)
				}
			}
		})
	}
}
