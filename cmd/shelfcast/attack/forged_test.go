package attack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// forged claims another host, address or protocol: no answer that may be served to
// others may repeat it.
func forged(a *attacker) {
	headers := []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Host: evil.example:80", "X-Forwarded-For: 10.6.6.6",
		"X-Forwarded-Proto: evil", "X-Forwarded-Server: evil.example",
		"X-Original-Host: evil.example", "X-Host: evil.example", "Forwarded: host=evil.example;proto=evil;for=10.6.6.6",
		"X-Real-IP: 10.6.6.6", "X-Original-URL: /evil", "X-Rewrite-URL: /evil",
	}
	all := routes()
	for n := range 2 * len(all) {
		r := all[n/2]
		if r.method != "GET" || r.path == "/live/sse" {
			continue
		}
		host := r.at(a.target, n%2)
		for _, one := range []string{host, "evil.example"} {
			lines := append([]string{"Connection: close", bearer(a.Reader)}, headers...)
			status, header, body := a.ask(host, n%50, "GET", get(r.path, one, lines...))
			whole := fmt.Sprint(header, string(body))
			if status < 400 && strings.Contains(whole, "evil") {
				a.wrong("%s with Host: %s: the answer names it: …%s", r.path, one, around(whole, "evil"))
			}
			if r.admin && one != host && status != 0 && status < 400 {
				a.wrong("%s of the admin app answers a page of another host: %d", r.path, status)
			}
		}
	}
}

func around(text, what string) string {
	at := strings.Index(text, what)
	return text[max(at-40, 0):min(at+40, len(text))]
}

// scopes tries each operation that changes something with a read-only token.
func scopes(a *attacker) {
	for n, r := range routes() {
		if !r.admin || r.method == "GET" || !strings.HasPrefix(r.path, "/api/") {
			continue
		}
		for _, token := range []string{a.Reader, a.Writer} {
			if token == a.Writer && !strings.Contains(r.path, "/tokens") {
				continue
			}
			body := []byte(`{"name":"x","scopes":["tokens:admin"],"ids":[1],"stock":1}`)
			status, _, answer := a.ask(a.Admin[0], n%50, r.method,
				request(r.method, r.path, a.Admin[0], body, bearer(token), asJSON, `If-Match: "1"`, "Connection: close"))
			if status != http.StatusForbidden {
				a.wrong("%s %s with a token without the scope is answered %d %.80q", r.method, r.path, status, answer)
			}
		}
	}
}

// drafts requests a product that was never published and one that does not exist: the
// answers must be the same.
func drafts(a *attacker) {
	asked := func(id int64) (answers []string) {
		requests := map[string][]byte{}
		for _, path := range []string{"/shop/products/%d", "/fragments/card/%d", "/fragments/detail/%d?v=1",
			"/fragments?ids=%d:0:card", "/live/poll?watch=%d:0:card", "/live/poll?mode=notify&watch=%d:1:card"} {
			requests[path] = get(fmt.Sprintf(path, id), a.Public[0], "Connection: close")
		}
		requests["sync"] = request("POST", "/product/tree/sync", a.Public[0],
			fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"params":{"product_id":%d}}`, id), asJSON, "Connection: close")
		for path, r := range requests {
			status, _, body := a.ask(a.Public[0], 0, "GET", r)
			answers = append(answers,
				fmt.Sprintf("%s: %d %s", path, status, strings.ReplaceAll(string(body), number(int(id)), "ID")))
		}
		return append(answers, "watch: "+a.watched(id))
	}
	known := map[string]bool{}
	for _, answer := range asked(a.Draft + 100_000) {
		known[answer] = true
	}
	for _, answer := range asked(a.Draft) {
		if !known[answer] {
			a.wrong("of a product that was never published: %.300s", answer)
		}
	}
}

// watched returns the first message of a session that watches that product.
func (a *attacker) watched(id int64) string {
	s := a.join(0, 1, "/live", false)
	if s == nil {
		return "refused"
	}
	defer s.Close()
	s.Write(text(fmt.Sprintf(`{"watch":[{"id":%d,"version":0,"view":"card"}]}`, id)))
	s.SetReadDeadline(time.Now().Add(3 * time.Second))
	frame, err := ws.ReadFrame(s.r)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(frame.Payload), fmt.Sprint(id), "ID")
}

// lastIDs claims, on Odoo's bus, to have received notifications from the future.
// Another visitor, who reconnects with the last id received, must still be told of
// what has changed meanwhile.
func lastIDs(a *attacker) {
	victim, liar := a.follow(0, 1, 0), a.follow(0, 2, time.Now().Add(50*time.Second).UnixMicro())
	if victim == nil || liar == nil {
		a.wrong("a visitor was refused")
		return
	}
	defer liar.Close()
	for _, last := range []int64{1<<53 - 1, 1<<63 - 1} {
		liar.Write(subscribe(last))
	}
	a.rest(200 * time.Millisecond)
	a.refresh(large + 10)
	last := victim.told(large + 10)
	victim.Close()
	if last == 0 {
		a.wrong("a visitor was not told of a change")
		return
	}
	a.rest(time.Second)
	a.refresh(large + 11)
	a.rest(16 * time.Second) // longer than what is replayed to everyone
	victim = a.follow(1, 1, last)
	if victim == nil || victim.told(large+11) == 0 {
		a.wrong("a visitor was not told of a change that was made while he was away, as " +
			"another says that he has had what is yet to come")
		return
	}
	a.note("told")
	victim.Close()
}

func subscribe(last int64) []byte {
	return text(fmt.Sprintf(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":%d}}`, last))
}

// follow opens a session of Odoo's bus that follows the products.
func (a *attacker) follow(instance, from int, last int64) *socket {
	s := a.join(instance, from, "/websocket", false)
	if s != nil {
		s.Write(subscribe(last))
	}
	return s
}

// told waits for the notification of that product, and returns its id; 0 if none
// arrives.
func (s *socket) told(product int64) int64 {
	s.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		frame, err := ws.ReadFrame(s.r)
		if err != nil {
			return 0
		}
		var news []struct {
			ID      int64
			Message struct {
				Payload struct {
					Product int64 `json:"product_tmpl_id"`
				}
			}
		}
		if frame.Header.OpCode != ws.OpText || json.Unmarshal(frame.Payload, &news) != nil {
			continue
		}
		for _, n := range news {
			if n.Message.Payload.Product == product {
				return n.ID
			}
		}
	}
}

// refresh gives a product a new version.
func (a *attacker) refresh(id int64) {
	body := fmt.Appendf(nil, `{"ids":[%d]}`, id)
	status, _, answer := a.ask(a.Admin[0], 3, "POST",
		request("POST", "/api/v1/products:refresh", a.Admin[0], body, bearer(a.Writer), asJSON, "Connection: close"))
	if status != http.StatusOK {
		a.wrong("an edit is answered %d %s", status, answer)
	}
}

// detours are ways around a load balancer's rule for a path, and handshakes and close
// frames that RFC 6455 forbids.
func detours(a *attacker) {
	for i, host := range []string{a.Public[0], a.Admin[0]} {
		for _, path := range []string{"/readyz", "/livez", "/metrics", "/admin", "/api/openapi.json"} {
			for _, other := range []string{path + "/", "/" + strings.ToUpper(path[1:2]) + path[2:], strings.ToUpper(path),
				"/" + path, "/." + path, path + "%2f", path + "/."} {
				if status, _, _ := a.ask(host, i, "GET", get(other, host, "Connection: close")); status == 200 {
					a.wrong("%s of app %d is answered like %s", other, i, path)
				}
			}
		}
	}
	for _, path := range []string{"/live", "/websocket"} {
		good := string(handshake(path, a.Public[0]))
		for name, bad := range map[string]string{
			"a short key": strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 1),
			"HTTP/1.0":    strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1),
		} {
			if c, err := a.dial(a.Public[0], 5); err == nil {
				c.Write([]byte(bad))
				c.SetReadDeadline(time.Now().Add(2 * time.Second))
				if status := c.status(); status == "101" {
					a.wrong("%s: a handshake with %s is taken", path, name)
				}
				c.Close()
			}
		}
		for _, code := range []ws.StatusCode{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
			s := a.join(0, 6, path, false)
			if s == nil {
				continue
			}
			s.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, "")))))
			s.SetReadDeadline(time.Now().Add(2 * time.Second))
			if got := s.end(); got == int(code) && code != 0 {
				a.wrong("%s: the close code %d is echoed", path, code)
			}
			s.Close()
		}
	}
}
