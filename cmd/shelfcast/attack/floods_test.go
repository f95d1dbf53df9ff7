package attack

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// numbersUpTo returns a JSON list of many numbers, beginning with first.
func numbersUpTo(first, many int) string {
	var b strings.Builder
	for n := range many {
		fmt.Fprintf(&b, "%d,", first+n)
	}
	return "[" + strings.TrimSuffix(b.String(), ",") + "]"
}

// flood sends the same frame on several sessions, as often as it is accepted. reads:
// it reads the answers.
func flood(path string, sessions int, reads bool, frame func(t target) []byte) func(a *attacker) {
	return func(a *attacker) {
		bytes := frame(a.target)
		a.each(sessions, func(n int) {
			s := a.join(0, n, path, !reads)
			if s == nil {
				return
			}
			defer s.Close()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if reads {
					s.end()
				}
			}()
			s.flood(bytes, 1_000_000)
			switch {
			case a.over():
				s.Close()
			case !reads:
				a.note("cut")
			}
			<-ended
			if a.over() && !reads {
				a.note("open")
			}
		})
	}
}

func unwatches(t target) []byte { return text(`{"unwatch":` + numbersUpTo(1, 3000) + `}`) }
func unknown(t target) []byte   { return watches(t.Products+1000, 250, "card")[0] }
func known(t target) []byte     { return watches(large+1, 250, "card")[0] }
func applied(t target) []byte {
	return text(`{"applied":[` + strings.TrimSuffix(strings.Repeat(`{"id":1,"version":1},`, 700), ",") + `]}`)
}
func pings(target) []byte {
	return bytes.Repeat(ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(bytes.Repeat([]byte("p"), 125)))), 50)
}
func spoken(target) []byte { return bytes.Repeat(text(`{"ping":1}`), 50) }
func subscriptions(target) []byte {
	return bytes.Repeat(text(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`), 20)
}

// unknownIDs opens sessions that each watch the maximum of products, none of which
// exists.
func unknownIDs(a *attacker) {
	a.each(400, func(n int) {
		a.rest(time.Duration(n) * 5 * time.Millisecond) // to stay below the join rate
		s := a.join(0, n%100, "/live", false)
		if s == nil {
			return
		}
		defer s.Close()
		for _, frame := range watches(a.Products+1000+500*n, 500, "card") {
			if _, err := s.Write(frame); err != nil {
				break
			}
		}
		s.end()
	})
}

// handshakes opens sessions from one address as quickly as it can.
func handshakes(a *attacker) {
	bytes := handshake("/live", a.Public[0])
	a.each(40, func(n int) {
		for !a.over() {
			c, err := a.dial(a.Public[0], 0)
			if err != nil {
				a.note(failure(err))
				continue
			}
			if _, err = c.Write(bytes); err == nil {
				a.note(c.status())
			}
			c.Close()
		}
	})
}

// manySessions opens as many sessions as one address can.
func manySessions(a *attacker) {
	var open atomic.Int64
	a.each(50, func(n int) {
		for range 40 {
			if s := a.join(0, 0, "/live", false); s != nil {
				open.Add(1)
				defer s.Close()
			}
			if !a.rest(20 * time.Millisecond) {
				return
			}
		}
		<-a.ctx.Done()
	})
	if open.Load() > 1000 {
		a.wrong("one address has %d sessions", open.Load())
	}
	a.note(fmt.Sprintf("%d open", open.Load()))
}

// requests requests the paths that path returns, on keep-alive connections, from one
// address or each from its own.
func requests(connections int, oneAddress bool, most int,
	path func(t target, n int) string, headers ...string) func(a *attacker) {
	return requestsAs(connections, oneAddress, most,
		func(t target, n int) []byte { return get(path(t, n), t.Public[0], headers...) })
}

func requestsAs(connections int, oneAddress bool, most int, what func(t target, n int) []byte) func(a *attacker) {
	return func(a *attacker) {
		var asked atomic.Int64
		a.each(connections, func(n int) {
			from := n
			if oneAddress {
				from = 0
			}
			for !a.over() && asked.Load() < int64(most) {
				c, err := a.dial(a.Public[0], from)
				if err != nil {
					a.note(failure(err))
					return
				}
				for err == nil && !a.over() {
					next := int(asked.Add(1))
					if next > most {
						break
					}
					if _, err = c.Write(what(a.target, next)); err == nil {
						var status int
						if status, _, _, err = c.answer("GET"); err == nil {
							a.note(number(status))
						}
					}
				}
				c.Close()
			}
		})
	}
}

// word returns a word that nobody has searched for.
func word(n int) string { return fmt.Sprintf("w%08x", uint32(n)*2654435761) }

// searchWord searches for a vendor with a word that is in no list: such a search is
// cheap, so the database does not limit their number.
func searchWord(_ target, n int) string { return "/shop?vendor=" + word(n) }

// searchLamps makes searches for which no index can be used.
func searchLamps(_ target, n int) string {
	return "/shop?q=" + url.QueryEscape(fmt.Sprint("lamp ", word(n))) + "&sort=-price"
}

func poll(t target, n int) string { return fmt.Sprintf("/live/poll?watch=%d:0", t.Products+n) }
func missing(t target, n int) string {
	id := t.Products + 10 + n
	return []string{"/shop/products/", "/fragments/card/", "/fragments/detail/"}[n%3] + number(id)
}
func fromTheFuture(t target, n int) string {
	return fmt.Sprintf("/fragments/card/%d?v=%d", large+1+n%500, 9_000_000_000_000_000-n)
}
func inventedHost(t target, n int) []byte {
	path := []string{"/sitemaps/products-1.xml", "/sitemap.xml", "/shop", "/robots.txt"}[n%4]
	return get(path, fmt.Sprintf("evil-%d.example", n), "Accept-Encoding: gzip")
}
func syncs(t target, n int) []byte {
	return request("POST", "/product/tree/sync", t.Public[0],
		fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"params":{"product_id":%d}}`, t.Products+10+n), asJSON)
}

// floodFuture requests versions from the future: none may be cached for ever.
func floodFuture(a *attacker) {
	requests(20, false, 100_000, fromTheFuture)(a)
	if c, err := a.dial(a.Public[0], 0); err == nil {
		defer c.Close()
		end := time.Now().Add(5 * time.Second)
		c.SetDeadline(end)
		c.Write(get(fromTheFuture(a.target, 1), a.Public[0]))
		if _, header, _, err := c.answer("GET"); err == nil && strings.Contains(header.Get("Cache-Control"), "immutable") {
			a.wrong("a version from the future may be cached for ever")
		}
	}
}

// guesses tries tokens from one address, first one by one, then concurrently, and at
// last the right one, which must then be indistinguishable from a wrong one.
func guesses(a *attacker) {
	guess := func(token string) []byte {
		return get("/api/v1/caller", a.Admin[0], bearer(token))
	}
	a.each(200, func(n int) { // at once
		a.ask(a.Admin[0], 1, "GET", guess(fmt.Sprintf("at once %06d", n)))
	})
	// 30 a minute are allowed, and 30 more by an instance whose Redis is slow.
	if got := a.met("401"); got > 65 {
		a.wrong("of 200 guesses at once %d were looked at", got)
	}
	c, err := a.dial(a.Admin[0], 2)
	if err != nil {
		a.wrong("%v", err)
		return
	}
	defer c.Close()
	for n := range 3000 {
		status := 0
		if _, err = c.Write(guess(fmt.Sprintf("a guess %06d", n))); err == nil {
			status, _, _, err = c.answer("GET")
		}
		if err != nil {
			a.note(failure(err))
			break
		}
		a.note(number(status))
	}
	if status, _, _ := a.ask(a.Admin[0], 2, "GET", guess(a.Root)); status != 429 {
		a.wrong("after 3,000 guesses the right token is answered %d", status)
	}
}

// changes waits for changes with one token as often as it can; another token must
// still be served.
func changes(a *attacker) {
	ask := func(token, wait string) []byte {
		return get("/api/v1/changes?wait="+wait, a.Admin[0], bearer(token))
	}
	var waiting atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.each(260, func(n int) {
			c, err := a.dial(a.Admin[0], n%50)
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(get("/api/v1/changes", a.Admin[0], bearer(a.Reader), "Accept: text/event-stream"))
			a.note("for one: " + c.status())
			waiting.Add(1)
			<-a.ctx.Done()
		})
	}()
	for waiting.Load() < 260 && a.rest(50*time.Millisecond) {
	}
	if status, _, body := a.ask(a.Admin[0], 60, "GET", ask(a.Writer, "0")); status != 200 {
		a.wrong("while one token waits for changes as often as it can, another is answered %d %.200s", status, body)
	}
	<-done
}
