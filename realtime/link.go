package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A link drives a session: it reads the connection and gives messages to
// session.receive, and calls session.flush after a wake. Whether a goroutine
// waits on each connection or a poller on all of them is its affair alone.
type link interface {
	// wake asks for a flush. It never blocks, and may be called by anybody.
	wake()
	// close closes the connection, which ends the session.
	close()
}

// blocking is the link with one goroutine a session that waits in read, and a
// second one only while there is something to write.
type blocking struct {
	s *session

	// Guarded by mu.
	mu       sync.Mutex
	awake    bool // to look again before the writer ends
	flushing bool // the writer runs
	closed   bool
	timer    *time.Timer // of later; nil if there was none
}

func (l *blocking) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = true
	if l.flushing || l.closed {
		return
	}
	l.flushing = true
	l.s.hub.running.Go(l.write)
}

// write flushes until nobody has called wake meanwhile.
func (l *blocking) write() {
	defer l.survive()
	for {
		l.mu.Lock()
		if !l.awake || l.closed {
			l.flushing = false
			l.mu.Unlock()
			return
		}
		l.awake = false
		l.mu.Unlock()

		ctx, cancel := context.WithTimeout(context.Background(), l.s.hub.cfg.FlushTimeout)
		err := l.s.flush(ctx)
		cancel()
		switch {
		case errors.Is(err, errAgain):
			l.later(l.s.hub.cfg.Retry, l.wake)
		case errors.Is(err, errLast):
			// Closing now, with bytes unread, would reset the connection, and
			// the browser might never see the close frame.
			if half, ok := l.s.conn.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
			l.later(l.s.hub.cfg.CloseTimeout, l.close)
			return
		case err != nil:
			l.close()
		}
	}
}

// later has f called after d, unless the connection is closed before.
func (l *blocking) later(d time.Duration, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(d, f)
}

func (l *blocking) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.s.conn.Close()
}

// survive keeps a fault of ours that one session meets from ending all others.
func (l *blocking) survive() {
	if fault := recover(); fault != nil {
		l.s.hub.metrics.faults.Inc()
		l.s.hub.log.Error("a session met a fault, and is closed", "fault", fault, "stack", string(debug.Stack()))
		l.close()
	}
}

// read reads messages until the connection ends.
func (l *blocking) read() {
	defer l.s.hub.remove(l.s)
	defer l.close()
	defer l.survive()
	for {
		message, err := l.message()
		if err == nil {
			if refused := l.s.receive(message); refused != nil {
				err = refused
			}
		}
		if refused, ok := errors.AsType[*refusal](err); ok {
			l.s.refuse(refused)
			if refused.close == 0 {
				continue
			}
			_, _ = io.Copy(io.Discard, l.s.conn)
			return
		}
		if err != nil {
			return
		}
	}
}

// message reads the next message, answering control frames on the way. What
// breaks RFC 6455 or our limits is a *refusal.
func (l *blocking) message() ([]byte, error) {
	var message []byte
	state := ws.StateServerSide
	for {
		header, err := ws.ReadHeader(l.s.conn)
		if err != nil {
			return nil, err
		}
		l.s.heard()
		if err := ws.CheckHeader(header, state); err != nil {
			return nil, &refusal{Code: "protocol", Message: err.Error(), close: ws.StatusProtocolError}
		}
		limit := l.s.hub.cfg.MaxFrame
		if header.Length > int64(limit-len(message)) {
			return nil, &refusal{Code: "too_large", Message: fmt.Sprintf("a message has at most %d bytes", limit), close: ws.StatusMessageTooBig}
		}
		payload, err := l.payload(header)
		if err != nil {
			return nil, err
		}
		switch header.OpCode {
		case ws.OpPing:
			l.s.answer(payload)
		case ws.OpPong:
		case ws.OpClose:
			l.s.say(ws.MustCompileFrame(ws.NewCloseFrame(payload[:min(len(payload), 2)])), true)
			return nil, io.EOF
		case ws.OpBinary:
			return nil, &refusal{Code: "binary", Message: "frames are JSON text", close: ws.StatusUnsupportedData}
		default:
			message = append(message, payload...)
			if header.Fin {
				if !utf8.Valid(message) {
					return nil, &refusal{Code: "bad_utf8", Message: "the frame is not UTF-8", close: ws.StatusInvalidFramePayloadData}
				}
				return message, nil
			}
			state = state.Set(ws.StateFragmented)
		}
	}
}

// payload reads what the header announced, which must come without delay.
func (l *blocking) payload(header ws.Header) ([]byte, error) {
	if header.Length == 0 {
		return nil, nil
	}
	l.s.conn.SetReadDeadline(time.Now().Add(l.s.hub.cfg.FrameTimeout))
	payload := make([]byte, header.Length)
	if _, err := io.ReadFull(l.s.conn, payload); err != nil {
		return nil, err
	}
	l.s.conn.SetReadDeadline(time.Time{})
	ws.Cipher(payload, header.Mask, 0)
	return payload, nil
}
