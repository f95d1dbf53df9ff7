package realtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// inbound is what has arrived of a message that is not complete yet.
type inbound struct {
	raw        []byte // of a frame
	message    []byte // the frames before it
	fragmented bool
}

// webSocket is shelfcast.v1 over a WebSocket (RFC 6455).
type webSocket struct{}

func (webSocket) name() string            { return "websocket" }
func (webSocket) byteCost() time.Duration { return byteCost }

func (p webSocket) receive(s *session, w *scratch, data []byte) error {
	return s.receiveFrames(p, w, data)
}

func (webSocket) maxMessage(cfg *Config) int { return cfg.MaxFrame }
func (webSocket) takesBinary() bool          { return false }

func (webSocket) message(s *session, w *scratch, text []byte) *refusal { return s.request(text, w) }

func (webSocket) appendNews(to []byte, mode Mode, picks []pick) []byte {
	return appendFrame(to, mode, picks)
}

func (webSocket) sharesFrames() bool { return true }

func (p webSocket) refusal(r *refusal) (frames []byte, last bool) {
	frames = ws.MustCompileFrame(ws.NewTextFrame(r.text()))
	if r.close == 0 {
		return frames, false
	}
	return append(frames, p.end(r.close, r.Code)...), true
}

func (webSocket) ping() (frames []byte, answered bool) { return pingFrame, true }

func (webSocket) end(code ws.StatusCode, reason string) []byte { return closeFrame(code, reason) }
func (p webSocket) restart() []byte                            { return p.end(statusRestart, "service restart") }

// closeEcho answers a close frame without a code with another one.
func (webSocket) closeEcho() []byte { return ws.MustCompileFrame(ws.NewCloseFrame(nil)) }

var pingFrame = ws.MustCompileFrame(ws.NewPingFrame(nil))

func closeFrame(code ws.StatusCode, reason string) []byte {
	return ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason)))
}

// framed is a protocol whose messages are those of a WebSocket.
type framed interface {
	protocol
	maxMessage(*Config) int // bytes
	takesBinary() bool      // as if it were text
	message(s *session, w *scratch, text []byte) *refusal
	closeEcho() []byte // the answer to a close frame without a code
}

// receiveFrames handles any number of frames, or a part of one: see protocol.receive.
func (s *session) receiveFrames(p framed, w *scratch, data []byte) error {
	in := s.in
	if in == nil {
		in = &inbound{}
	}
	ours := len(in.raw) > 0 // what data is in
	if ours {
		data = append(in.raw, data...)
	}
	for {
		header, rest, err := s.header(p, in, data)
		if refused, ok := errors.AsType[*refusal](err); ok {
			s.in = nil
			s.accountPartial(0)
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
		if refused := s.frame(p, w, in, header, payload); refused != nil {
			s.refuse(w, refused)
		}
		if s.over() {
			s.in = nil
			s.accountPartial(0)
			return nil // what comes after the end is not read
		}
	}
	if len(data) == 0 && !in.fragmented {
		// Only complete messages count as activity, so that none takes longer than a browser
		// may be silent.
		s.in = nil
		s.noteActivity()
		s.accountPartial(0)
		return nil
	}
	if !ours || cap(data) > 4*len(data) {
		data = bytes.Clone(data)
	}
	if !s.accountPartial(cap(data) + cap(in.message)) {
		s.in = nil
		s.accountPartial(0)
		s.refuse(w, &refusal{Code: "busy", Message: "too many incomplete messages are being received", close: statusTryLater})
		return nil
	}
	in.raw = data
	s.in = in
	return nil
}

// over reports whether the session's last frames are queued or sent.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.closed
}

var errMore = errors.New("the frame is not complete yet")

// header reads the header of the next frame, whose payload is at the beginning of rest.
// Errors: errMore, and a *refusal for what breaks RFC 6455 or our limits.
func (s *session) header(p framed, in *inbound, data []byte) (h ws.Header, rest []byte, err error) {
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
	limit := p.maxMessage(&s.hub.cfg)
	if h.Length > int64(limit-len(in.message)) {
		return h, nil, &refusal{Code: "too_large", Message: fmt.Sprintf("a message has at most %d bytes", limit),
			close: ws.StatusMessageTooBig}
	}
	rest = data[len(data)-r.Len():]
	if int64(len(rest)) < h.Length {
		return h, nil, errMore
	}
	return h, rest, nil
}

// frame handles one frame.
func (s *session) frame(p framed, w *scratch, in *inbound, h ws.Header, payload []byte) *refusal {
	code := h.OpCode
	if p.takesBinary() && code == ws.OpBinary {
		code = ws.OpText
	}
	switch code {
	case ws.OpPing:
		s.send(w, pongLane, ws.MustCompileFrame(ws.NewPongFrame(payload)))
	case ws.OpPong:
	case ws.OpClose:
		s.handleClose(p, w, payload)
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
		return p.message(s, w, message)
	}
	return nil
}

// maxPartialBytes bounds the memory of partial messages, of all browsers together.
const maxPartialBytes = 16 << 20

// accountPartial counts the memory of the session's partial message, and reports whether there
// is room for it.
func (s *session) accountPartial(bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || int(s.partialBytes) == bytes {
		return true
	}
	more := int64(bytes) - int64(s.partialBytes)
	if s.hub.partialBytes.Add(more) > maxPartialBytes && more > 0 {
		s.hub.partialBytes.Add(-more)
		return false
	}
	s.partialBytes = int32(bytes)
	return true
}

// handleClose answers a close frame (RFC 6455, 7.4): with its code, or with 1002 to
// a code that may not be in a frame, and 1007 to a reason that is not UTF-8. To an
// empty one it answers as the wire does.
func (s *session) handleClose(p framed, w *scratch, payload []byte) {
	if len(payload) == 0 {
		s.sendLast(w, closedByClient, p.closeEcho())
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
		s.sendLast(w, closedByClient, p.end(code, reason))
		return
	}
	// No error is said: a browser that has closed hears nothing but a close frame.
	s.hub.metrics.refusals.WithLabelValues(refused.Code).Inc()
	s.sendLast(w, refusedInput, p.end(refused.close, refused.Code))
}

// mayClose reports whether a close frame may have that code: one of the RFC, of IANA's registry, of a library or of an
// application, and none that only says locally how a connection ended.
func mayClose(code ws.StatusCode) bool {
	return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code <= 4999
}
