package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// The timeouts and limits in the example files fit the defaults of an instance.
func TestExampleConfigsMatchTimeoutsAndLimits(t *testing.T) {
	t.Parallel()
	defaults := map[string]string{}
	fields := reflect.TypeFor[server.Settings]()
	for field := range fields.Fields() {
		defaults[field.Name] = field.Tag.Get("default")
	}
	duration := func(text string) time.Duration {
		t.Helper()
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	number := func(text string) int {
		t.Helper()
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	texts := map[string]string{}
	for _, name := range []string{"haproxy/haproxy.cfg", "nginx/nginx.conf"} {
		text, err := os.ReadFile(fleettest.Example(t, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	value := func(file, pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(texts[file])
		if found == nil {
			t.Fatalf("there is no %s in %s", pattern, file)
		}
		return found[1]
	}
	const pong = 20 * time.Second // realtime.Config
	dropped := duration(defaults["Ping"]) + pong
	for file, pattern := range map[string]string{"haproxy/haproxy.cfg": `presetenv LB_IDLE (\S+)`,
		"nginx/nginx.conf": `proxy_read_timeout (\w+);`} {
		if idle := duration(value(file, pattern)); idle <= dropped {
			t.Errorf("%s cuts after %v, and an instance drops who is gone after %v", file, idle, dropped)
		}
	}
	sessions := 3 * number(defaults["MaxSessions"])
	if room := number(value("haproxy/haproxy.cfg", `presetenv LB_CONNECTIONS (\d+)`)); room <= sessions {
		t.Errorf("HAProxy has room for %d, the instances for %d", room, sessions)
	}
	if room := number(value("nginx/nginx.conf", `worker_connections (\d+);`)) / 2; room <= sessions {
		t.Errorf("nginx has room for %d, the instances for %d", room, sessions)
	}
	check := duration(value("haproxy/haproxy.cfg", `presetenv LB_CHECK (\S+)`))
	fall, limit := number(value("haproxy/haproxy.cfg", `fall (\d+)`)),
		duration(value("haproxy/haproxy.cfg", `timeout check (\S+)`))
	if out, quarter := time.Duration(fall)*check+limit, duration(defaults["Drain"])/4; out >= quarter {
		t.Errorf("HAProxy takes up to %v to see that an instance is about to end, which goes on for %v", out, quarter)
	}
}

// An instance sees the address of visitors behind the load balancer, and ignores
// addresses that visitors claim.
func TestClientAddressBehindLoadBalancer(t *testing.T) {
	t.Parallel()
	limit := func(s *server.Settings) { s.MaxPerAddress = 1 }
	behind(t, fleettest.Config{}, limit, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		for _, address := range []string{"127.0.0.2", "127.0.0.3"} {
			in := 0
			for n := range 9 {
				dialer := ws.Dialer{
					Timeout: 10 * time.Second,
					NetDial: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext,
					Header: ws.HandshakeHeaderHTTP{
						"X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", n), fmt.Sprintf("198.51.100.%d", n)},
						"Forwarded":       {fmt.Sprintf("for=203.0.113.%d", n)}, "X-Real-Ip": {fmt.Sprintf("203.0.113.%d", n)},
					},
				}
				s, err := dial(t, dialer, "ws://"+b.Addr+"/live")
				if status, refused := errors.AsType[ws.StatusError](err); err == nil {
					s.settled() // a session counts from its adoption
					in++
				} else if !refused || status != http.StatusTooManyRequests {
					t.Fatal(err)
				}
			}
			if in != 3 {
				t.Errorf("of %s three instances have %d sessions, want 3", address, in)
			}
		}
		for _, path := range []string{"/shop", "/robots.txt", "/sitemap.xml", "/"} {
			if said := lies(t, "http://"+b.Addr+path); strings.Contains(said, "evil.example") {
				t.Errorf("%s repeats what a visitor calls the host:\n%s", path, said)
			}
		}
	})
}

// The load balancer exposes neither the admin app nor the probes.
func TestLoadBalancerDoesNotExposeAdminApp(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{}, nil, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		for _, path := range []string{"/admin", "/api/v1/products", "/api/docs", "/api/openapi.json", "/metrics", "/livez",
			"/readyz"} {
			authorization := http.Header{"Authorization": {"Bearer " + token}}
			status, _, _ := call(t, "GET", "http://"+f.instances[0].AdminAddr()+path, "", authorization)
			if status != http.StatusOK {
				t.Errorf("the admin app answers %s with %d", path, status)
			}
			if status, _, body := call(t, "GET", "http://"+b.Addr+path, "", authorization); status != http.StatusNotFound {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	})
}

// Cacheable answers are cached, and served without any instance; others are not.
func TestNginxCachesFragments(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{}, nil, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		_, _, page := call(t, "GET", "http://"+b.Addr+"/shop", "", nil)
		kept := map[string]string{
			"/assets/shelfcast.js": "public, max-age=300",
			regexp.MustCompile(`/assets/[0-9a-f]{12}/[\w./-]+`).FindString(page):         "public, max-age=31536000, immutable",
			fmt.Sprintf("/fragments/card/%d?v=%d", lamp.ID, lamp.Version):                "public, max-age=31536000, immutable",
			"/fragments?ids=" + inURL("card", lamp.Rev) + "," + inURL("detail", mug.Rev): "public, max-age=31536000, immutable",
		}
		bodies := map[string]string{}
		for path, says := range kept {
			status, headers, body := call(t, "GET", "http://"+b.Addr+path, "", nil)
			if cache := headers.Get("Cache-Control"); status != http.StatusOK || cache != says {
				t.Errorf("%s: %d, %q", path, status, cache)
			}
			bodies[path] = body
		}
		not := fmt.Sprintf("/fragments/card/%d", mug.ID)
		if status, _, body := call(t, "GET", "http://"+b.Addr+not, "", nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", not, status, body)
		}
		for _, stop := range f.stop {
			stop()
		}
		for path, before := range bodies {
			if status, _, body := call(t, "GET", "http://"+b.Addr+path, "", nil); status != http.StatusOK || body != before {
				t.Errorf("%s was not kept: %d %.200s", path, status, body)
			}
		}
		if status, _, body := call(t, "GET", "http://"+b.Addr+not, "", nil); status < 500 {
			t.Errorf("%s was kept: %d %s", not, status, body)
		}
	})
}

// During an outage of MySQL all instances serve what is cached, and none is taken out.
func TestLoadBalancerKeepsInstancesWithoutMySQL(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, fleettest.Config) *fleettest.Balancer{
		"haproxy": fleettest.HAProxy, "nginx": fleettest.Nginx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mysqld := testkit.StartMySQL(t)
			f := startFleetOf(t, 3, mysqld.Database(t), server.Options{Log: slog.New(slog.DiscardHandler)},
				func(s *server.Settings) { s.Timeout = 500 * time.Millisecond })
			lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
			page := fmt.Sprintf("/shop/products/%d", lamp.ID)
			b := start(t, fleettest.Config{Instances: f.publicAddresses(), Check: 50 * time.Millisecond})
			for n := range f.instances {
				for _, path := range []string{page, fmt.Sprintf("/fragments/card/%d", mug.ID)} {
					if status, _, body := call(t, "GET", f.public(n, path), "", nil); status != http.StatusOK {
						t.Fatal(status, body)
					}
				}
			}
			mysqld.Stop()
			for n := range f.instances {
				// When the feed lags, versions in memory are no longer trusted.
				testkit.Eventually(t, "the instance says so", func() bool {
					_, _, answer := call(t, "GET", f.public(n, "/readyz"), "", nil)
					return strings.Contains(answer, `"status":"degraded"`) && strings.Contains(answer, `"feed":"failed"`)
				})
			}
			for range 3 {
				s := shopperAt(t, b.Addr, "")
				s.watch("card", store.Rev{ID: mug.ID})
				if got := s.next().Fragments; len(got) != 1 || got[0].Rev != mug.Rev {
					t.Errorf("shown %v", got)
				}
				if status, _, body := call(t, "GET", "http://"+b.Addr+page, "", nil); status != http.StatusOK ||
					!strings.Contains(body, fmt.Sprint(lamp.Version)) {
					t.Errorf("a page: %d %s", status, body)
				}
			}
			if b.HasChecks() && slices.Contains(b.States(t), "DOWN") {
				t.Errorf("the instances are %v", b.States(t))
			}
		})
	}
}

// When all instances are full, all are ready and serve pages.
func TestFullFleetServesPages(t *testing.T) {
	t.Parallel()
	f := startFleetOf(t, 3, testkit.DSN(t), server.Options{Log: slog.New(slog.DiscardHandler)},
		func(s *server.Settings) { s.MaxSessions = 1 })
	lamp := f.product(t, "lamp")
	b := fleettest.HAProxy(t, fleettest.Config{Instances: f.publicAddresses(), Check: 50 * time.Millisecond})
	for n := range f.instances {
		f.shopper(t, n, "").settled()
	}
	for n := range f.instances {
		if status, _, answer := call(t, "GET", f.public(n, "/readyz"), "", nil); status != http.StatusOK ||
			!strings.Contains(answer, `"sessions":"failed"`) {
			t.Errorf("instance %d: %d %s", n, status, answer)
		}
		status, header, answer := call(t, "GET", f.public(n, "/live"), "", upgradeHeaders)
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Errorf("a handshake with instance %d: %d %v %s", n, status, header, answer)
		}
		full := f.scrape(t, n, asText)["shelfcast_at_capacity"].GetMetric()
		if len(full) != 1 || full[0].GetGauge().GetValue() != 1 {
			t.Errorf("shelfcast_at_capacity of instance %d: %v", n, full)
		}
	}
	for range 3 {
		status, _, body := call(t, "GET", fmt.Sprintf("http://%s/shop/products/%d", b.Addr, lamp.ID), "", nil)
		if status != http.StatusOK {
			t.Errorf("a page: %d %s", status, body)
		}
	}
	if slices.Contains(b.States(t), "DOWN") {
		t.Errorf("the instances are %v", b.States(t))
	}
	status, header, _ := call(t, "GET", "http://"+b.Addr+"/live/poll?watch="+inURL("card", lamp.Rev), "", nil)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("one more page that asks: %d %v", status, header)
	}
}

// The commented-out blocks work too: TLS, with sessions through it, and the settings
// for Debian's service.
func TestExampleConfigBlocks(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{TLS: true}, nil, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		ca, err := os.ReadFile(b.CA)
		if err != nil {
			t.Fatal(err)
		}
		trust := &tls.Config{RootCAs: x509.NewCertPool()}
		if !trust.RootCAs.AppendCertsFromPEM(ca) {
			t.Fatal("no certificate")
		}
		client := http.Client{
			Transport:     &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		t.Cleanup(client.CloseIdleConnections)
		get := func(url string) (*http.Response, string) {
			t.Helper()
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response, string(body)
		}
		response, page := get("https://" + b.Secure + "/shop")
		if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 ||
			response.Header.Get("Strict-Transport-Security") == "" ||
			!strings.Contains(page, "The lamp") {
			t.Errorf("%s %s %v", response.Status, response.Proto, response.Header)
		}
		response, _ = get("http://" + b.Addr + "/shop?q=lamp")
		if to := response.Header.Get("Location"); response.StatusCode != http.StatusPermanentRedirect ||
			!strings.HasPrefix(to, "https://127.0.0.1") || !strings.HasSuffix(to, "/shop?q=lamp") {
			t.Errorf("%s to %q", response.Status, to)
		}
		s, err := dial(t, ws.Dialer{Timeout: 10 * time.Second, TLSConfig: trust}, "wss://"+b.Secure+"/live")
		if err != nil {
			t.Fatal(err)
		}
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
		edited := f.edit(t, 1, mug.Rev, `{"price":"17.50"}`)
		if got := s.next().Fragments; len(got) != 1 || got[0].Rev != edited.Rev {
			t.Errorf("shown %v", got)
		}
	})
	for _, block := range []string{"host", "dns"} {
		fleettest.CheckHAProxy(t, fleettest.Config{Block: block})
	}
}
