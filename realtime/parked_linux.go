package realtime

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parked is the link without a goroutine and without buffers: a descriptor that
// two epoll instances watch for all sessions, one for what comes and one for
// room to write. Both tell once and are then armed again (EPOLLONESHOT), so
// that one worker at a time has a session.
//
// The number of a closed descriptor is soon that of another shopper's
// connection. So the descriptor is used only with the session's mu held and
// while it is not closed, and what epoll says is for a session's number
// (table), never for a descriptor's.
type parked struct {
	s  *session
	fd int

	// Guarded by the session's mu.
	wrote bool     // something was written since all was seen to have been taken
	left  *backlog // nil: there is none that is known of
}

// A backlog is what a browser's machine has yet to take of what was written.
type backlog struct {
	rest  []byte // of a frame that was taken and did not fit into the kernel's buffer
	acked uint64 // bytes that the machine had acknowledged when it last had more than before
	moved int64  // when that was seen, in Unix nanoseconds; 0: it was not looked at
}

// rest is the part of a frame that is yet to be written.
func (l *parked) rest() []byte {
	if l.left == nil {
		return nil
	}
	return l.left.rest
}

// unsent is how much of what was written may wait in the kernel's buffer until
// it is on the wire; more would only be old news for a browser that reads
// slowly. It takes two full frames of a page of cards.
const unsent = 64 << 10

// comes: bytes, or the browser's end of the connection.
const comes = unix.EPOLLIN | unix.EPOLLRDHUP

// pollers wait for all parked sessions.
type pollers struct {
	in, out *poller
}

func newPollers(h *Hub) (*pollers, error) {
	in, err := newPoller()
	if err != nil {
		return nil, err
	}
	out, err := newPoller()
	if err != nil {
		in.close()
		return nil, err
	}
	p := &pollers{in, out}
	if !h.start(func() { in.run(h, false) }) || !h.start(func() { out.run(h, true) }) {
		p.close()
		return nil, ErrDraining
	}
	return p, nil
}

func (p *pollers) close() {
	p.in.close()
	p.out.close()
}

// newParked takes the socket out of conn, which is closed. Errors: conn is no
// socket (errors.ErrUnsupported); the kernel's. Then conn is as it was.
func newParked(s *session, conn net.Conn) (link, error) {
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.ErrUnsupported // a pipe of a test, or TLS
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Go's own poller watches a connection for as long as Go's object for it
	// lives: both go, and the socket stays.
	fd := -1
	if e := raw.Control(func(theirs uintptr) { fd, err = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0) }); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("parking: %w", err)
	}
	conn.Close()
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) // nothing fails without it
	return &parked{s: s, fd: fd}, nil
}

func (l *parked) start() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.closed {
		return nil
	}
	return l.s.hub.pollers.in.arm(unix.EPOLL_CTL_ADD, l, comes)
}

func (l *parked) write(frames []byte) (taken, room bool, err error) {
	n, err := writeSome(l.fd, frames)
	l.wrote = true
	switch {
	case err != nil:
		return false, false, err
	case n == len(frames):
		return true, true, nil
	case n > 0:
		if l.left == nil {
			l.left = &backlog{}
		}
		l.left.rest = append([]byte(nil), frames[n:]...)
	}
	return n > 0, false, l.s.hub.pollers.out.arm(unix.EPOLL_CTL_ADD, l, unix.EPOLLOUT)
}

// writeSome writes what there is room for.
func writeSome(fd int, b []byte) (n int, err error) {
	for {
		n, err = unix.Write(fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

// room has the rest of a frame written, and then the session called.
func (l *parked) room(w *work) {
	s := l.s
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	n, full, err := 0, false, error(nil)
	if rest := l.rest(); len(rest) > 0 {
		n, err = writeSome(l.fd, rest)
		l.left.rest = rest[n:]
		full = n < len(rest)
	}
	switch {
	case err != nil:
	case full:
		err = s.hub.pollers.out.arm(unix.EPOLL_CTL_MOD, l, unix.EPOLLOUT)
	default:
		if l.left != nil {
			l.left.rest = nil
		}
		err = unix.EpollCtl(s.hub.pollers.out.fd, unix.EPOLL_CTL_DEL, l.fd, nil)
	}
	if err != nil {
		s.close()
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		s.hub.remove(s)
	case !full:
		s.writable(w)
	}
}

// readable reads some of what has come. If there is more, epoll says so, and other
// sessions have their turn before that.
func (l *parked) readable(w *work) {
	s := l.s
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	n, err := unix.Read(l.fd, w.read[:])
	s.mu.Unlock()
	switch {
	case err == unix.EINTR, err == unix.EAGAIN:
	case n <= 0:
		s.end()
		return
	default:
		if err := s.arrived(w, w.read[:n]); err != nil {
			s.end()
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused = s.overdrawn(time.Now()); !s.paused {
		l.resume()
	}
}

// resume parks the session again.
func (l *parked) resume() {
	if l.s.closed {
		return
	}
	if err := l.s.hub.pollers.in.arm(unix.EPOLL_CTL_MOD, l, comes); err != nil {
		panic(err) // a descriptor that is open and watched
	}
}

func (l *parked) finish() { _ = unix.Shutdown(l.fd, unix.SHUT_WR) } // it is closed soon anyway

func (l *parked) close() { unix.Close(l.fd) }

func (l *parked) discard() {
	if unacked, err := unix.IoctlGetInt(l.fd, unix.SIOCOUTQ); err == nil && unacked > 0 {
		_ = unix.SetsockoptLinger(l.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // or it takes a while
	}
}

// lost: TCP sends again and again, or asks a peer without room for more, and
// nothing has come back for as long as a browser may be silent. A browser that
// is only slow acknowledges. (TCP_USER_TIMEOUT would end it as well: tcp(7).)
func (l *parked) lost() bool {
	info, err := unix.GetsockoptTCPInfo(l.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	silence := time.Duration(info.Last_ack_recv) * time.Millisecond
	cfg := l.s.hub.cfg
	return silence > cfg.Ping+cfg.Pong && (info.Unacked > 0 || info.Probes > 1)
}

// looks is how often a session for which something was written is looked at in the time that it may take no byte: the
// sweep would make two calls of the kernel for each every second.
const looks = 8

// stalled: a machine acknowledges as long as it has room, and what its browser reads makes room. So whether any byte
// was taken shows in what it has acknowledged, also of bytes for which our side of the kernel had room.
func (l *parked) stalled(now time.Time) bool {
	limit := l.s.hub.cfg.Stall
	every := max(int64(limit/time.Second)/looks, 1)
	if !l.wrote || (now.Unix()+int64(l.s.slot()/sweeps))%every != 0 {
		return false
	}
	unacked, err := unix.IoctlGetInt(l.fd, unix.SIOCOUTQ)
	if err != nil {
		return false
	}
	if unacked == 0 && len(l.rest()) == 0 {
		l.wrote, l.left = false, nil
		return false
	}
	info, err := unix.GetsockoptTCPInfo(l.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	if l.left == nil {
		l.left = &backlog{}
	}
	if left := l.left; left.moved == 0 || info.Bytes_acked != left.acked {
		left.acked, left.moved = info.Bytes_acked, now.UnixNano()
		return false
	}
	return now.UnixNano()-l.left.moved >= int64(limit)
}

// A poller is an epoll instance. Go's own poller waits for it, and so no thread
// does.
type poller struct {
	fd   int
	file *os.File
	raw  syscall.RawConn
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // says that Go is to poll it
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() { p.file.Close() }

// arm has the poller tell once of these events. The session's mu is held.
func (p *poller) arm(op int, l *parked, events uint32) error {
	return unix.EpollCtl(p.fd, op, l.fd, &unix.EpollEvent{
		Events: events | unix.EPOLLONESHOT,
		Fd:     int32(uint32(l.s.id)), Pad: int32(uint32(l.s.id >> 32)),
	})
}

// run tells the hub's workers of what there is until the poller is closed.
func (p *poller) run(h *Hub, room bool) {
	events := make([]unix.EpollEvent, 256)
	found := make([]ready, 0, len(events))
	for {
		n, failed := 0, error(nil)
		err := p.raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events, 0)
			return n > 0 || failed != nil && failed != unix.EINTR
		})
		if err != nil || failed != nil {
			return
		}
		found = found[:0]
		h.mu.Lock()
		for _, e := range events[:n] {
			if s := h.table.get(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32); s != nil {
				found = append(found, ready{s, room})
			}
		}
		h.mu.Unlock()
		h.reads.add(found...)
	}
}
