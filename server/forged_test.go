package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit/fleettest"
)

// lie adds headers that no visitor may set: its address, and how the request arrived.
func lie(r *http.Request) {
	r.Host = "evil.example"
	for name, values := range map[string][]string{
		"X-Forwarded-For": {"203.0.113.7", "198.51.100.7"}, "X-Real-Ip": {"203.0.113.7"}, "X-Url-Scheme": {"forged"},
		"Forwarded": {"for=203.0.113.7;host=evil.example;proto=forged"}, "X-Forwarded-Prefix": {"/forged"},
		"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"forged"}, "X-Forwarded-Port": {"forged"},
		"X-Forwarded-Server": {"evil.example"}, "X-Forwarded-Protocol": {"forged"}, "X-Forwarded-Ssl": {"forged"},
		"X_Forwarded_For": {"203.0.113.7"}, "X_Forwarded_Host": {"evil.example"}, "X_Real_Ip": {"203.0.113.7"},
	} {
		r.Header[name] = values
	}
}

// lies returns the whole answer to a request with forged headers.
func lies(t testing.TB, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	lie(request)
	response, err := http.DefaultTransport.RoundTrip(request) // without following redirects
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.Status, response.Header, string(body))
}

// Instances trust each load balancer that we ship. So it must drop what a visitor
// claims, on every path.
func TestShippedProxiesDropForgedHeaders(t *testing.T) {
	t.Parallel()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(echo.Close)
	behind := strings.TrimPrefix(echo.URL, "http://")
	instances := []string{behind, behind, behind}
	for name, start := range map[string]func(*testing.T) []string{
		"haproxy": func(t *testing.T) []string {
			return []string{fleettest.HAProxy(t, fleettest.Config{Instances: instances}).Addr}
		},
		"nginx": func(t *testing.T) []string {
			return []string{fleettest.Nginx(t, fleettest.Config{Instances: instances}).Addr}
		},
		"compose": func(t *testing.T) []string {
			shop, admin := fleettest.Compose(t, instances[:2], instances[:2])
			return []string{shop, admin}
		},
		"odoo/haproxy": func(t *testing.T) []string { return []string{haproxyOf(t, behind, instances)} },
		"odoo/nginx":   func(t *testing.T) []string { return []string{nginxOf(t, behind, instances)} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, address := range start(t) {
				for _, path := range []string{"/", "/shop", "/robots.txt", "/assets/x", "/fragments", "/fragments/card/1",
					"/product/tree/sync", "/live", "/live/sse", "/live/poll", "/websocket", "/websocket/health", "/api/v1/products"} {
					request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					lie(request)
					response, err := http.DefaultTransport.RoundTrip(request)
					if err != nil {
						t.Fatal(err)
					}
					var got http.Header
					err = json.NewDecoder(response.Body).Decode(&got)
					response.Body.Close()
					if err != nil {
						t.Fatalf("%s: %v", path, err)
					}
					if from := got["X-Forwarded-For"]; !slices.Equal(from, []string{"127.0.0.1"}) {
						t.Errorf("%s%s: X-Forwarded-For is %q", address, path, from)
					}
					if proto := got["X-Forwarded-Proto"]; !slices.Equal(proto, []string{"http"}) {
						t.Errorf("%s%s: X-Forwarded-Proto is %q", address, path, proto)
					}
					if strings.HasPrefix(name, "odoo") { // as Odoo's proxy_mode needs it
						delete(got, "X-Forwarded-Host")
					}
					for header, values := range got {
						for _, mark := range []string{"203.0.113.7", "198.51.100.7", "evil.example", "forged"} {
							if strings.Contains(strings.Join(values, " "), mark) {
								t.Errorf("%s%s: the visitor's own %s gets through: %q", address, path, header, values)
							}
						}
					}
				}
			}
		})
	}
}

// With the load balancer of compose.yaml, limits of an address hold whatever it
// claims, and cached answers contain nothing of it.
func TestComposeProxyDropsForgedHeaders(t *testing.T) {
	t.Parallel()
	const tries, searches = 5, 4
	f := startFleet(t, func(s *server.Settings) {
		s.TrustedProxies, s.AdminTries, s.Searches = []string{"127.0.0.1"}, tries, searches
	})
	f.product(t, "lamp")
	var public, admin []string
	for _, i := range f.instances {
		public, admin = append(public, i.PublicAddr()), append(admin, i.AdminAddr())
	}
	shop, admins := fleettest.Compose(t, public, admin)
	statuses := func(n int, ask func(int) (*http.Request, error)) map[int]int {
		t.Helper()
		got := map[int]int{}
		for i := range n {
			request, err := ask(i)
			if err != nil {
				t.Fatal(err)
			}
			lie(request)
			request.Host = request.URL.Host // the admin app accepts only its own names
			request.Header["X-Forwarded-For"] = []string{fmt.Sprintf("203.0.113.%d", i)}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			got[response.StatusCode]++
		}
		return got
	}
	got := statuses(4*tries, func(n int) (*http.Request, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+admins+"/api/v1/products", nil)
		if err == nil {
			r.Header.Set("Authorization", fmt.Sprint("Bearer wrong", n))
		}
		return r, err
	})
	if got[http.StatusUnauthorized] > tries+1 || got[http.StatusUnauthorized]+got[http.StatusTooManyRequests] != 4*tries {
		t.Errorf("an address that lies may try more tokens: %v", got)
	}
	got = statuses(4*searches, func(n int) (*http.Request, error) {
		return http.NewRequestWithContext(t.Context(), "GET", fmt.Sprint("http://", shop, "/shop?q=word", n), nil)
	})
	if got[http.StatusOK] > searches+1 || got[http.StatusOK]+got[http.StatusTooManyRequests] != 4*searches {
		t.Errorf("an address that lies may search more: %v", got)
	}
	for _, path := range []string{"/", "/shop/products/1", "/robots.txt", "/sitemap.xml", "/sitemaps/products-1.xml"} {
		if said := lies(t, "http://"+shop+path); strings.Contains(said, "evil.example") {
			t.Errorf("%s repeats what a visitor calls the host:\n%s", path, said)
		}
	}
}
