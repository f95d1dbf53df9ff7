package realtime

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// only returns the session of a hub that has one.
func (h *Hub) only(t *testing.T) (s *session) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table.all(func(one *session) { s = one })
	if s == nil || h.table.used != 1 {
		t.Fatalf("%d sessions", h.table.used)
	}
	return s
}

// unread returns how much waits for a session, and whether it has been closed for it.
func (s *session) unread() (bytes int, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil {
		bytes = len(s.out.control) + len(s.out.pong) + len(s.out.echo)
	}
	return bytes, s.closing || s.closed
}

// However it is put there, what waits for a session that does not read has a bound, and over it the session is closed
// with 1008. What a browser has said itself is not said to it at length.
func TestOutboxIsBounded(t *testing.T) {
	long := &refusal{Code: "unknown_view", Message: strings.Repeat("\x00ÿ", 1<<16)}
	for name, say := range map[string]func(s *session, w *scratch){
		"errors":  func(s *session, w *scratch) { s.refuse(w, long) },
		"control": func(s *session, w *scratch) { s.send(w, controlLane, make([]byte, 1000)) },
		"pongs":   func(s *session, w *scratch) { s.send(w, pongLane, make([]byte, outboxBytes+1)) },
		"echoes":  func(s *session, w *scratch) { s.send(w, echoLane, make([]byte, outboxBytes+1)) },
		"the last word": func(s *session, w *scratch) {
			s.send(w, controlLane, make([]byte, 1000))
			s.send(w, pongLane, make([]byte, outboxBytes-500))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHub(newShop(), Config{})
			s := &session{hub: h, blocked: true, conn: &stone{}}
			h.withScratch(func(w *scratch) {
				for range 1000 {
					say(s, w)
					if n, _ := s.unread(); n > outboxBytes {
						t.Fatalf("%d bytes are queued", n)
					}
				}
			})
			if _, closing := s.unread(); !closing {
				t.Fatal("the session is not closed")
			}
			if !bytes.HasSuffix(s.out.control, s.speaks().end(ws.StatusPolicyViolation, "unread")) {
				t.Errorf("closed with %q", s.out.control[max(len(s.out.control)-20, 0):])
			}
		})
	}
	t.Run("what is said last", func(t *testing.T) {
		h := NewHub(newShop(), Config{})
		s := &session{hub: h, blocked: true, conn: &stone{}}
		h.withScratch(func(w *scratch) {
			s.send(w, controlLane, make([]byte, outboxBytes))
			s.sendLast(w, refusedInput, s.speaks().end(ws.StatusPolicyViolation, "enough"))
		})
		if n, closing := s.unread(); n > outboxBytes || !closing {
			t.Errorf("%d bytes are queued", n)
		}
	})
}

// Each unknown product is told once, and of none there is a topic. One that exists by the time that it is watched again
// is sent.
func TestUnknownProductsAreReportedOnce(t *testing.T) {
	for _, mode := range []Mode{Full, Notify} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(rev(1, 10), rev(2, 10))
			h := quietHub(t, s, Config{})
			b := join(t, h, mode)
			told := map[int64]int{}
			for n := range 20 {
				b.watch(rev(1, 10), rev(8, 0), rev(2, 10), rev(9, int64(n)))
				synctest.Wait()
				b.conn.SetReadDeadline(time.Now().Add(time.Second))
				for {
					f, err := ws.ReadFrame(b.conn)
					if err != nil {
						break
					}
					var said struct{ Error *refusal }
					if err := json.Unmarshal(f.Payload, &said); err != nil || said.Error == nil ||
						said.Error.Code != "unknown_product" {
						t.Fatalf("%v: %s", err, f.Payload)
					}
					told[said.Error.ID]++
				}
				b.conn.SetReadDeadline(time.Time{})
			}
			if len(told) != 2 || told[8] != 1 || told[9] != 1 {
				t.Errorf("reported unknown products: %v", told)
			}
			if len(h.topics) != 2 || h.topics[8] != nil {
				t.Errorf("topics of %d products", len(h.topics))
			}
			s.set(rev(8, 20))
			h.Apply(rev(8, 20))
			b.nothing()
			b.watch(rev(8, 0))
			b.sees(rev(8, 20))
		})
	}
}

// Of a product that the database loses pages show that it is not available, and it is as one that was never there.
func TestDeletedProductBecomesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Full)
		a.watch(rev(1, 10), rev(2, 10))
		b.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		s.mu.Lock()
		delete(s.rows, 1)
		s.mu.Unlock()
		h.Apply(rev(1, 11))
		for _, page := range []*browser{a, b} {
			page.sees(rev(1, 11)) // above what it shows
			if text := string(page.frame().Payload); !strings.Contains(text, "unknown_product") ||
				!strings.Contains(text, `"id":1`) {
				t.Errorf("got %s", text)
			}
			page.nothing()
		}
		if len(h.topics) != 1 {
			t.Errorf("topics of %d products", len(h.topics))
		}
	})
}

func TestProductScanClosesSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 10), rev(2, 10)), Config{})
		b, page := join(t, h, Full), join(t, h, Full)
		page.watch(rev(1, 10), rev(2, 10), rev(3, 1))
		page.sees(rev(3, 2))
		page.frame()
		all := []store.Rev{rev(1, 10)}
		for id := range int64(maxUnknown + 1) {
			all = append(all, rev(1000+id, 1))
		}
		b.watch(all...)
		var f ws.Frame
		for f.Header.OpCode != ws.OpClose {
			f = b.frame()
		}
		code, reason := ws.ParseCloseFrameData(f.Payload)
		if code != ws.StatusPolicyViolation || reason != "too_many_unknown" {
			t.Errorf("closed with %d %s", code, reason)
		}
		b.conn.Close()
		page.nothing()
		synctest.Wait()
		if h.Sessions() != 1 || len(h.topics) != 2 || len(h.unknown) != 1 {
			t.Errorf("%d sessions, topics of %d products, %d were told of unknown ones",
				h.Sessions(), len(h.topics), len(h.unknown))
		}
	})
}

// A browser that sends as fast as it can is read from as fast as its budget comes back, whatever it sends: nobody else
// waits for it, and what it has said is done in the end.
func TestFloodIsReadAtBudgetRate(t *testing.T) {
	many := make([]int64, 500)
	for i := range many {
		many[i] = int64(i % 10)
	}
	mine := make([]Watch, 100)
	for i := range mine {
		mine[i] = Watch{rev(int64(i+1), 10), render.Card}
	}
	for name, say := range map[string]any{
		"unwatch": request{Unwatch: many},
		"watch":   request{Watch: mine},
		"applied": request{Applied: make([]store.Rev, 100)},
		"ping":    map[string]int{"ping": 1},
		"nothing": map[string]string{"filling": strings.Repeat("x", 15<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const long = 40 * time.Second // or the other would have to answer a ping
				s := newShop()
				for id := range int64(100) {
					s.set(rev(id+1, 10))
				}
				h := quietHub(t, s, Config{Ping: time.Hour})
				b, other := join(t, h, Notify), join(t, h, Notify)
				go func() {
					for {
						if _, err := ws.ReadFrame(b.conn); err != nil {
							return
						}
					}
				}()
				text, err := json.Marshal(say)
				if err != nil {
					t.Fatal(err)
				}
				began, sent := time.Now(), 0
				for time.Since(began) < long {
					if err := wsutil.WriteClientText(b.conn, text); err != nil {
						t.Fatal(err)
					}
					sent++
				}
				items := 1
				switch r := say.(type) {
				case request:
					items += len(r.Unwatch) + len(r.Watch) + len(r.Applied)
				}
				each := time.Duration(items)*itemCost + time.Duration(len(text))*byteCost
				if most := int((long+h.burst())/each) + 10; sent > most || sent < most/3 {
					t.Errorf("%d messages of %v each were taken in %v, want up to %d", sent, each, long, most)
				}
				other.watch(rev(1, 9))
				other.sees(rev(1, 10))
			})
		})
	}
}

// Over a socket too, one that was let be is gone on with.
func TestPausedSessionResumes(t *testing.T) {
	t.Parallel()
	onBothLinks(t, func(t *testing.T, portable bool) {
		h := quietHub(t, newShop(rev(1, 10), rev(2, 10)), Config{Portable: portable})
		d := openDoor(t, h)
		b := d.enter(t)
		b.watch(rev(1, 10), rev(2, 10))
		b.nothing()
		s := h.only(t)
		s.charge(0, int((h.burst()+1500*time.Millisecond)/itemCost))
		began := time.Now()
		b.say(map[string]int{"ping": 1}) // is read, and then no more
		b.say(map[string]int{"ping": 2})
		for string(b.frame().Payload) != `{"pong":2}` {
		}
		if portable {
			return // it may have read both at once
		}
		b.say(map[string]int{"ping": 3})
		for string(b.frame().Payload) != `{"pong":3}` {
		}
		t.Logf("went on after %v", time.Since(began))
	})
}

// What a message says of products that are watched already, or of none, is done without the lock that all share.
func TestRedundantWatchTakesNoHubLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 10), rev(2, 10)), Config{})
		b := join(t, h, Notify)
		b.watch(rev(1, 10), rev(2, 10))
		b.nothing()
		s := h.only(t)
		h.mu.Lock()
		defer h.mu.Unlock()
		for range 3 { // a wait for the lock would be a deadlock
			again := []Watch{{rev(2, 11), render.Card}, {rev(1, 11), render.Card}, {rev(2, 11), render.Card}}
			if refused := s.register([]int64{7, 8, 8, 7}, again); refused != nil {
				t.Error(refused)
			}
		}
		if len(s.watching) != 2 || s.watching[0].shown.version() != 11 {
			t.Errorf("%+v", s.watching)
		}
	})
}

func TestListsInMessageAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, say := range []request{
			{Unwatch: make([]int64, 11)}, {Applied: make([]store.Rev, 11)},
			{Watch: []Watch{{rev(1, 1), "card"}, {rev(2, 1), "card"}, {rev(3, 1), "card"}, {rev(4, 1), "card"},
				{rev(5, 1), "card"}, {rev(6, 1), "card"}, {rev(7, 1), "card"}, {rev(8, 1), "card"}, {rev(9, 1), "card"},
				{rev(10, 1), "card"}, {rev(1, 1), "card"}}},
		} {
			h := quietHub(t, newShop(rev(1, 10), rev(2, 10)), Config{MaxProducts: 10})
			b := join(t, h, Full)
			b.say(say)
			if text := string(b.frame().Payload); !strings.Contains(text, "too_many_products") {
				t.Errorf("got %s", text)
			}
			b.conn.Close()
		}
	})
}

// Neither one address nor one IPv6 network takes the rate that all have, by whatever it sends.
func TestOneAddressCannotExhaustJoinRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		h := quietHub(t, newShop(), Config{JoinRate: 1000, ClientRate: 100, MaxPerClient: 1000, Metrics: metrics})
		flood := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
		admitted := map[netip.Addr]int{}
		for n := range 3000 {
			for _, a := range flood {
				if a.Is6() { // it has 2^64 of those
					var b [8]byte
					binary.BigEndian.PutUint64(b[:], uint64(n+1))
					whole := a.As16()
					copy(whole[8:], b[:])
					if err := h.Admit(netip.AddrFrom16(whole)); err == nil {
						admitted[a]++
					}
					continue
				}
				if err := h.Admit(a); err == nil {
					admitted[a]++
				} else if err != ErrAddressRate {
					t.Fatal(err)
				}
			}
			if n%2 == 0 {
				other := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
				if err := h.Admit(other); err != nil {
					t.Fatalf("another address was refused: %v", err)
				}
				if err := h.AdmitPoll(other); err != nil {
					t.Fatalf("a poll of another address was refused: %v", err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		for _, a := range flood {
			if n := admitted[a]; n < 330 || n > 360 { // 50 at once, and 100 in each of three seconds
				t.Errorf("%d sessions of %v were admitted in 3 s", n, a)
			}
			for h.Admit(a) == nil {
			}
			if err := h.AdmitPoll(a); err != ErrAddressRate {
				t.Errorf("poll of a refused address: error %v", err)
			}
		}
		if n := value(t, metrics, "shelfcast_sessions_refused_total", "address_rate"); n < 2600 {
			t.Errorf("%v refusals", n)
		}
		if n := len(h.arrivals.back); n > 1000 {
			t.Errorf("%d addresses are remembered", n)
		}
		if err := h.Admit(netip.Addr{}); err != nil {
			t.Errorf("handshake without an address: error %v", err)
		}
	})
}

// A browser whose machine takes no byte is closed, also if it goes on talking, and one that takes a little stays.
func TestStalledBrowserIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 1), rev(2, 1))
		s.html = strings.Repeat("x", 100_000)
		metrics := prometheus.NewRegistry()
		h := quietHub(t, s, Config{Metrics: metrics})
		stopped, slow := join(t, h, Full), join(t, h, Full)
		for _, b := range []*browser{stopped, slow} {
			b.watch(rev(1, 0), rev(2, 0))
		}
		synctest.Wait()
		began := time.Now()
		go func() {
			for wsutil.WriteClientText(stopped.conn, []byte(`{"ping":1}`)) == nil {
				time.Sleep(10 * time.Second)
			}
		}()
		for h.Sessions() == 2 && time.Since(began) < 5*time.Minute {
			if _, err := slow.conn.Read(make([]byte, piece)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(25 * time.Second)
		}
		if took := time.Since(began); took < time.Minute || took > 90*time.Second {
			t.Errorf("closed after %v", took)
		}
		for range 20 {
			if _, err := slow.conn.Read(make([]byte, piece)); err != nil {
				t.Fatalf("the slow browser was closed: %v", err)
			}
			time.Sleep(25 * time.Second)
		}
		if n := value(t, metrics, "shelfcast_sessions_closed_total", "stalled"); n != 1 {
			t.Errorf("%v sessions were closed", n)
		}
	})
}

// The same over sockets, where the kernel takes what it has room for, at both ends: also one for which it took all that
// was written is closed.
func TestStalledSocketIsClosed(t *testing.T) {
	t.Parallel()
	onBothLinks(t, func(t *testing.T, portable bool) {
		s := newShop(rev(1, 1), rev(2, 1))
		s.html = strings.Repeat("x", 500_000)
		metrics := prometheus.NewRegistry()
		h := quietHub(t, s, Config{Portable: portable, StallTimeout: 2 * time.Second, Metrics: metrics})
		d := openDoor(t, h)
		stopped, slow := d.enter(t), d.enter(t)
		stopped.nothing()
		slow.nothing()
		done := make(chan struct{})
		read := make(chan struct{})
		go func() {
			defer close(read)
			buffer := make([]byte, 200<<10)
			for {
				select {
				case <-done:
					return
				case <-time.After(100 * time.Millisecond): // some 2 MB a second
					if _, err := slow.conn.Read(buffer); err != nil {
						t.Error("the slow browser was closed:", err)
						return
					}
				}
			}
		}()
		slow.watch(rev(1, 0), rev(2, 0))
		stopped.watch(rev(1, 0), rev(2, 0))
		version := int64(1)
		testkit.Eventually(t, "the one that does not read is closed", func() bool {
			version++ // there is always more to send
			for id := int64(1); id <= 2; id++ {
				s.set(rev(id, version))
				h.Apply(rev(id, version))
			}
			return h.Sessions() == 1
		})
		close(done)
		<-read
		if n := value(t, metrics, "shelfcast_sessions_closed_total", "stalled"); n != 1 {
			t.Errorf("%v sessions were closed", n)
		}
	})
}

// What may not be in a close frame is not answered in kind (RFC 6455, 7.4).
func TestCloseFramesAreAnswered(t *testing.T) {
	closing := func(code uint16, reason string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	for name, c := range map[string]struct {
		payload []byte
		code    ws.StatusCode
		reason  string
	}{
		"1000": {closing(1000, "bye"), 1000, "bye"}, "1001": {closing(1001, ""), 1001, ""},
		"3000": {closing(3000, ""), 3000, ""}, "4999": {closing(4999, ""), 4999, ""},
		"0": {closing(0, ""), 1002, "protocol"}, "999": {closing(999, ""), 1002, "protocol"},
		"1004": {closing(1004, ""), 1002, "protocol"}, "1005": {closing(1005, ""), 1002, "protocol"},
		"1006": {closing(1006, ""), 1002, "protocol"}, "1015": {closing(1015, ""), 1002, "protocol"},
		"2999": {closing(2999, ""), 1002, "protocol"}, "5000": {closing(5000, ""), 1002, "protocol"},
		"one byte": {[]byte{3}, 1002, "protocol"}, "no UTF-8": {closing(1000, "\xff"), 1007, "bad_utf8"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := quietHub(t, newShop(), Config{})
				b := join(t, h, Full)
				go func() { _ = ws.WriteFrame(b.conn, ws.MaskFrame(ws.NewCloseFrame(c.payload))) }()
				f := b.frame()
				code, reason := ws.ParseCloseFrameData(f.Payload)
				if f.Header.OpCode != ws.OpClose || code != c.code || reason != c.reason {
					t.Errorf("%v %d %q", f.Header.OpCode, code, reason)
				}
				b.conn.Close()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := join(t, quietHub(t, newShop(), Config{}), Full)
		go func() { _ = ws.WriteFrame(b.conn, ws.MaskFrame(ws.NewCloseFrame(nil))) }()
		if f := b.frame(); f.Header.OpCode != ws.OpClose || len(f.Payload) != 0 {
			t.Error(fmt.Sprint(f))
		}
		b.conn.Close()
	})
}

// What comes in part is bounded over all browsers, of each wire.
func TestPartialMessagesAreBounded(t *testing.T) {
	h := NewHub(newShop(), Config{})
	h.partialBytes.Store(maxPartialBytes - 20_000)
	half := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(make([]byte, 16<<10))))[:16<<10]
	var all []*session
	for range 2 {
		s := &session{hub: h, conn: &sink{}}
		h.mu.Lock()
		h.table.add(s)
		h.clients[s.from]++
		h.mu.Unlock()
		h.withScratch(func(w *scratch) {
			if err := s.receiveBytes(w, append([]byte(nil), half...)); err != nil {
				t.Error(err)
			}
		})
		all = append(all, s)
	}
	if all[0].over() || !all[1].over() || h.partialBytes.Load() > maxPartialBytes {
		t.Errorf("closed: %v %v; %d bytes", all[0].over(), all[1].over(), h.partialBytes.Load())
	}
	for _, s := range all {
		s.end()
	}
	if n := h.partialBytes.Load(); n != maxPartialBytes-20_000 {
		t.Errorf("%d bytes are left", n-maxPartialBytes+20_000)
	}
}
