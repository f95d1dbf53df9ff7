package realtime

import (
	"time"

	"github.com/gobwas/ws"
)

// outboxBytes bounds what waits for one session. Fragments never wait. A browser that keeps
// making the server answer, and reads none of it, is closed with 1008 (policy violation).
const outboxBytes = 64 << 10

// An outbox holds what is sent before any fragments. Only put and end change it.
type outbox struct {
	control []byte // errors, pings, the close frame
	pong    []byte // the answer to the browser's latest ping; earlier ones need none (RFC 6455, 5.5.3)
	echo    []byte // the answer to its latest request with a ping
}

// A lane is a part of an outbox.
type lane uint8

const (
	controlLane lane = iota // frames are sent in their order
	pongLane                // the latest replaces the one before
	echoLane                // likewise
)

// put adds frames. It returns false and adds nothing if more than outboxBytes would wait.
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

// end adds the last frames. They replace all others if there is no room for both.
func (o *outbox) end(frames []byte) {
	if !o.put(controlLane, frames) {
		*o = outbox{control: frames}
	}
}

// send puts frames into the outbox and sends it.
func (s *session) send(w *scratch, to lane, frames []byte) {
	s.mu.Lock()
	s.queue(to, frames)
	s.mu.Unlock()
	s.flush(w)
}

// sendLast sends the last frames of the session. The browser then has Config.CloseTimeout to
// close the connection.
func (s *session) sendLast(w *scratch, why closeReason, frames []byte) {
	s.mu.Lock()
	s.queueLast(why, frames)
	s.mu.Unlock()
	s.flush(w)
}

// queue puts frames into the outbox, and ends the session if there is no room. Except for the
// last frames there is no other way into the outbox, so the bound always holds. mu must be
// held.
func (s *session) queue(to lane, frames []byte) {
	if s.closing || s.closed {
		return
	}
	if s.out == nil {
		s.out = &outbox{}
	}
	if !s.out.put(to, frames) {
		s.hub.metrics.refusals.WithLabelValues("unread").Inc()
		s.queueLast(refusedInput, s.speaks().end(ws.StatusPolicyViolation, "unread"))
	}
}

// queueLast puts the last frames into the outbox. mu must be held.
func (s *session) queueLast(why closeReason, frames []byte) {
	if s.closing || s.closed {
		return
	}
	if s.out == nil {
		s.out = &outbox{}
	}
	s.out.end(frames)
	s.closeReason, s.closing = why, true
	s.closeBy = time.Now().Add(s.hub.cfg.CloseTimeout).UnixNano()
}
