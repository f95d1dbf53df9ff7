package realtime

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shelfcast/store/storetest"
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
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// A browser that is gone while something is on its way to it is found out as
// soon as any other; one that only does not read stays.
func TestTheDeadAreFoundWhileAWriteIsUnderWay(t *testing.T) {
	s := newShop(rev(1, 1), rev(2, 1))
	s.html = strings.Repeat("x", 200_000)
	h := quietHub(t, s, Config{Ping: time.Second, Pong: 500 * time.Millisecond})
	d := openDoor(t, h)
	gone, slow := d.enter(t), d.enter(t)
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
	storetest.Eventually(t, "the one that is gone is found out", func() bool { return h.Sessions() == 1 })
	newest := map[int64]int64{}
	for newest[1] < version || newest[2] < version {
		for id, v := range slow.next() {
			newest[id] = v
		}
	}
	slow.nothing()
}
