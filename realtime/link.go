package realtime

import (
	"bytes"
	"cmp"
	"net"
	"sync"
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
	// readable handles what has come. A worker calls it, one at a time.
	readable(w *work)
	// room goes on with writing. A worker calls it.
	room(w *work)
	// lost: a write is under way, and the browser's machine does not answer.
	// It is called with the session's mu held.
	lost() bool
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

	writing sync.Mutex // the one writer that there may be: a new one waits for the last to be through
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
		}
		if err != nil {
			return
		}
	}
}

func (l *blocking) readable(w *work) {
	defer func() { l.done <- struct{}{} }()
	l.err = errClosed // if there is a fault
	if l.s.over() {
		l.err = nil // until the browser closes the connection
		return
	}
	l.err = l.s.take(w, l.data)
}

func (l *blocking) write(frames []byte) (taken, room bool, err error) {
	frames = bytes.Clone(frames)
	started := l.s.hub.start(func() {
		l.writing.Lock()
		_, err := l.conn.Write(frames)
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

func (l *blocking) room(w *work) { l.s.writable(w) }

func (l *blocking) finish() {
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it is closed soon anyway
	}
}

func (l *blocking) close() { l.conn.Close() }

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
