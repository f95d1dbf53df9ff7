package realtime

import (
	"bytes"
	"cmp"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A link drives the connection of a session: it has session.take called for
// what comes, by a worker, and session.writable when it has room again. Whether
// a goroutine waits on each connection or a poller on all of them is its affair
// alone.
type link interface {
	// start begins to read. The session is in the hub's table.
	start() error
	// write sends these frames: all of them, or none. If there is no room left
	// after them, the session is called when there is. It never blocks, and
	// does not keep the slice. It is called with the session's mu held, as are
	// finish and close, and not after close.
	write(frames []byte) (taken, room bool, err error)
	// finish says that nothing more is written. Closing at once, with bytes
	// unread, would reset the connection, and the browser might never see the
	// close frame.
	finish()
	// close closes the connection.
	close()
	// discard has close discard what was written and not taken. It is called
	// with the session's mu held.
	discard()
	// readable handles what has come. A worker calls it, one at a time.
	readable(w *work)
	// room goes on with writing. A worker calls it.
	room(w *work)
	// lost: a write is under way, and the browser's machine does not answer.
	// It is called with the session's mu held.
	lost() bool
	// stalled reports whether something that was written waits, and the
	// browser's machine has taken no byte of it for Config.Stall. The sweep
	// calls it, with the session's mu held.
	stalled(now time.Time) bool
	// resume goes on with reading, which readable has let be because the
	// session was overdrawn. It is called with the session's mu held.
	resume()
}

// blocking is the link with one goroutine a session that waits in read, and a
// second one only while there is something to write. It works everywhere.
type blocking struct {
	s    *session
	conn net.Conn

	// Passed to and fro between read and a worker.
	data []byte
	err  error
	done chan struct{}

	writing sync.Mutex   // the one writer that there may be: a new one waits for the last to be through
	moved   atomic.Int64 // when some of what is being written was last taken, in Unix nanoseconds; 0: nothing is written
}

func newBlocking(s *session, conn net.Conn) *blocking {
	return &blocking{s: s, conn: conn, done: make(chan struct{})}
}

func (l *blocking) start() error {
	if !l.s.hub.start(l.read) {
		return errClosed
	}
	return nil
}

// read reads until the connection ends. It hands on what it reads: decoding it
// here would make the stack of this goroutine twice as large, for good.
func (l *blocking) read() {
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

func (l *blocking) readable(w *work) {
	defer func() { l.done <- struct{}{} }()
	l.err = errClosed // if there is a fault
	l.err = l.s.arrived(w, l.data)
}

// waits reports whether nothing is to be read yet.
func (l *blocking) waits() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return !l.s.closed && l.s.overdrawn(time.Now())
}

func (*blocking) resume() {} // it looks for itself

func (l *blocking) write(frames []byte) (taken, room bool, err error) {
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

// piece is how much a browser has to take to be seen to take anything.
const piece = 4 << 10

func (l *blocking) writeAll(frames []byte) error {
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

func (l *blocking) stalled(now time.Time) bool {
	moved := l.moved.Load()
	return moved != 0 && now.UnixNano()-moved > int64(l.s.hub.cfg.Stall)
}

func (l *blocking) room(w *work) { l.s.writable(w) }

func (l *blocking) finish() {
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it is closed soon anyway
	}
}

func (l *blocking) close() { l.conn.Close() }

func (l *blocking) discard() {
	if tcp, ok := l.conn.(interface{ SetLinger(int) error }); ok && l.moved.Load() != 0 {
		_ = tcp.SetLinger(0) // or it takes a while
	}
}

// lost: TCP finds out, in a quarter of an hour or so.
func (l *blocking) lost() bool { return false }

// ready is a session whose connection has brought something, or has room.
type ready struct {
	s    *session
	room bool
}

func (h *Hub) handle(r ready) {
	defer r.s.survive()
	h.withWork(func(w *work) {
		if r.room {
			r.s.link.room(w)
		} else {
			r.s.link.readable(w)
		}
	})
}
