package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// behind runs a test with three instances behind each of the load balancers of
// deploy/. Each instance has another shop name.
func behind(t *testing.T, config fleettest.Config, change func(*server.Settings),
	test func(*testing.T, *fleet, *fleettest.Balancer)) {
	for name, start := range map[string]func(testing.TB, fleettest.Config) *fleettest.Balancer{
		"haproxy": fleettest.HAProxy, "nginx": fleettest.Nginx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			options := server.Options{Log: slog.New(slog.DiscardHandler)}
			f := startFleetOf(t, 3, testkit.DSN(t), options, func(s *server.Settings) {
				n++
				s.ShopName, s.TrustedProxies = fmt.Sprint("Shop ", n), []string{"127.0.0.1"}
				if change != nil {
					change(s)
				}
			})
			config := config // a copy for each
			config.Instances = f.publicAddresses()
			test(t, f, start(t, config))
		})
	}
}

func (f *fleet) publicAddresses() (all []string) {
	for _, i := range f.instances {
		all = append(all, i.PublicAddr())
	}
	return all
}

// shares returns the number of sessions of each instance.
func (f *fleet) shares() (all []int) {
	for _, i := range f.instances {
		all = append(all, i.Sessions())
	}
	return all
}

// even reports whether the numbers differ by at most one.
func even(counts []int) bool { return slices.Max(counts)-slices.Min(counts) <= 1 }

// shoppersAt opens sessions that watch the cards of these products.
func shoppersAt(t *testing.T, b *fleettest.Balancer, many int, revs ...store.Rev) (all []*shopper) {
	t.Helper()
	for range many {
		s := shopperAt(t, b.Addr, "")
		s.watch("card", revs...)
		s.settled()
		all = append(all, s)
	}
	return all
}

// The connections and requests of one visitor go to the instances in turn, and each
// connection receives edits of any of them.
func TestLoadBalancerSpreadsSessions(t *testing.T) {
	t.Parallel()
	t.Run("as it is", func(t *testing.T) { eachHasItsShare(t, fleettest.Config{}) })
	t.Run("round robin", func(t *testing.T) { eachHasItsShare(t, fleettest.Config{RoundRobin: true}) })
}

func eachHasItsShare(t *testing.T, config fleettest.Config) {
	behind(t, config, nil, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		shoppers := shoppersAt(t, b, 12, lamp.Rev, mug.Rev)
		if counts := f.shares(); !even(counts) {
			t.Errorf("sessions: %v", counts)
		}
		var streams []*listener
		for range 6 {
			streams = append(streams, listenAt(t, "http://"+b.Addr+"/live/sse?watch="+inURL("card", lamp.Rev, mug.Rev)))
		}
		if counts := f.shares(); !even(counts) || slices.Max(counts) != 6 {
			t.Errorf("with streams: %v", counts)
		}
		asked := make([]int, len(f.instances))
		for range 12 {
			status, headers, page := call(t, "GET", "http://"+b.Addr+"/shop", "",
				http.Header{"Cookie": {"session_id=5f2c; tz=Europe/Berlin"}})
			if cookies := headers.Values("Set-Cookie"); status != http.StatusOK || len(cookies) > 0 {
				t.Errorf("%d, cookies %q", status, cookies)
			}
			for n := range asked {
				if strings.Contains(page, fmt.Sprint("Shop ", n+1)) {
					asked[n]++
				}
			}
		}
		if !even(asked) || slices.Max(asked) != 4 {
			t.Errorf("pages: %v", asked)
		}
		lamp = f.edit(t, 0, lamp.Rev, `{"price":"17.50"}`)
		mug = f.edit(t, 2, mug.Rev, `{"price":"18.50"}`)
		for _, s := range shoppers {
			for shown := map[store.Rev]bool{}; !shown[lamp.Rev] || !shown[mug.Rev]; {
				for _, f := range s.next().Fragments {
					shown[f.Rev] = true
				}
			}
		}
		for _, s := range streams { // the stream is not buffered
			for shown := map[store.Rev]bool{}; !shown[lamp.Rev] || !shown[mug.Rev]; {
				for _, f := range parse[frame](t, s.event()).Fragments {
					shown[f.Rev] = true
				}
			}
		}
	})
}

// The load balancer's timeouts do not cut idle sessions, because the instance pings
// before. Here all times are short; that the timeouts in the files are long enough for
// the default ping-interval interval is the next test.
func TestIdleSessionOutlivesProxyTimeout(t *testing.T) {
	t.Parallel()
	const silence = 3 * time.Second
	ping := func(s *server.Settings) { s.Ping = time.Second }
	behind(t, fleettest.Config{Idle: silence}, ping, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		outlived := time.Now().Add(2 * silence)
		s := shopperAt(t, b.Addr, "")
		s.watch("card", lamp.Rev, mug.Rev)
		stream := listenAt(t, "http://"+b.Addr+"/live/sse?watch="+inURL("card", lamp.Rev, mug.Rev))
		for time.Now().Before(outlived) {
			s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := s.conn.ReadFrame()
			if err != nil || got.Header.OpCode != ws.OpPing {
				t.Fatalf("%v %q, %v", got.Header, got.Payload, err)
			}
			if err := s.conn.WriteFrame(ws.NewPongFrame(got.Payload)); err != nil {
				t.Fatal(err)
			}
			if got := stream.event(); got != "{}" {
				t.Errorf("the stream says %s", got)
			}
		}
		lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
		for shown := false; !shown; {
			got, err := s.conn.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			shown = strings.Contains(string(got.Payload), fmt.Sprint(lamp.Version))
		}
		for !strings.Contains(stream.event(), fmt.Sprint(lamp.Version)) {
		}
	})
}

// A stopping instance is out of the load balancer before it closes a session: no
// visitor is refused meanwhile, and its sessions are closed as planned.
func TestStoppingInstanceLeavesLoadBalancerFirst(t *testing.T) {
	t.Parallel()
	check, drain := fleettest.Config{Check: 50 * time.Millisecond}, func(s *server.Settings) { s.Drain = 4 * time.Second }
	behind(t, check, drain, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		shoppers := shoppersAt(t, b, 9, lamp.Rev, mug.Rev)
		if counts := f.shares(); !even(counts) {
			t.Fatalf("sessions: %v", counts)
		}
		first := &fleet{instances: f.instances[:1]}
		over := make(chan struct{})
		go func() { defer close(over); f.stop[0]() }()
		if b.HasChecks() {
			testkit.Eventually(t, "it is out", func() bool { return b.States(t)[0] == "DOWN" })
			if n := f.instances[0].Sessions(); n != 3 {
				t.Errorf("it has %d sessions when it is out: some are closed already", n)
			}
		}
		opened := first.counter(t, "shelfcast_sessions_opened_total")
		for { // meanwhile
			s := shopperAt(t, b.Addr, "")
			s.watch("card", lamp.Rev)
			if status, _, body := call(t, "GET", "http://"+b.Addr+"/shop", "", nil); status != http.StatusOK {
				t.Errorf("a page: %d %s", status, body)
			}
			s.conn.Close()
			select {
			case <-over:
			case <-time.After(50 * time.Millisecond): // between two visitors
				continue
			}
			break
		}
		if n := first.counter(t, "shelfcast_sessions_opened_total"); n != opened && b.HasChecks() {
			t.Errorf("%v sessions have come to it since it is out", n-opened)
		}
		mug = f.edit(t, 1, mug.Rev, `{"price":"17.50"}`)
		closed := 0
		for _, s := range shoppers {
			s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			switch got, err := s.conn.ReadFrame(); {
			case err != nil:
				t.Error(err)
			case got.Header.OpCode == ws.OpText:
				if shown := parse[frame](t, string(got.Payload)).Fragments; len(shown) != 1 || shown[0].Rev != mug.Rev {
					t.Errorf("shown %v", shown)
				}
			case got.Header.OpCode == ws.OpClose:
				closed++
				if code, _ := ws.ParseCloseFrameData(got.Payload); code != 1012 {
					t.Errorf("closed with %d", code)
				}
			}
		}
		if closed != 3 {
			t.Errorf("%d were closed, want 3", closed)
		}
	})
}

// A full instance stays in and serves pages; handshakes that it refuses go to another
// one, and it gets sessions again when it has room.
func TestFullInstanceServesPages(t *testing.T) {
	t.Parallel()
	full := func(s *server.Settings) {
		if s.ShopName == "Shop 1" {
			s.MaxSessions = 1
		}
	}
	behind(t, fleettest.Config{Check: 200 * time.Millisecond}, full, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		var shoppers []*shopper
		come := func() {
			t.Helper()
			s := shopperAt(t, b.Addr, "")
			s.settled()
			shoppers = append(shoppers, s)
		}
		for range 3 {
			come()
		}
		for range 6 {
			come()
		}
		if status, _, page := call(t, "GET", f.public(0, "/shop"), "", nil); status != http.StatusOK ||
			!strings.Contains(page, "Shop 1") {
			t.Errorf("its pages: %d", status)
		}
		seen := false
		for range 6 {
			_, _, page := call(t, "GET", "http://"+b.Addr+"/shop", "", nil)
			seen = seen || strings.Contains(page, "Shop 1")
		}
		if !seen {
			t.Error("it is asked for no pages")
		}
		if counts := f.shares(); counts[0] != 1 || counts[1]+counts[2] != 8 || min(counts[1], counts[2]) < 3 {
			t.Errorf("sessions: %v", counts)
		}
		for _, s := range shoppers {
			s.conn.Close()
		}
		testkit.Eventually(t, "a session comes to it", func() bool {
			come()
			return f.instances[0].Sessions() == 1
		})
	})
}

// A handshake that an instance refuses for its join rate is retried on another one,
// without the visitor noticing.
func TestLoadBalancerRetriesRefusedHandshake(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{}, func(s *server.Settings) {
		if s.ShopName == "Shop 1" {
			s.JoinRate = 1
		}
	}, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		for range 30 {
			shopperAt(t, b.Addr, "")
		}
		if n := f.counter(t, "shelfcast_sessions_refused_total", "rate"); n == 0 {
			t.Error("nobody was refused")
		}
	})
}
