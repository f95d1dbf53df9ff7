package public

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"shelfcast/api/httpx"
	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// newTestShopWithHub returns a testShop with a hub, behind a proxy that says who asks.
func newTestShopWithHub(t testing.TB, change func(*App)) *testShop {
	return newTestShop(t, testkit.DSN(t), nil, func(p *App) {
		p.Hub = realtime.NewHub(p.Cache, realtime.Config{Log: p.Log})
		p.TrustedProxies = []httpx.Network{netip.MustParsePrefix("0.0.0.0/0")}
		if change != nil {
			change(p)
		}
	})
}

// large makes products of that size.
func (f *testShop) large(n, bytes int) (all []store.Product) {
	for i := range n {
		all = append(all, f.product(fmt.Sprintf(
			`{"sku":"large%d","title":"Large %d","price":"1","currency":"EUR","description":"<p>%s</p>"}`,
			i, i, strings.Repeat("x", bytes))))
	}
	return all
}

func listOf(view render.View, products []store.Product) string {
	items := make([]string, len(products))
	for i, p := range products {
		items[i] = fmt.Sprintf("%d:%d:%s", p.ID, p.Version, view)
	}
	return strings.Join(items, ",")
}

// unseen returns the list for a page that shows none of it yet.
func unseen(list string) string {
	items := strings.Split(list, ",")
	for i, item := range items {
		parts := strings.Split(item, ":")
		items[i] = parts[0] + ":0:" + parts[2]
	}
	return strings.Join(items, ",")
}

// However many large fragments are asked for, an answer has no more than a frame and says where it ended. Asking on
// from there returns all of them, each once.
func TestAnswersHaveAtMostOneFrame(t *testing.T) {
	f := newTestShopWithHub(t, nil)
	const size = 40 << 10
	all := f.large(12, size)
	items := strings.Split(listOf(render.Detail, all), ",")
	for name, ask := range map[string]func(rest []string) string{
		"fragments": func(rest []string) string { return "/fragments?ids=" + strings.Join(rest, ",") },
		"poll":      func(rest []string) string { return "/live/poll?watch=" + unseen(strings.Join(rest, ",")) },
	} {
		seen, answers := map[int64]bool{}, 0
		for rest := items; len(rest) > 0; answers++ {
			r := f.ask("GET", ask(rest))
			var said struct {
				Fragments []store.Rev
				Next      int
			}
			if err := json.Unmarshal(r.Body(), &said); err != nil || r.StatusCode() != 200 {
				t.Fatalf("%s: %d %v", name, r.StatusCode(), err)
			}
			if n := len(r.Body()); n > realtime.FrameBytes+size+2000 || r.Header.ContentLength() != n {
				t.Errorf("%s: an answer has %d bytes, and says %d", name, n, r.Header.ContentLength())
			}
			for _, fragment := range said.Fragments {
				if seen[fragment.ID] {
					t.Errorf("%s: %d came twice", name, fragment.ID)
				}
				seen[fragment.ID] = true
			}
			if kept := string(r.Header.Peek("Cache-Control")); name == "fragments" && kept != httpx.CacheForever {
				t.Errorf("what is exactly what was asked for is %q", kept)
			}
			if rest = rest[said.Next:]; said.Next == 0 {
				rest = nil
			}
		}
		if len(seen) != len(all) || answers < 3 {
			t.Errorf("%s: %d answers had %d of %d products", name, answers, len(seen), len(all))
		}
	}
}

// dial returns a connection on which a path was requested.
func (f *testShop) dial(path, from string) net.Conn {
	f.t.Helper()
	conn, err := f.browser.Dial("")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: visited.example\r\nX-Forwarded-For: %s\r\n"+
		"Connection: close\r\n\r\n", path, from)
	return conn
}

// slow requests a path, and reads the answer when read is called.
func (f *testShop) slow(path, from string) (read func()) {
	conn := f.dial(path, from)
	return func() { _, _ = io.Copy(io.Discard, conn) }
}

// Clients that do not read their answers are limited per address and in total. Others are told when to retry, and are
// answered once those are through.
func TestSlowReadersAreLimited(t *testing.T) {
	f := newTestShopWithHub(t, func(p *App) { p.Answers, p.AnswersPerAddress = 3, 2 })
	list := listOf(render.Detail, f.large(8, 40<<10))
	under := func(n int) func() bool {
		return func() bool {
			f.public.answers.mu.Lock()
			defer f.public.answers.mu.Unlock()
			return f.public.answers.total == n
		}
	}
	for name, path := range map[string]string{"fragments": "/fragments?ids=" + list,
		"poll": "/live/poll?watch=" + unseen(list)} {
		reads := []func(){f.slow(path, "192.0.2.1"), f.slow(path, "192.0.2.1")}
		testkit.Eventually(t, name+": both are being answered", under(2))
		refused := func(from string, status int) {
			t.Helper()
			r := f.ask("GET", path, "X-Forwarded-For", from)
			if r.StatusCode() != status || len(r.Header.Peek("Retry-After")) == 0 {
				t.Errorf("%s: %s got %d, want %d", name, from, r.StatusCode(), status)
			}
		}
		refused("192.0.2.1", fasthttp.StatusTooManyRequests)
		reads = append(reads, f.slow(path, "192.0.2.2"))
		testkit.Eventually(t, name+": another address is answered", under(3))
		refused("192.0.2.3", fasthttp.StatusServiceUnavailable)
		for _, read := range reads {
			read()
		}
		testkit.Eventually(t, name+": all are through", under(0))
		if r := f.ask("GET", path, "X-Forwarded-For", "192.0.2.1"); r.StatusCode() != 200 {
			t.Errorf("%s: got %d", name, r.StatusCode())
		}
	}
	// However an answer ends, it is counted no longer.
	for _, path := range []string{"/fragments?ids=" + list, "/fragments?ids=x",
		"/live/poll?watch=1:0:nosuch", "/fragments?ids=99:1:card"} {
		tag := string(f.ask("GET", path).Header.Peek("ETag"))
		f.ask("HEAD", path)
		f.ask("GET", path, "If-None-Match", tag)
		f.slow(path, "192.0.2.9")()
	}
	for range 2 {
		f.dial("/fragments?ids="+list, "192.0.2.9").Close()
	}
	testkit.Eventually(t, "all are through", under(0))
}
