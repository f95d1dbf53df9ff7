package realtime

import (
	"bytes"
	"cmp"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A connection reads and writes for a session. A worker calls session.receiveBytes with what
// arrives, and session.writable when there is room again. Whether a goroutine waits on each
// connection, or an epoll instance on all of them, is known here only.
type connection interface {
	// start begins to read. The session is in the hub's table.
	start() error
	// write takes these frames, all or none of them, and never blocks. room reports whether
	// there is room for more; if not, session.writable is called when there is. write does not
	// keep the slice. It is called with the session's mu held, as are finish and close, and
	// not after close.
	write(frames []byte) (taken, room bool, err error)
	// finish closes the writing side. Closing the connection while bytes from the browser are
	// unread would reset it, and the browser might never see the close frame.
	finish()
	// close closes the connection.
	close()
	// discard makes close drop what was written and not acknowledged. It is called with the
	// session's mu held.
	discard()
	// readable handles what has arrived. Workers call it, one at a time.
	readable(w *scratch)
	// room continues writing. A worker calls it.
	room(w *scratch)
	// lost reports whether a write is under way and the browser's machine does not answer. It
	// is called with the session's mu held.
	lost() bool
	// stalled reports whether something that was written waits and the browser's machine has
	// acknowledged no byte of it for Config.StallTimeout. The sweep calls it, with the session's mu
	// held.
	stalled(now time.Time) bool
	// resume continues reading, which readable stops while the session is over its budget. It
	// is called with the session's mu held.
	resume()
}

// goroutineConn reads in a goroutine of its own, and starts a second one only while there is
// something to write. It works on every system.
type goroutineConn struct {
	s    *session
	conn net.Conn

	// Passed back and forth between read and a worker.
	data []byte
	err  error
	done chan struct{}

	writing sync.Mutex   // held by the one writer; the next one waits for it
	moved   atomic.Int64 // when the write under way last made progress, in Unix nanoseconds; 0: there is none
}

func newGoroutineConn(s *session, conn net.Conn) *goroutineConn {
	return &goroutineConn{s: s, conn: conn, done: make(chan struct{})}
}

func (l *goroutineConn) start() error {
	if !l.s.hub.start(l.read) {
		return errClosed
	}
	return nil
}

// read reads until the connection ends, and passes what it reads to a worker: decoding it
// here would double the size of this goroutine's stack for good.
func (l *goroutineConn) read() {
	defer l.s.end()
	buffer := make([]byte, 512)
	for {
		n, err := l.conn.Read(buffer)
		if n > 0 {
			l.data = buffer[:n]
			if !l.s.hub.reads.add(ready{l.s, false}) {
				return
			}
			<-l.done
			err = cmp.Or(l.err, err)
			for l.waits() {
				time.Sleep(time.Second / sweeps)
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *goroutineConn) readable(w *scratch) {
	defer func() { l.done <- struct{}{} }()
	l.err = errClosed // in case of a panic
	l.err = l.s.receiveBytes(w, l.data)
}

// waits reports whether the session is over its budget.
func (l *goroutineConn) waits() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return !l.s.closed && l.s.overdrawn(time.Now())
}

func (*goroutineConn) resume() {} // read checks by itself

func (l *goroutineConn) write(frames []byte) (taken, room bool, err error) {
	frames = bytes.Clone(frames)
	started := l.s.hub.start(func() {
		l.writing.Lock()
		err := l.writeAll(frames)
		l.writing.Unlock()
		if err != nil {
			l.s.end()
			return
		}
		l.s.hub.reads.add(ready{l.s, true})
	})
	if !started {
		return false, false, errClosed
	}
	return true, false, nil
}

// piece is how many bytes a browser has to take for the write to count as making progress.
const piece = 4 << 10

func (l *goroutineConn) writeAll(frames []byte) error {
	defer l.moved.Store(0)
	for len(frames) > 0 {
		l.moved.Store(time.Now().UnixNano())
		n, err := l.conn.Write(frames[:min(len(frames), piece)])
		if err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}

func (l *goroutineConn) stalled(now time.Time) bool {
	moved := l.moved.Load()
	return moved != 0 && now.UnixNano()-moved > int64(l.s.hub.cfg.StallTimeout)
}

func (l *goroutineConn) room(w *scratch) { l.s.writable(w) }

func (l *goroutineConn) finish() {
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // on error it is closed soon anyway
	}
}

func (l *goroutineConn) close() { l.conn.Close() }

func (l *goroutineConn) discard() {
	if tcp, ok := l.conn.(interface{ SetLinger(int) error }); ok && l.moved.Load() != 0 {
		_ = tcp.SetLinger(0) // on error the kernel keeps the bytes for a while
	}
}

// lost is always false: TCP itself finds out, within about a quarter of an hour.
func (l *goroutineConn) lost() bool { return false }

// ready is a session whose connection has input, or room to write.
type ready struct {
	s    *session
	room bool
}

func (h *Hub) handle(r ready) {
	defer r.s.survive()
	h.withScratch(func(w *scratch) {
		if r.room {
			r.s.conn.room(w)
		} else {
			r.s.conn.readable(w)
		}
	})
}
