package realtime

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

// Scenarios 5 and 6.
func TestOdooCloseCodes(t *testing.T) {
	closing := func(code uint16, reason string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	for name, c := range map[string]struct {
		frame  ws.Frame
		code   ws.StatusCode
		reason string
	}{
		"empty":        {ws.NewCloseFrame(nil), 1000, ""},
		"away":         {ws.NewCloseFrame(closing(1001, "")), 1001, ""},
		"own":          {ws.NewCloseFrame(closing(4000, "so long")), 4000, "so long"},
		"one byte":     {ws.NewCloseFrame([]byte{3}), 1002, "protocol"},
		"999":          {ws.NewCloseFrame(closing(999, "")), 1002, "protocol"},
		"1005":         {ws.NewCloseFrame(closing(1005, "")), 1002, "protocol"},
		"1006":         {ws.NewCloseFrame(closing(1006, "")), 1002, "protocol"},
		"1015":         {ws.NewCloseFrame(closing(1015, "")), 1002, "protocol"},
		"5000":         {ws.NewCloseFrame(closing(5000, "")), 1002, "protocol"},
		"bad utf8":     {ws.NewTextFrame([]byte("\xff")), 1007, "bad_utf8"},
		"bad reason":   {ws.NewCloseFrame(closing(1000, "\xff")), 1007, "bad_utf8"},
		"stray":        {ws.NewFrame(ws.OpContinuation, true, []byte("x")), 1002, "protocol"},
		"opcode":       {ws.NewFrame(ws.OpCode(3), true, []byte("x")), 1002, "protocol"},
		"long control": {ws.NewFrame(ws.OpPing, true, make([]byte, 126)), 1002, "protocol"},
		"too long":     {ws.NewTextFrame(make([]byte, maxOdooMessage+1)), 1009, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
				v := visit(t, h)
				v.subscribe(0, "product_updates")
				go func() { _ = ws.WriteFrame(v.conn, ws.MaskFrame(c.frame)) }()
				f := v.frame()
				code, reason := ws.ParseCloseFrameData(f.Payload)
				if f.Header.OpCode != ws.OpClose || code != c.code || reason != c.reason {
					t.Errorf("%v %d %q", f.Header.OpCode, code, reason)
				}
				v.conn.Close()
				synctest.Wait()
				if h.Sessions() != 0 || h.partialBytes.Load() != 0 || len(h.firehose.subscribers) != 0 {
					t.Errorf("%d sessions, %d bytes, %d followers are left",
						h.Sessions(), h.partialBytes.Load(), len(h.firehose.subscribers))
				}
			})
		})
	}
	t.Run("silence", func(t *testing.T) {
		inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
			v, began := visit(t, h), time.Now()
			if f := v.frame(); f.Header.OpCode != ws.OpPing || len(f.Payload) > 0 || time.Since(began) > 45*time.Second {
				t.Errorf("%v %q after %v", f.Header.OpCode, f.Payload, time.Since(began))
			}
			if _, err := ws.ReadFrame(v.conn); err == nil || time.Since(began) > 90*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("drain", func(t *testing.T) {
		inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
			a, b := visit(t, h), visit(t, h)
			ended := make(chan struct{})
			go func() { defer close(ended); h.Drain(t.Context(), time.Minute) }()
			var at []time.Time
			for _, v := range []*visitor{a, b} {
				f := v.frame()
				for f.Header.OpCode == ws.OpPing {
					f = v.frame()
				}
				if code, reason := ws.ParseCloseFrameData(f.Payload); code != 4002 || reason != "" {
					t.Errorf("%d %q", code, reason)
				}
				at = append(at, time.Now())
				v.conn.Close()
			}
			<-ended
			if spread := at[1].Sub(at[0]); spread < 20*time.Second {
				t.Errorf("closed within %v", spread)
			}
		})
	})
}

// What comes in part is bounded, over all browsers.
func TestOdooPartialMessagesAreBounded(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		half := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(make([]byte, maxOdooMessage))))[:maxOdooMessage]
		var all []*visitor
		for n := range maxPartialBytes/maxOdooMessage + 1 {
			v := visit(t, h)
			all = append(all, v)
			go func() { _, _ = v.conn.Write(half) }()
			if n < maxPartialBytes/maxOdooMessage-1 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := h.partialBytes.Load(); got > maxPartialBytes {
			t.Errorf("%d bytes", got)
		}
		closed := 0
		for _, v := range all {
			_ = v.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if f, err := ws.ReadFrame(v.conn); err == nil {
				if code, _ := ws.ParseCloseFrameData(f.Payload); code != 1013 {
					t.Errorf("closed with %d", code)
				}
				closed++
			}
			v.conn.Close()
		}
		synctest.Wait()
		if closed == 0 || closed > 2 || h.partialBytes.Load() != 0 {
			t.Errorf("%d were closed, %d bytes are left", closed, h.partialBytes.Load())
		}
	})
}
