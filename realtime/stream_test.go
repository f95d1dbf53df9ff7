package realtime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"shelfcast/render"
	"shelfcast/store"
)

// A listener is the other end of a session whose wire is an event stream.
type listener struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func listen(t testing.TB, h *Hub, mode Mode, shown ...store.Rev) *listener {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	var all []Watch
	for _, r := range shown {
		all = append(all, Watch{r, render.Card})
	}
	join := Join{Protocol: EventStream, Mode: mode, Watch: all, Head: []byte("head\n\ndata: {}\n\n")}
	if err := h.Adopt(server, join); err != nil {
		t.Fatal(err)
	}
	l := &listener{t, client, bufio.NewReader(client)}
	if got := l.event(); got != "head" {
		t.Errorf("it begins with %q", got)
	}
	if got := l.event(); got != "data: {}" {
		t.Errorf("the first event is %q", got)
	}
	return l
}

// event is the next one, whole.
func (l *listener) event() string {
	l.t.Helper()
	line, err := l.r.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	if end, err := l.r.ReadString('\n'); err != nil || end != "\n" {
		l.t.Fatalf("after %q comes %q (%v), and not the end of the event", line, end, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (l *listener) sees(want ...store.Rev) {
	l.t.Helper()
	text, ok := strings.CutPrefix(l.event(), "data: ")
	if !ok {
		l.t.Fatalf("%q is no event", text)
	}
	sees(l.t, []byte(text), want...)
}

// sees holds a frame against what it is to have.
func sees(t testing.TB, text []byte, want ...store.Rev) {
	t.Helper()
	var said struct{ Fragments, Changed []store.Rev }
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got, wanted := map[int64]int64{}, map[int64]int64{}
	for _, r := range append(said.Fragments, said.Changed...) {
		got[r.ID] = r.Version
	}
	for _, r := range want {
		wanted[r.ID] = r.Version
	}
	if !maps.Equal(got, wanted) {
		t.Errorf("got %v, want %v", got, wanted)
	}
}

// A page whose way lets no WebSocket through is told the same as the others: what
// it lacks when it comes, and then what changes.
func TestEventStreamDeliversLikeWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		full, news := listen(t, h, Full, rev(1, 9), rev(2, 10)), listen(t, h, Notify, rev(1, 10), rev(2, 9))
		full.sees(rev(1, 10))
		news.sees(rev(2, 10))
		socket := join(t, h, Full)
		socket.watch(rev(1, 10))
		socket.nothing()
		go func() { _, _ = news.conn.Write([]byte("what it says is not heard")) }()
		for version := int64(11); version < 14; version++ {
			s.set(rev(1, version))
			h.Apply(rev(1, version))
			full.sees(rev(1, version))
			news.sees(rev(1, version))
			socket.sees(rev(1, version))
		}
		s.set(rev(1, 20))
		s.set(rev(2, 20))
		h.Apply(rev(1, 20), rev(2, 20))
		full.sees(rev(1, 20), rev(2, 20))
		news.sees(rev(1, 20), rev(2, 20))
		full.conn.Close()
		synctest.Wait()
		if n := h.Sessions(); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}

// Nothing comes from such a browser, and none is taken for dead for that; and
// what is between sees that the connection lives.
func TestEventStreamSendsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 10)), Config{})
		a, b := listen(t, h, Full, rev(1, 10)), listen(t, h, Full)
		for range 10 {
			began := time.Now()
			for _, l := range []*listener{a, b} {
				if got := l.event(); got != "data: {}" {
					t.Errorf("got %q", got)
				}
			}
			if waited := time.Since(began); waited > 30*time.Second {
				t.Errorf("no heartbeat for %v", waited)
			}
		}
	})
}

func TestEventStreamsEndOnShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 10)), Config{})
		a, b := listen(t, h, Full, rev(1, 10)), listen(t, h, Full, rev(1, 10))
		ended := make(chan struct{})
		go func() { h.Drain(t.Context(), time.Second); close(ended) }()
		for _, l := range []*listener{a, b} {
			if rest, err := io.ReadAll(l.r); err != nil || len(rest) > 0 {
				t.Errorf("%q %v", rest, err)
			}
			l.conn.Close()
		}
		<-ended
	})
}

func TestEventStreamHasProductLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{MaxProducts: 2})
		l := listen(t, h, Full, rev(1, 10), rev(2, 10), rev(3, 10))
		if got := l.event(); !strings.Contains(got, "too_many_products") {
			t.Errorf("got %q", got)
		}
		if rest, err := io.ReadAll(l.r); err != nil || len(rest) > 0 {
			t.Errorf("%q %v", rest, err)
		}
	})
}

// A poll is answered with what a session would be sent.
func TestPollAnswersLikeSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 20), rev(3, 30))
		h := quietHub(t, s, Config{})
		for _, r := range []store.Rev{rev(1, 10), rev(2, 20)} {
			h.Apply(r)
		}
		poll := func(mode Mode, revs ...store.Rev) []byte {
			t.Helper()
			var all []Watch
			for _, r := range revs {
				all = append(all, Watch{r, render.Card}, Watch{r, render.Detail})
			}
			frame, err := h.Poll(t.Context(), mode, all)
			if err != nil {
				t.Fatal(err)
			}
			return text(frame)
		}
		s.TrustUntil(time.Now().Add(time.Hour), time.Time{})
		sees(t, poll(Full))
		sees(t, poll(Full, rev(1, 10), rev(2, 20)))
		if n := s.asked(); n != 0 {
			t.Errorf("versions in memory needed %d database queries", n)
		}
		sees(t, poll(Full, rev(1, 9), rev(2, 0)), rev(1, 10), rev(2, 20))
		// 3 has not been heard of, and 4 there is not.
		got := poll(Notify, rev(1, 9), rev(2, 20), rev(3, 29), rev(4, 7))
		sees(t, got, rev(1, 10), rev(3, 30))
		want := `{"changed":[{"id":1,"version":10,"view":"card"},{"id":1,"version":10,"view":"detail"},` +
			`{"id":3,"version":30,"view":"card"},{"id":3,"version":30,"view":"detail"}]}`
		if string(got) != want {
			t.Errorf("got %s", got)
		}
		if n := s.asked(); n != 1 {
			t.Errorf("one poll needed %d database queries", n)
		}
		// The database has lost what the page shows.
		if got := string(poll(Full, rev(2, 25))); strings.Count(got, `"reset":true`) != 2 ||
			!strings.Contains(got, `"version":20`) {
			t.Errorf("got %s", got)
		}
		s.fail(errors.New("away"))
		if _, err := h.Poll(t.Context(), Full, []Watch{{rev(7, 1), render.Card}}); err == nil {
			t.Error("a poll succeeded without the database")
		}
	})
}

// text is what its parts are together.
func text(parts net.Buffers) []byte { return bytes.Join(parts, nil) }

// A poll of many large fragments is answered a frame full at a time, and who asks
// on from where it ended has all in the end.
func TestPollIsBoundedByFrameSize(t *testing.T) {
	const products, large = 30, 20 << 10
	s := newShop()
	s.html = strings.Repeat("x", large)
	var all []Watch
	for id := int64(1); id <= products; id++ {
		if id%5 > 0 { // the others there are not
			s.set(rev(id, 100))
		}
		all = append(all, Watch{rev(id, 1), render.Detail})
	}
	h := quietHub(t, s, Config{})
	seen := map[int64]int{}
	polls := 0
	for rest := all; len(rest) > 0; polls++ {
		parts, err := h.Poll(t.Context(), Full, rest)
		if err != nil {
			t.Fatal(err)
		}
		answer := text(parts)
		if len(answer) > FrameBytes+large+1000 {
			t.Fatalf("an answer has %d bytes", len(answer))
		}
		var said struct {
			Fragments []store.Rev
			Next      int
		}
		if err := json.Unmarshal(answer, &said); err != nil || said.Next < 0 || said.Next > len(rest) {
			t.Fatalf("%v: next is %d of %d", err, said.Next, len(rest))
		}
		for _, f := range said.Fragments {
			seen[f.ID]++
		}
		if rest = rest[said.Next:]; said.Next == 0 {
			rest = nil
		}
	}
	if len(seen) != products*4/5 || polls < 3 {
		t.Errorf("%d polls had %d products", polls, len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%d came %d times", id, n)
		}
	}
	// The fragments themselves are sent, and no copies.
	parts, err := h.Poll(t.Context(), Full, all[:1])
	if cached := s.cached[rev(1, 100)].JSON(); err != nil || &parts[1][0] != &cached[0] {
		t.Errorf("the response does not share cached bytes: %v", err)
	}
}

// What refuses sessions refuses polls: a browser would think that only its
// sockets are kept from it.
func TestPollHasLimitsOfSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{MaxSessions: 2, MaxPerClient: 1, JoinRate: 40})
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		if err := h.AdmitPoll(a); err != nil {
			t.Error(err)
		}
		for h.Admit(a) == nil { // who is admitted and does not come costs its turn
		}
		if err := h.AdmitPoll(b); err != ErrRate {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Second)
		server, client := net.Pipe()
		t.Cleanup(func() { client.Close() })
		if err := h.Adopt(server, Join{From: a}); err != nil {
			t.Fatal(err)
		}
		if err := h.AdmitPoll(a); err != ErrAddressFull {
			t.Errorf("got %v", err)
		}
		if err := h.AdmitPoll(b); err != nil {
			t.Error(err)
		}
		join(t, h, Full)
		if err := h.AdmitPoll(b); err != ErrFull {
			t.Errorf("got %v", err)
		}
		go h.Drain(context.Background(), 0)
		synctest.Wait()
		if err := h.AdmitPoll(b); err != ErrDraining {
			t.Errorf("got %v", err)
		}
	})
}

func TestParseWatchListFromURL(t *testing.T) {
	h := NewHub(newShop(), Config{MaxProducts: 3})
	got, err := h.ParseWatch("42:7:detail,43:8,44")
	want := []Watch{{rev(42, 7), render.Detail}, {rev(43, 8), render.Card}, {rev(44, 0), render.Card}}
	if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v %v", got, err)
	}
	if got, err := h.ParseWatch(""); err != nil || len(got) != 0 {
		t.Errorf("got %v %v", got, err)
	}
	for _, bad := range []string{"x", "1:y", "0:1", "-1:1", "1:-1", "1:9999999999999999999", "1:1:nosuch", "1:1:card:more",
		",", "1:1,", "1,2,3,4", "1:99999999999999999"} {
		if got, err := h.ParseWatch(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}
