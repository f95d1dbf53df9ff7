package realtime

import (
	"time"

	"github.com/gobwas/ws"
)

// outboxBytes bounds what waits for one session apart from fragments, of which none waits. A browser that keeps the
// server answering and reads none of it is closed with 1008 (policy violation).
const outboxBytes = 64 << 10

// An outbox holds what is sent before all fragments. Only put and end change it.
type outbox struct {
	control []byte // errors, pings, the close frame
	pong    []byte // the answer to the browser's last ping; the others need none (RFC 6455, 5.5.3)
	echo    []byte // the answer to its last request that had a ping
}

// A lane is a part of an outbox.
type lane uint8

const (
	controlLane lane = iota // frames are sent in their order
	pongLane                // the latest replaces the one before
	echoLane                // likewise
)

// put adds frames. It returns false, and adds nothing, if more than outboxBytes would wait then.
func (o *outbox) put(to lane, frames []byte) bool {
	control, pong, echo := len(o.control), len(o.pong), len(o.echo)
	switch to {
	case controlLane:
		control += len(frames)
	case pongLane:
		pong = len(frames)
	case echoLane:
		echo = len(frames)
	}
	if control+pong+echo > outboxBytes {
		return false
	}
	switch to {
	case controlLane:
		o.control = append(o.control, frames...)
	case pongLane:
		o.pong = frames
	case echoLane:
		o.echo = frames
	}
	return true
}

// end adds the last frames, in place of all others if there is no room beside them.
func (o *outbox) end(frames []byte) {
	if !o.put(controlLane, frames) {
		*o = outbox{control: frames}
	}
}

// say puts frames into the outbox and sends it.
func (s *session) say(w *work, to lane, frames []byte) {
	s.mu.Lock()
	s.queue(to, frames)
	s.mu.Unlock()
	s.flush(w)
}

// last sends the last that this session says. The browser is to close the connection then, and has CloseTimeout for it.
func (s *session) last(w *work, why ending, frames []byte) {
	s.mu.Lock()
	s.conclude(why, frames)
	s.mu.Unlock()
	s.flush(w)
}

// queue needs mu held. It is the only way into the outbox but for the last frames, and so the bound holds for all that
// a session says.
func (s *session) queue(to lane, frames []byte) {
	if s.closing || s.closed {
		return
	}
	if s.out == nil {
		s.out = &outbox{}
	}
	if !s.out.put(to, frames) {
		s.hub.metrics.refusals.WithLabelValues("unread").Inc()
		s.conclude(endRefused, s.wire.end(ws.StatusPolicyViolation, "unread"))
	}
}

// conclude needs mu held.
func (s *session) conclude(why ending, frames []byte) {
	if s.closing || s.closed {
		return
	}
	if s.out == nil {
		s.out = &outbox{}
	}
	s.out.end(frames)
	s.ending, s.closing = why, true
	s.closeBy = time.Now().Add(s.hub.cfg.CloseTimeout).UnixNano()
}
