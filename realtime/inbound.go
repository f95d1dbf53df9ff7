package realtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// inbound is what has come of a message that is not whole yet.
type inbound struct {
	raw        []byte // of a frame
	message    []byte // the frames before it
	fragmented bool
}

// take handles what the connection has brought: any number of frames, or a part
// of one. Data is the caller's again afterwards. An error ends the connection.
func (s *session) take(w *work, data []byte) error {
	if s.wire == EventStream {
		return nil // it has said all in its request
	}
	in := s.in
	if in == nil {
		in = &inbound{}
	}
	ours := len(in.raw) > 0 // what data is in
	if ours {
		data = append(in.raw, data...)
	}
	for {
		header, rest, err := s.header(in, data)
		if refused, ok := errors.AsType[*refusal](err); ok {
			s.refuse(w, refused)
			return nil
		}
		if err != nil { // more is to come
			break
		}
		payload := rest[:header.Length]
		data = rest[header.Length:]
		ws.Cipher(payload, header.Mask, 0)
		if refused := s.frame(w, in, header, payload); refused != nil {
			s.refuse(w, refused)
		}
		if s.over() {
			s.in = nil
			return nil // what comes after the end is not read
		}
	}
	if len(data) == 0 && !in.fragmented {
		// Only a message that is whole is a sign of life, and so none takes
		// longer than a silence may.
		s.in = nil
		s.heard()
		if s.follower != nil && s.follower.held > 0 {
			s.hold(0)
		}
		return nil
	}
	if s.follower != nil && !s.hold(int64(len(data)+len(in.message))) {
		s.refuse(w, &refusal{Code: "busy", close: statusTryLater})
		s.in = nil
		return nil
	}
	if !ours || cap(data) > 4*len(data) {
		data = bytes.Clone(data)
	}
	in.raw = data
	s.in = in
	return nil
}

// over: the session has said its last.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.closed
}

var errMore = errors.New("the frame has not come whole")

// header reads the header of the next frame, whose payload is at the beginning
// of rest. What breaks RFC 6455 or our limits is a *refusal.
func (s *session) header(in *inbound, data []byte) (h ws.Header, rest []byte, err error) {
	r := bytes.NewReader(data)
	if h, err = ws.ReadHeader(r); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h, nil, errMore
	}
	state := ws.StateServerSide
	if in.fragmented {
		state = state.Set(ws.StateFragmented)
	}
	if err == nil {
		err = ws.CheckHeader(h, state)
	}
	if err != nil {
		return h, nil, &refusal{Code: "protocol", Message: err.Error(), close: ws.StatusProtocolError}
	}
	limit := s.hub.cfg.MaxFrame
	if s.wire == Odoo {
		limit = odooMessage
	}
	if h.Length > int64(limit-len(in.message)) {
		return h, nil, &refusal{Code: "too_large", Message: fmt.Sprintf("a message has at most %d bytes", limit), close: ws.StatusMessageTooBig}
	}
	rest = data[len(data)-r.Len():]
	if int64(len(rest)) < h.Length {
		return h, nil, errMore
	}
	return h, rest, nil
}

// frame handles one frame.
func (s *session) frame(w *work, in *inbound, h ws.Header, payload []byte) *refusal {
	code := h.OpCode
	if s.wire == Odoo && code == ws.OpBinary {
		code = ws.OpText // the same JSON
	}
	switch code {
	case ws.OpPing:
		s.say(w, func(o *outbox) { o.pong = ws.MustCompileFrame(ws.NewPongFrame(payload)) })
	case ws.OpPong:
	case ws.OpClose:
		if s.wire == Odoo {
			return s.closed16(w, payload)
		}
		s.last(w, endLeft, ws.MustCompileFrame(ws.NewCloseFrame(payload[:min(len(payload), 2)])))
	case ws.OpBinary:
		return &refusal{Code: "binary", Message: "frames are JSON text", close: ws.StatusUnsupportedData}
	default:
		message := payload
		if in.fragmented || !h.Fin {
			in.message = append(in.message, payload...)
			message = in.message
		}
		if in.fragmented = !h.Fin; in.fragmented {
			return nil
		}
		in.message = nil
		if !utf8.Valid(message) {
			return &refusal{Code: "bad_utf8", Message: "the frame is not UTF-8", close: ws.StatusInvalidFramePayloadData}
		}
		return s.receive(message, w)
	}
	return nil
}
