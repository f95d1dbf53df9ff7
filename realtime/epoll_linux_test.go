package realtime

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shelfcast/render"
	"shelfcast/testkit"
)

// vanish makes the machine at the other end of a connection as good as gone: it
// sees none of the packets that come, and so acknowledges nothing.
func vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// small has little room for what is not read yet: there would be megabytes to read
// before a ping that is to be answered. It is so from the start, or the kernel drops
// what it has asked for, and acknowledges nothing.
var small = &net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
	var err error
	failed := conn.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10) })
	return errors.Join(err, failed)
}}

// A browser that is gone while something is on its way to it is found out as
// soon as any other; one that only does not read stays.
func TestUnresponsiveBrowserIsClosedDuringWrite(t *testing.T) {
	s := newShop(rev(1, 1), rev(2, 1))
	s.html = strings.Repeat("x", 20_000)
	h := quietHub(t, s, Config{Ping: 500 * time.Millisecond, Pong: 2 * time.Second})
	d := openDoor(t, h)
	gone, slow := d.enterBy(t, small), d.enterBy(t, small)
	for _, b := range []*browser{gone, slow} {
		b.watch(rev(1, 1), rev(2, 1))
		b.nothing()
	}
	vanish(t, gone.conn)
	// Both have no room any more within the ping.
	version := int64(1)
	blocked := func() (n int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.table.all(func(s *session) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.blocked {
				n++
			}
		})
		return n
	}
	for blocked() < 2 {
		version++
		for id := int64(1); id <= 2; id++ {
			s.set(rev(id, version))
			h.Apply(rev(id, version))
		}
		time.Sleep(time.Millisecond) // or they are folded before they are written
	}
	testkit.Eventually(t, "the one that is gone is found out", func() bool { return h.Sessions() == 1 })
	newest := map[int64]int64{}
	for newest[1] < version || newest[2] < version {
		for id, v := range slow.next() {
			newest[id] = v
		}
	}
	slow.nothing()
}

// Between the end of a session and the moment when nothing knows it any more,
// its descriptor's number is somebody else's already.
func TestClosedSessionIsNotWrittenTo(t *testing.T) {
	s := newShop(rev(1, 1), rev(2, 1))
	h := quietHub(t, s, Config{})
	d := openDoor(t, h)
	first, second := d.enter(t), d.enter(t)
	for _, b := range []*browser{first, second} {
		b.watch(rev(1, 1), rev(2, 1))
		b.nothing()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()

	h.mu.Lock() // nobody can forget a session now
	var sessions []*session
	h.table.all(func(s *session) { sessions = append(sessions, s) })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sessions[0].end()
	}()
	testkit.Eventually(t, "its descriptor is closed", func() bool {
		sessions[0].mu.Lock()
		defer sessions[0].mu.Unlock()
		return sessions[0].closed
	})
	reused, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer reused.Close()
	raw, err := reused.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if int(fd) != sessions[0].conn.(*epollConn).fd {
			t.Logf("the number was not reused: %d", fd)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s.set(rev(1, 2))
	f, err := s.Fragment(t.Context(), render.Card, rev(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	topic := h.topics[1][0]
	topic.advance(2)
	r := flushCycle{hub: h}
	r.put(newsOf(topic, 2, f))
	h.withScratch(func(w *scratch) {
		for _, s := range sessions {
			r.push(s, w)
			s.flush(w)
			s.conn.readable(w)
		}
	})
	h.mu.Unlock()
	<-ended
	if _, err := reused.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	if n, err := next.Read(got); err != nil || string(got[:n]) != "mine" {
		t.Errorf("%v: got %q", err, got[:n])
	}
}
