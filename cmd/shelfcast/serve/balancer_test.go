package serve_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// behind tests three instances behind each of the load balancers of deploy/. Each
// instance has a shop of another name.
func behind(t *testing.T, config fleettest.Config, change func(*serve.Settings), test func(*testing.T, *fleet, *fleettest.Balancer)) {
	for name, start := range map[string]func(testing.TB, fleettest.Config) *fleettest.Balancer{"haproxy": fleettest.HAProxy, "nginx": fleettest.Nginx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			f := startFleetOf(t, 3, storetest.DSN(t), serve.Options{Log: slog.New(slog.DiscardHandler)}, func(s *serve.Settings) {
				n++
				s.ShopName, s.TrustedProxies = fmt.Sprint("Shop ", n), []string{"127.0.0.1"}
				if change != nil {
					change(s)
				}
			})
			config := config // each has its own
			config.Tiers = f.tiers()
			test(t, f, start(t, config))
		})
	}
}

func (f *fleet) tiers() (all []string) {
	for _, i := range f.instances {
		all = append(all, i.PublicAddr())
	}
	return all
}

// shares are the sessions of each instance.
func (f *fleet) shares() (all []int) {
	for _, i := range f.instances {
		all = append(all, i.Sessions())
	}
	return all
}

// even: each has as many as the others, or one more.
func even(counts []int) bool { return slices.Max(counts)-slices.Min(counts) <= 1 }

// shoppersAt are so many that watch the cards of these.
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

// One visitor's connections and requests go to each instance in turn, and each
// connection hears of edits on any of them.
func TestEachInstanceHasItsShare(t *testing.T) {
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
			status, headers, page := call(t, "GET", "http://"+b.Addr+"/shop", "", http.Header{"Cookie": {"session_id=5f2c; tz=Europe/Berlin"}})
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
		for _, s := range streams { // it is open: what comes is not held back
			for shown := map[store.Rev]bool{}; !shown[lamp.Rev] || !shown[mug.Rev]; {
				for _, f := range parse[frame](t, s.event()).Fragments {
					shown[f.Rev] = true
				}
			}
		}
	})
}

// Sessions that have nothing to say are cut by no time-out of the load balancer's,
// because the instance asks for a sign of life before that. Here all of it is
// short; that the time-outs of the files are long enough for the default of
// --ping is the next test's.
func TestASilentSessionLives(t *testing.T) {
	t.Parallel()
	const silence = 3 * time.Second
	behind(t, fleettest.Config{Idle: silence}, func(s *serve.Settings) { s.Ping = time.Second }, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		outlived := time.Now().Add(2 * silence)
		s := shopperAt(t, b.Addr, "")
		s.watch("card", lamp.Rev, mug.Rev)
		stream := listenAt(t, "http://"+b.Addr+"/live/sse?watch="+inURL("card", lamp.Rev, mug.Rev))
		for time.Now().Before(outlived) {
			s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := ws.ReadFrame(s.conn)
			if err != nil || got.Header.OpCode != ws.OpPing {
				t.Fatalf("%v %q, %v", got.Header, got.Payload, err)
			}
			if err := wsutil.WriteClientMessage(s.conn, ws.OpPong, got.Payload); err != nil {
				t.Fatal(err)
			}
			if got := stream.event(); got != "{}" {
				t.Errorf("the stream says %s", got)
			}
		}
		lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
		for shown := false; !shown; {
			got, err := ws.ReadFrame(s.conn)
			if err != nil {
				t.Fatal(err)
			}
			shown = strings.Contains(string(got.Payload), fmt.Sprint(lamp.Version))
		}
		for !strings.Contains(stream.event(), fmt.Sprint(lamp.Version)) {
		}
	})
}

// An instance that is told to end is out before it closes a session; nobody who
// comes meanwhile is refused, and its sessions are closed as planned.
func TestAnInstanceThatEndsIsOutBefore(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{Check: 50 * time.Millisecond}, func(s *serve.Settings) { s.Drain = 4 * time.Second }, func(t *testing.T, f *fleet, b *fleettest.Balancer) {
		lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
		shoppers := shoppersAt(t, b, 9, lamp.Rev, mug.Rev)
		if counts := f.shares(); !even(counts) {
			t.Fatalf("sessions: %v", counts)
		}
		first := &fleet{instances: f.instances[:1]}
		over := make(chan struct{})
		go func() { defer close(over); f.stop[0]() }()
		if b.HasChecks() {
			storetest.Eventually(t, "it is out", func() bool { return b.States(t)[0] == "DOWN" })
			if n := f.instances[0].Sessions(); n != 3 {
				t.Errorf("it has %d sessions when it is out: some are closed already", n)
			}
		}
		opened := first.counter(t, "shelfcast_sessions_opened_total")
		for { // all the while
			s := shopperAt(t, b.Addr, "")
			s.watch("card", lamp.Rev)
			if status, _, body := call(t, "GET", "http://"+b.Addr+"/shop", "", nil); status != http.StatusOK {
				t.Errorf("a page: %d %s", status, body)
			}
			s.conn.Close()
			select {
			case <-over:
			case <-time.After(50 * time.Millisecond): // visitors come when they come
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
			switch got, err := ws.ReadFrame(s.conn); {
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

// An instance that is full is out, and nobody is refused; when it has room it is
// back, after it has said so for a while.
func TestAFullInstanceIsOutUntilItHasRoom(t *testing.T) {
	t.Parallel()
	full := func(s *serve.Settings) {
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
		if b.HasChecks() {
			storetest.Eventually(t, "it is out", func() bool { return b.States(t)[0] == "DOWN" })
		}
		for range 6 {
			come()
		}
		if counts := f.shares(); counts[0] != 1 || counts[1]+counts[2] != 8 || min(counts[1], counts[2]) < 3 {
			t.Errorf("sessions: %v", counts)
		}
		for _, s := range shoppers {
			s.conn.Close()
		}
		if b.HasChecks() {
			storetest.Eventually(t, "it has said once that it is ready", func() bool { return b.States(t)[0] == "DOWN 1/3" })
			storetest.Eventually(t, "it is back", func() bool { return b.States(t)[0] == "UP" })
		}
		storetest.Eventually(t, "a session comes to it", func() bool {
			come()
			return f.instances[0].Sessions() == 1
		})
	})
}

// Who is refused by an instance that has had all that it lets in in a second
// does not see it: another one has room.
func TestARefusalIsAskedElsewhere(t *testing.T) {
	t.Parallel()
	behind(t, fleettest.Config{}, func(s *serve.Settings) {
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
