package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/realtime"
	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A first message sent together with the handshake is processed, even if the server
// reads both at once.
func TestFramesSentWithHandshakeAreRead(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, sofa := f.product(t, "lamp"), f.product(t, "sofa")
	for n, p := range []store.Product{lamp, sofa} {
		conn, err := net.Dial("tcp", f.instances[n].PublicAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		watch := fmt.Sprintf(`{"watch":[{"id":%d,"version":0,"view":"card"}]}`, p.ID)
		request := "GET /live HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
			"Sec-WebSocket-Protocol: " + realtime.Subprotocol + "\r\n\r\n"
		early := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(watch))))
		if _, err := conn.Write(append([]byte(request), early...)); err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(conn)
		answer, err := http.ReadResponse(r, nil)
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(answer, err)
		}
		got, err := ws.ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(got.Payload); !strings.Contains(text, fmt.Sprintf(`{"id":%d,"version":%d,`, p.ID, p.Version)) {
			t.Errorf("got %s", text)
		}
	}
}

// upgradeHeaders are those of a WebSocket handshake.
var upgradeHeaders = http.Header{
	"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
	"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
}

// Sessions above the limit, or above the join rate, are refused before the upgrade
// with Retry-After.
func TestSessionLimitRefusesBeforeUpgrade(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.MaxSessions, s.JoinRate = 2, 1 })
	refused := func(n int) string {
		status, headers, body := call(t, "GET", f.public(n, "/live"), "", upgradeHeaders)
		if status != http.StatusServiceUnavailable || headers.Get("Retry-After") == "" {
			t.Errorf("%d %v", status, headers)
		}
		return body
	}
	f.shopper(t, 0, "").settled()
	if body := refused(0); !strings.Contains(body, "too-many-new-sessions") {
		t.Errorf("got %s", body)
	}
	testkit.Eventually(t, "the next second has room", func() bool {
		s, err := dial(t, ws.Dialer{}, strings.Replace(f.public(0, "/live"), "http", "ws", 1))
		if err == nil {
			s.settled() // a session counts from its adoption, after the answer
		}
		return err == nil
	})
	if body := refused(0); !strings.Contains(body, "problem:full") {
		t.Errorf("got %s", body)
	}
	if n := f.counter(t, "shelfcast_sessions_refused_total"); n < 2 {
		t.Errorf("%v were counted", n)
	}
	f.shopper(t, 1, "").settled() // the other instance has room
}

// A page whose instance stops moves to another one, and misses none of the edits made
// meanwhile.
func TestPageMissesNothingBetweenInstances(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Drain = 2 * time.Second })
	lamp, sofa := f.product(t, "lamp"), f.product(t, "sofa")
	all := []store.Product{lamp, sofa}
	type page struct {
		s     *shopper
		shown map[int64]int64
		moved int
	}
	var pages []*page
	for range 6 {
		p := &page{s: f.shopper(t, 0, ""), shown: map[int64]int64{lamp.ID: lamp.Version, sofa.ID: sofa.Version}}
		p.s.watch("card", lamp.Rev, sofa.Rev)
		p.s.settled()
		pages = append(pages, p)
	}
	stop := make(chan struct{})
	edited := make(chan struct{})
	go func() {
		defer close(edited)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			i := n % len(all)
			all[i] = f.edit(t, 1, all[i].Rev, fmt.Sprintf(`{"stock":%d}`, n%50+1))
		}
	}()
	go f.stop[0]()
	for _, p := range pages {
		for p.moved == 0 { // until the instance closes it
			p.s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := p.s.conn.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch got.Header.OpCode {
			case ws.OpClose:
				if code, _ := ws.ParseCloseFrameData(got.Payload); code != 1012 {
					t.Errorf("closed with %d", code)
				}
				p.s.conn.Close()
				p.moved++
			case ws.OpText:
				for _, r := range parse[frame](t, string(got.Payload)).Fragments {
					p.shown[r.ID] = r.Version
				}
			}
		}
	}
	close(stop)
	<-edited
	for _, p := range pages {
		p.s = f.shopper(t, 1, "")
		p.s.watch("card", store.Rev{ID: lamp.ID, Version: p.shown[lamp.ID]},
			store.Rev{ID: sofa.ID, Version: p.shown[sofa.ID]})
		for p.shown[lamp.ID] != all[0].Version || p.shown[sofa.ID] != all[1].Version {
			for _, r := range p.s.next().Fragments {
				if r.Version <= p.shown[r.ID] {
					t.Errorf("%d went from %d to %d", r.ID, p.shown[r.ID], r.Version)
				}
				p.shown[r.ID] = r.Version
			}
		}
	}
	if !slices.ContainsFunc(pages, func(p *page) bool { return p.shown[lamp.ID] > lamp.Version }) {
		t.Error("nothing was edited meanwhile")
	}
}

// One address cannot use up all sessions, whatever headers it sends; clients behind a
// trusted proxy are counted separately.
func TestSessionsPerAddressAreLimited(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) {
		s.MaxPerAddress, s.TrustedProxies = 2, []string{"127.0.0.0/8", "10.0.0.9"}
	})
	knock := func(n int, forwarded string) (status int, leave func()) {
		t.Helper()
		request, err := http.NewRequest("GET", f.public(n, "/live"), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}
		if forwarded != "" {
			request.Header["X-Forwarded-For"] = strings.Split(forwarded, "\n") // one header for each line
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
			t.Error("refused without Retry-After")
		}
		return response.StatusCode, func() { response.Body.Close() }
	}
	const fine, refused = http.StatusSwitchingProtocols, http.StatusTooManyRequests
	var leave func()
	for i, c := range []struct {
		forwarded string
		status    int
	}{
		{"203.0.113.7", fine}, {"203.0.113.7, 10.0.0.9", fine},
		{"203.0.113.7", refused}, {"1.2.3.4, 203.0.113.7", refused}, {"203.0.113.8, nonsense, 203.0.113.7", refused},
		{"1.2.3.4\n203.0.113.7", refused}, {"1.2.3.4\n5.6.7.8, 203.0.113.7\n10.0.0.9", refused},
		{"::ffff:203.0.113.7", refused}, {"203.0.113.8", fine}, {"203.0.113.7, 203.0.113.9", fine},
		{"2001:db8:1:1::1", fine}, {"2001:db8:1:1:ffff::2", fine}, {"2001:db8:1:1::3", refused}, {"2001:db8:1:2::1", fine},
		{"", fine}, {"nonsense", fine}, {"", refused}, // the proxy itself
	} {
		before := f.instances[0].Sessions()
		status, left := knock(0, c.forwarded)
		if status != c.status {
			t.Errorf("%d, %q: %d, want %d", i, c.forwarded, status, c.status)
		}
		if status == fine {
			testkit.Eventually(t, "the session is there", func() bool { return f.instances[0].Sessions() == before+1 })
		}
		if i == 0 {
			leave = left
		}
	}
	if status, _ := knock(1, "203.0.113.7"); status != fine {
		t.Errorf("the other instance: %d", status)
	}
	if n := f.counter(t, "shelfcast_sessions_refused_total", "address_full"); n != 8 {
		t.Errorf("%v were counted, want 8", n)
	}
	before := f.instances[0].Sessions()
	leave()
	testkit.Eventually(t, "the session has ended", func() bool { return f.instances[0].Sessions() < before })
	if status, _ := knock(0, "203.0.113.7"); status != fine {
		t.Errorf("after one has left: %d", status)
	}

	strict := startFleet(t, func(s *server.Settings) { s.MaxPerAddress = 2 })
	f = strict
	for i, status := range []int{fine, fine, refused} {
		before := f.instances[0].Sessions()
		got, _ := knock(0, fmt.Sprintf("203.0.113.%d", i))
		if got != status {
			t.Errorf("without trust in a proxy, %d: %d, want %d", i, got, status)
		}
		if got == fine {
			testkit.Eventually(t, "the session is there", func() bool { return f.instances[0].Sessions() == before+1 })
		}
	}
}
