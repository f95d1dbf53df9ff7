package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"shelfcast/realtime"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// withHub is a front that has a hub, behind a proxy that says who asks.
func withHub(t testing.TB, change func(*Public)) *front {
	return newFront(t, storetest.DSN(t), nil, func(p *Public) {
		p.Hub = realtime.NewHub(p.Cache, realtime.Config{Log: p.Log})
		p.TrustedProxies = []Network{netip.MustParsePrefix("0.0.0.0/0")}
		if change != nil {
			change(p)
		}
	})
}

// large makes products of so many bytes each.
func (f *front) large(n, bytes int) (all []store.Product) {
	for i := range n {
		all = append(all, f.product(fmt.Sprintf(`{"sku":"large%d","title":"Large %d","price":"1","currency":"EUR","description":"<p>%s</p>"}`, i, i, strings.Repeat("x", bytes))))
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

// unseen is a list of those of which the page shows nothing yet.
func unseen(list string) string {
	items := strings.Split(list, ",")
	for i, item := range items {
		parts := strings.Split(item, ":")
		items[i] = parts[0] + ":0:" + parts[2]
	}
	return strings.Join(items, ",")
}

// However many large fragments are asked for, an answer has a frame full of them
// and says where it ended; asking on from there has all, each once.
func TestAnAnswerHasNoMoreThanAFrameFull(t *testing.T) {
	f := withHub(t, nil)
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
			if kept := string(r.Header.Peek("Cache-Control")); name == "fragments" && kept != forEver {
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

// dial is a connection on which a path was asked for.
func (f *front) dial(path, from string) net.Conn {
	f.t.Helper()
	conn, err := f.browser.Dial("")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: visited.example\r\nX-Forwarded-For: %s\r\nConnection: close\r\n\r\n", path, from)
	return conn
}

// slow asks for a path, and does not read the answer until the function that it
// returns is called.
func (f *front) slow(path, from string) (read func()) {
	conn := f.dial(path, from)
	return func() { _, _ = io.Copy(io.Discard, conn) }
}

// Those who do not read what they are answered are no more than a few of one
// address, and not all that there is room for; whoever is refused is told when to
// come again, and has his turn when they are through.
func TestSlowReadersAreAnsweredUpToABound(t *testing.T) {
	f := withHub(t, func(p *Public) { p.Answers, p.AnswersPerAddress = 3, 2 })
	list := listOf(render.Detail, f.large(8, 40<<10))
	under := func(n int) func() bool {
		return func() bool {
			f.public.answers.mu.Lock()
			defer f.public.answers.mu.Unlock()
			return f.public.answers.all == n
		}
	}
	for name, path := range map[string]string{"fragments": "/fragments?ids=" + list, "poll": "/live/poll?watch=" + unseen(list)} {
		reads := []func(){f.slow(path, "192.0.2.1"), f.slow(path, "192.0.2.1")}
		storetest.Eventually(t, name+": both are being answered", under(2))
		refused := func(from string, status int) {
			t.Helper()
			r := f.ask("GET", path, "X-Forwarded-For", from)
			if r.StatusCode() != status || len(r.Header.Peek("Retry-After")) == 0 {
				t.Errorf("%s: %s got %d, want %d", name, from, r.StatusCode(), status)
			}
		}
		refused("192.0.2.1", fasthttp.StatusTooManyRequests)
		reads = append(reads, f.slow(path, "192.0.2.2"))
		storetest.Eventually(t, name+": another address is answered", under(3))
		refused("192.0.2.3", fasthttp.StatusServiceUnavailable)
		for _, read := range reads {
			read()
		}
		storetest.Eventually(t, name+": all are through", under(0))
		if r := f.ask("GET", path, "X-Forwarded-For", "192.0.2.1"); r.StatusCode() != 200 {
			t.Errorf("%s: got %d", name, r.StatusCode())
		}
	}
	// However an answer ends, it is counted no longer.
	for _, path := range []string{"/fragments?ids=" + list, "/fragments?ids=x", "/live/poll?watch=1:0:nosuch", "/fragments?ids=99:1:card"} {
		tag := string(f.ask("GET", path).Header.Peek("ETag"))
		f.ask("HEAD", path)
		f.ask("GET", path, "If-None-Match", tag)
		f.slow(path, "192.0.2.9")()
	}
	for range 2 {
		f.dial("/fragments?ids="+list, "192.0.2.9").Close()
	}
	storetest.Eventually(t, "all are through", under(0))
}
