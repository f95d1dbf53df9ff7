package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/store"
	"shelfcast/testkit"
)

// onBothLinks runs a test on real sockets with sessions that are parked, where
// the system can, and with a goroutine each.
func onBothLinks(t *testing.T, test func(t *testing.T, portable bool)) {
	for name, portable := range map[string]bool{"parked": false, "goroutines": true} {
		t.Run(name, func(t *testing.T) { test(t, portable) })
	}
}

// A door lets browsers in over loopback.
type door struct {
	hub *Hub
	l   net.Listener
}

func openDoor(t testing.TB, h *Hub) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{h, l}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if err := h.Adopt(conn, Join{}); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return d
}

func (d *door) enter(t testing.TB) *browser {
	t.Helper()
	return d.enterBy(t, &net.Dialer{})
}

func (d *door) enterBy(t testing.TB, by *net.Dialer) *browser {
	t.Helper()
	conn, err := by.Dial("tcp", d.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute)) // or a fault would hang
	return &browser{t, conn}
}

// Shoppers come and go while frames fly, and their connections' descriptors go
// from one to the next: each sees what it watches, and nothing of others.
func TestSessionsNeverReceiveBytesOfOthers(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		const shoppers, visits = 40, 8
		s := newShop()
		for id := range int64(shoppers * visits * 2) {
			s.set(rev(id+1, 1))
		}
		s.html = strings.Repeat("x", 3000)
		h := quietHub(t, s, Config{Portable: portable})
		d := openDoor(t, h)
		ctx, cancel := context.WithCancel(t.Context())
		var editors, all sync.WaitGroup
		for odd := range int64(2) {
			editors.Go(func() {
				for version := int64(2); ctx.Err() == nil; version++ {
					for id := range int64(shoppers * visits) {
						s.set(rev(2*id+1+odd, version))
						h.Apply(rev(2*id+1+odd, version))
					}
				}
			})
		}
		for n := range int64(shoppers) {
			all.Go(func() {
				for visit := range int64(visits) {
					first := (n*visits+visit)*2 + 1
					visitOnce(t, d, first, first+1)
				}
			})
		}
		all.Wait()
		cancel()
		editors.Wait()
		testkit.Eventually(t, "all are gone", func() bool { return h.Sessions() == 0 })
		if n := len(h.topics); n != 0 {
			t.Errorf("topics of %d products are left", n)
		}
	})
}

// visitOnce watches two products until each has changed a few times, and goes:
// now with a close frame, now without, now with a reset.
func visitOnce(t *testing.T, d *door, a, b int64) {
	conn, err := net.Dial("tcp", d.l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	text := fmt.Sprintf(`{"watch":[{"id":%d,"version":0,"view":"card"},{"id":%d,"version":0,"view":"card"}]}`, a, b)
	if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
		t.Error(err)
		return
	}
	newest := map[int64]int64{}
	for range 6 {
		got, err := wsutil.ReadServerText(conn)
		if err != nil {
			t.Error(err)
			return
		}
		var said struct{ Fragments []store.Rev }
		if err := json.Unmarshal(got, &said); err != nil || len(said.Fragments) == 0 {
			t.Errorf("%v: %.80s", err, got)
			return
		}
		for _, r := range said.Fragments {
			if r.ID != a && r.ID != b {
				t.Errorf("watches %d and %d, and was sent %d", a, b, r.ID)
			}
			if r.Version <= newest[r.ID] {
				t.Errorf("%d went from %d to %d", r.ID, newest[r.ID], r.Version)
			}
			newest[r.ID] = r.Version
		}
	}
	switch a % 3 {
	case 0:
		_ = wsutil.WriteClientMessage(conn, ws.OpClose, nil) // it goes anyway
	case 1:
		conn.(*net.TCPConn).SetLinger(0)
	}
}

// A browser that stops reading fills the buffers of the kernel, and no more. It
// is not closed, holds up nobody, and when it reads again it gets what was on
// its way and then the newest.
func TestBlockedBrowserGetsNewestVersionLater(t *testing.T) {
	t.Parallel()
	onBothLinks(t, func(t *testing.T, portable bool) {
		const edits = 100 // 20 MB, more than any buffer of a socket
		s := newShop(rev(1, 1), rev(2, 1))
		s.html = strings.Repeat("x", 100_000)
		h := quietHub(t, s, Config{Portable: portable})
		d := openDoor(t, h)
		slow, quick := d.enter(t), d.enter(t)
		for _, b := range []*browser{slow, quick} {
			b.watch(rev(1, 1), rev(2, 1))
			b.nothing()
		}
		for version := int64(2); version <= edits; version++ {
			for id := int64(1); id <= 2; id++ {
				s.set(rev(id, version))
				h.Apply(rev(id, version))
				quick.sees(rev(id, version))
			}
		}
		frames, newest := 0, map[int64]int64{}
		for newest[1] < edits || newest[2] < edits {
			for id, version := range slow.next() {
				newest[id] = max(newest[id], version)
			}
			frames++
		}
		if frames > edits {
			t.Errorf("got a backlog of %d frames for %d edits", frames, 2*edits)
		}
		slow.nothing()
	})
}

// A message may come in any pieces, and several in one.
func TestSplitAndJoinedMessagesAreParsed(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		s := newShop(rev(1, 5), rev(2, 5))
		d := openDoor(t, quietHub(t, s, Config{Portable: portable}))
		a, b := d.enter(t), d.enter(t)
		one := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`{"watch":[{"id":1,"view":"card"}]}`))))
		for _, piece := range one {
			if _, err := a.conn.Write([]byte{piece}); err != nil {
				t.Fatal(err)
			}
		}
		a.sees(rev(1, 5))
		// Two frames of a message with a ping between them, and another message.
		half := ws.NewFrame(ws.OpText, false, []byte(`{"watch":[{"id":1,`))
		rest := ws.NewFrame(ws.OpContinuation, true, []byte(`"view":"card"}]}`))
		var all []byte
		for _, f := range []ws.Frame{half, ws.NewPingFrame([]byte("now")), rest, ws.NewTextFrame([]byte(`{"ping":7}`))} {
			all = append(all, ws.MustCompileFrame(ws.MaskFrame(f))...)
		}
		if _, err := b.conn.Write(all); err != nil {
			t.Fatal(err)
		}
		said := ""
		for range 3 {
			said += string(b.frame().Payload)
		}
		for _, want := range []string{"now", `{"pong":7}`, `"version":5`} {
			if !strings.Contains(said, want) {
				t.Errorf("no %s in %s", want, said)
			}
		}
	})
}

// A message may end where the server's buffer does.
func TestMessageEndingAtBufferEnd(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		d := openDoor(t, quietHub(t, newShop(), Config{Portable: portable}))
		a, b := d.enter(t), d.enter(t)
		half := len(new(scratch).read) / 2
		for n := range 3 {
			for _, page := range []*browser{a, b} {
				text := fmt.Appendf(nil, `{"ping":%d}`, n)
				text = append(text, strings.Repeat(" ", half-8-len(text))...) // 8: the header
				frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(text)))
				if _, err := page.conn.Write(append(frame, frame...)); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf(`{"pong":%d}`, n)
				for string(page.frame().Payload) != want { // of the last pair there may be another
				}
			}
		}
	})
}

// Bad input is answered with what is wrong and a close frame, and the
// connection ends without a reset, in which both might be lost.
func TestInvalidInputIsAnsweredBeforeClose(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		h := quietHub(t, newShop(), Config{Portable: portable, MaxFrame: 1000})
		d := openDoor(t, h)
		for _, c := range []struct {
			send []byte
			code ws.StatusCode
		}{
			{ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("{")))), 1007},
			{ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(make([]byte, 1001)))), 1009},
			{ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(nil))), 1003},
			{ws.MustCompileFrame(ws.NewTextFrame([]byte(`{"ping":1}`))), 1002}, // not masked
		} {
			b := d.enter(t)
			if _, err := b.conn.Write(append(c.send, make([]byte, 100_000)...)); err != nil {
				t.Fatal(err)
			}
			if f := b.frame(); !strings.Contains(string(f.Payload), `"error"`) {
				t.Errorf("got %s", f.Payload)
			}
			f := b.frame()
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != c.code {
				t.Errorf("got %v, want %v", code, c.code)
			}
			if _, err := b.conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("got %v", err)
			}
			b.conn.Close()
		}
		testkit.Eventually(t, "all are gone", func() bool { return h.Sessions() == 0 })
	})
}

// Whoever is gone without a word is found out; whoever answers stays.
func TestUnresponsiveBrowsersAreClosed(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		h := quietHub(t, newShop(), Config{Portable: portable, Ping: time.Second, Pong: 500 * time.Millisecond})
		d := openDoor(t, h)
		dead, alive := d.enter(t), d.enter(t)
		var answering sync.WaitGroup
		answering.Go(func() {
			for {
				f, err := ws.ReadFrame(alive.conn)
				if err != nil {
					return
				}
				if f.Header.OpCode == ws.OpPing {
					if err := wsutil.WriteClientMessage(alive.conn, ws.OpPong, nil); err != nil {
						return
					}
				}
			}
		})
		defer func() { alive.conn.Close(); answering.Wait() }()
		for n := 0; ; n++ {
			if _, err := ws.ReadFrame(dead.conn); err == io.EOF {
				break
			} else if err != nil || n > 1 {
				t.Fatalf("frame %d, %v", n, err)
			}
		}
		testkit.Eventually(t, "one is left", func() bool { return h.Sessions() == 1 })
	})
}

// What the browser sent before it had the answer to its handshake counts.
func TestEarlyBytesAreProcessed(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		s := newShop(rev(1, 5), rev(2, 5))
		h := quietHub(t, s, Config{Portable: portable})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for id := int64(1); id <= 2; id++ {
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			watch := fmt.Appendf(nil, `{"watch":[{"id":%d,"view":"card"}]}`, id)
			frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(watch)))
			if err := h.Adopt(server, Join{Early: frame[:9]}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(frame[9:]); err != nil {
				t.Fatal(err)
			}
			(&browser{t, client}).sees(rev(id, 5))
		}
	})
}
