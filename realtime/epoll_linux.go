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

// epollConn is a connection without a goroutine and without buffers. Two epoll instances
// watch the file descriptors of all sessions, one for input and one for room to write. Both
// report an event once and are then armed again (EPOLLONESHOT), so that only one worker at a
// time handles a session.
//
// The number of a closed descriptor soon belongs to another shopper's connection. Therefore
// the descriptor is used only with the session's mu held and while it is open, and epoll
// events carry the session's id (see table), never the descriptor.
type epollConn struct {
	s  *session
	fd int

	// Guarded by the session's mu.
	wrote bool     // something was written since everything was last seen acknowledged
	left  *backlog // nil: none is known
}

// A backlog is what a browser's machine has yet to acknowledge of what was written.
type backlog struct {
	rest  []byte // of a frame that did not fit into the kernel's buffer
	acked uint64 // bytes acknowledged when that number last grew
	moved int64  // when that was, in Unix nanoseconds; 0: not looked at yet
}

// rest returns the part of a frame that has yet to be written.
func (l *epollConn) rest() []byte {
	if l.left == nil {
		return nil
	}
	return l.left.rest
}

// unsent is how many written bytes may wait in the kernel's buffer before they are on the
// wire. More would only be outdated by the time a slow browser reads it. It is enough for two
// full frames of a page of cards.
const unsent = 64 << 10

// comes is the events of bytes from the browser, and of its end of the connection.
const comes = unix.EPOLLIN | unix.EPOLLRDHUP

// pollers wait for events of all epoll connections.
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

// newEpollConn takes the socket out of conn and closes conn. Errors: errors.ErrUnsupported if
// conn is not a TCP socket, and the kernel's; conn is unchanged then.
func newEpollConn(s *session, conn net.Conn) (connection, error) {
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.ErrUnsupported // a pipe of a test, or TLS
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Go's own poller watches a connection for as long as its net.Conn is open. Closing that
	// leaves the duplicate descriptor.
	fd := -1
	if e := raw.Control(func(theirs uintptr) { fd, err = unix.FcntlInt(theirs, unix.F_DUPFD_CLOEXEC, 0) }); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("duplicating the socket: %w", err)
	}
	conn.Close()
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) // optional
	return &epollConn{s: s, fd: fd}, nil
}

func (l *epollConn) start() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.s.closed {
		return nil
	}
	return l.s.hub.pollers.in.arm(unix.EPOLL_CTL_ADD, l, comes)
}

func (l *epollConn) write(frames []byte) (taken, room bool, err error) {
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

// writeSome writes as much as there is room for.
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

// room writes the rest of a frame, and then calls session.writable.
func (l *epollConn) room(w *scratch) {
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

// readable reads a part of what has arrived. If there is more epoll reports it again, after
// other sessions have had their turn.
func (l *epollConn) readable(w *scratch) {
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
		if err := s.receiveBytes(w, w.read[:n]); err != nil {
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

// resume arms the poller for input again.
func (l *epollConn) resume() {
	if l.s.closed {
		return
	}
	if err := l.s.hub.pollers.in.arm(unix.EPOLL_CTL_MOD, l, comes); err != nil {
		panic(err) // cannot happen: the descriptor is open and registered
	}
}

func (l *epollConn) finish() { _ = unix.Shutdown(l.fd, unix.SHUT_WR) } // on error it is closed soon anyway

func (l *epollConn) close() { unix.Close(l.fd) }

func (l *epollConn) discard() {
	if unacked, err := unix.IoctlGetInt(l.fd, unix.SIOCOUTQ); err == nil && unacked > 0 {
		// On error the kernel keeps the bytes for a while.
		_ = unix.SetsockoptLinger(l.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
}

// lost reports whether TCP retransmits, or probes a peer without room, and nothing has come
// back for as long as a browser may be silent. A slow browser acknowledges. (TCP_USER_TIMEOUT,
// see tcp(7), would end slow ones as well.)
func (l *epollConn) lost() bool {
	info, err := unix.GetsockoptTCPInfo(l.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	silence := time.Duration(info.Last_ack_recv) * time.Millisecond
	cfg := l.s.hub.cfg
	return silence > cfg.Ping+cfg.Pong && (info.Unacked > 0 || info.Probes > 1)
}

// looks is how many times within Config.StallTimeout a session is examined to which something was
// written. Each time costs two system calls, too many for each sweep.
const looks = 8

// stalled compares what the browser's machine has acknowledged with the last time. A machine
// acknowledges while it has room, and the browser makes room by reading. This also covers
// bytes that only wait in our own kernel's buffer.
func (l *epollConn) stalled(now time.Time) bool {
	limit := l.s.hub.cfg.StallTimeout
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

// A poller is an epoll instance. Go's own poller waits for it, so that no thread has to.
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
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go's poller accepts it
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

// arm makes the poller report these events once. The session's mu must be held.
func (p *poller) arm(op int, l *epollConn, events uint32) error {
	return unix.EpollCtl(p.fd, op, l.fd, &unix.EpollEvent{
		Events: events | unix.EPOLLONESHOT,
		Fd:     int32(uint32(l.s.id)), Pad: int32(uint32(l.s.id >> 32)),
	})
}

// run passes events to the hub's workers until the poller is closed.
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
