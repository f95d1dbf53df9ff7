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
			s.in = nil
			s.hold(0)
			s.refuse(w, refused)
			return nil
		}
		if err != nil { // more is to come
			break
		}
		payload := rest[:header.Length]
		data = rest[header.Length:]
		ws.Cipher(payload, header.Mask, 0)
		s.charge(0, 1)
		if refused := s.frame(w, in, header, payload); refused != nil {
			s.refuse(w, refused)
		}
		if s.over() {
			s.in = nil
			s.hold(0)
			return nil // what comes after the end is not read
		}
	}
	if len(data) == 0 && !in.fragmented {
		// Only a message that is whole is a sign of life, and so none takes
		// longer than a silence may.
		s.in = nil
		s.heard()
		s.hold(0)
		return nil
	}
	if !s.hold(len(data) + len(in.message)) {
		s.in = nil
		s.hold(0)
		s.refuse(w, &refusal{Code: "busy", Message: "too many browsers send messages in pieces", close: statusTryLater})
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
		s.say(w, pongLane, ws.MustCompileFrame(ws.NewPongFrame(payload)))
	case ws.OpPong:
	case ws.OpClose:
		s.hearClose(w, payload)
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

// heldBytes bounds what has come of messages in part, of all browsers together.
const heldBytes = 16 << 20

// hold counts the bytes that a browser has sent of a message, and says whether
// there is room for them.
func (s *session) hold(bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || int(s.held) == bytes {
		return true
	}
	more := int64(bytes) - int64(s.held)
	if s.hub.held.Add(more) > heldBytes && more > 0 {
		s.hub.held.Add(-more)
		return false
	}
	s.held = int32(bytes)
	return true
}

// hearClose answers a close frame (RFC 6455, 7.4): with its code, or with 1002 to
// a code that may not be in a frame, and 1007 to a reason that is not UTF-8. To an
// empty one it answers as the wire does.
func (s *session) hearClose(w *work, payload []byte) {
	if len(payload) == 0 {
		s.last(w, endLeft, s.wire.farewell())
		return
	}
	code, reason := ws.ParseCloseFrameData(payload)
	var refused *refusal
	switch {
	case len(payload) == 1 || !mayClose(code):
		refused = &refusal{Code: "protocol", close: ws.StatusProtocolError}
	case !utf8.ValidString(reason):
		refused = &refusal{Code: "bad_utf8", close: ws.StatusInvalidFramePayloadData}
	default:
		s.last(w, endLeft, s.wire.end(code, reason))
		return
	}
	// No error is said: a browser that has closed hears nothing but a close frame.
	s.hub.metrics.refusals.WithLabelValues(refused.Code).Inc()
	s.last(w, endRefused, s.wire.end(refused.close, refused.Code))
}

// mayClose reports whether a close frame may have that code: one of the RFC, of IANA's registry, of a library or of an
// application, and none that only says locally how a connection ended.
func mayClose(code ws.StatusCode) bool {
	return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code <= 4999
}
