package realtime

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/store"
)

// A visitor is a browser of an Odoo storefront.
type visitor struct {
	*browser
	last int64 // id that it has had
}

func visit(t testing.TB, h *Hub) *visitor {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	if err := h.Adopt(server, Join{Wire: Odoo}); err != nil {
		t.Fatal(err)
	}
	return &visitor{browser: &browser{t, client}}
}

func (v *visitor) text(text string) {
	v.t.Helper()
	if err := wsutil.WriteClientText(v.conn, []byte(text)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) subscribe(last int64, channels ...string) {
	v.t.Helper()
	list, _ := json.Marshal(append([]string{}, channels...))
	v.text(fmt.Sprintf(`{"event_name":"subscribe","data":{"channels":%s,"last":%d}}`, list, last))
}

// notification is one of Odoo's.
type notification struct {
	ID      int64
	Message struct {
		Type    string
		Payload struct {
			Product int64 `json:"product_tmpl_id"`
			Version int64
		}
	}
}

// told has the next frame, whose ids rise above all before.
func (v *visitor) told() (all []notification) {
	v.t.Helper()
	f := v.frame()
	if f.Header.OpCode != ws.OpText {
		v.t.Fatalf("%v %q", f.Header.OpCode, f.Payload)
	}
	if err := json.Unmarshal(f.Payload, &all); err != nil || len(all) == 0 {
		v.t.Fatalf("%v: %s", err, f.Payload)
	}
	for _, n := range all {
		if n.ID <= v.last || n.ID >= 1<<53 {
			v.t.Errorf("id %d after %d", n.ID, v.last)
		}
		v.last = n.ID
	}
	return all
}

// hears the products of the next frame, in this order.
func (v *visitor) hears(want ...int64) {
	v.t.Helper()
	var got []int64
	for _, n := range v.told() {
		got = append(got, n.Message.Payload.Product)
	}
	if !slices.Equal(got, want) {
		v.t.Errorf("got %v, want %v", got, want)
	}
}

// odooShop has the hub and feed of a shop, in a bubble in which it is not 2000.
func odooShop(t *testing.T, s *shop, again time.Duration) *Hub {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)))
	h := quietHub(t, s, Config{Odoo: OdooConfig{Changes: s, Again: again}})
	f := NewFeed(s, h, noSharer{}, FeedConfig{Reconcile: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return h
}

type noSharer struct{}

func (noSharer) Share(context.Context, []store.Rev) error { return nil }
func (noSharer) Forget()                                  {}

// ago is a version that was made so long ago.
func ago(d time.Duration) int64 { return time.Now().Add(-d).UnixMicro() }

func inOdoo(t *testing.T, f func(t *testing.T, s *shop, h *Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		h := odooShop(t, s, -1)
		f(t, s, h)
	})
}

// Scenario 1 of what a real Odoo does: what of the recent changes a browser is
// told, by its last id.
func TestOdooABrowserIsToldWhatItMissed(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		var versions []int64
		for id := int64(5); id <= 12; id++ { // 5 is too long ago
			versions = append(versions, ago(60*time.Second-time.Duration(id-5)*8*time.Second+3*time.Second))
		}
		versions[0] = ago(70 * time.Second)
		versions[1] = ago(49 * time.Second)
		for i, version := range versions {
			s.set(rev(int64(i)+5, version))
		}
		all := []int64{6, 7, 8, 9, 10, 11, 12}
		for name, last := range map[string]int64{
			"none": 0, "a real Odoo's": 900_000, "10^9": 1_000_000_000, "too high": 1<<53 - 1, "negative": -1,
		} {
			v := visit(t, h)
			v.subscribe(last, "product_updates")
			got := v.told()
			var ids []int64
			for _, n := range got {
				ids = append(ids, n.Message.Payload.Product)
				if n.Message.Type != "notification" || n.ID != n.Message.Payload.Version {
					t.Errorf("%s: %+v", name, n)
				}
			}
			if !slices.Equal(ids, all) {
				t.Errorf("%s: %v", name, ids)
			}
			v.subscribe(1, "product_updates")
			v.nothing()
		}
		v := visit(t, h)
		v.subscribe(versions[2], "product_updates") // 7, and 6 may have come late
		v.last = versions[2]
		var ids []int64
		for _, n := range v.told() {
			ids = append(ids, n.Message.Payload.Product)
		}
		if !slices.Equal(ids[len(ids)-5:], []int64{8, 9, 10, 11, 12}) || len(ids) > 7 {
			t.Errorf("after 7: %v", ids)
		}
		time.Sleep(3 * time.Second) // the feed has read several times
		v.nothing()
	})
}

// A change that commits late has a version below what the browser has had. It is
// told all the same, with an id above, now and to whoever comes back.
func TestOdooALateCommitIsTold(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		s.external[1] = store.FromOdoo(101)
		a, b := visit(t, h), visit(t, h)
		a.subscribe(0, "product_updates")
		b.subscribe(0, "product_updates")
		synctest.Wait()
		late, now := ago(5*time.Second), ago(0)
		s.set(rev(2, now))
		h.Apply(rev(2, now))
		a.hears(2)
		b.hears(2)
		s.set(rev(1, late))
		h.Apply(rev(1, late))
		for _, v := range []*visitor{a, b} {
			got := v.told()
			if len(got) != 1 || got[0].Message.Payload.Product != 101 || got[0].Message.Payload.Version != late || got[0].ID <= now {
				t.Errorf("got %+v", got)
			}
		}
		h.channel.mu.Lock()
		if e := h.channel.entries; len(e) != 2 || e[1].id != e[0].id+1 {
			t.Errorf("the late one has no id of its own that is above, for all: %+v", e)
		}
		h.channel.mu.Unlock()
		c := visit(t, h) // it had 2, elsewhere
		c.last = now
		c.subscribe(now, "product_updates")
		c.hears(101, 2)
		time.Sleep(3 * time.Second)
		for _, v := range []*visitor{a, b, c} {
			v.nothing()
		}
	})
}

// Scenarios 2 and 3: each subscription is in place of the one before, in order,
// and a short one in between loses nothing and repeats nothing.
func TestOdooSubscriptionsInOrder(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		change := func(id int64) {
			version := ago(0)
			s.set(rev(id, version))
			h.Apply(rev(id, version))
			time.Sleep(time.Millisecond)
		}
		a, b := visit(t, h), visit(t, h)
		for _, channels := range [][]string{{"product_updates", "x2"}, {"product_updates"}, {"product_updates", "x2"}} {
			a.subscribe(0, channels...)
		}
		b.subscribe(0, "product_updates")
		b.nothing()
		synctest.Wait()
		b.subscribe(30) // []
		synctest.Wait()
		change(1)
		a.hears(1)
		b.nothing()
		time.Sleep(15 * time.Second) // for longer than a return goes back
		if err := h.Broadcast("bundle_changed", []byte(`{"server_version":"é"}`)); err != nil {
			t.Fatal(err)
		}
		for _, v := range []*visitor{a, b} {
			if got := v.told(); len(got) != 1 || got[0].Message.Type != "bundle_changed" {
				t.Errorf("got %+v", got)
			}
		}
		b.subscribe(0, "product_updates") // the broadcast in between has lost nothing
		b.hears(1)
		c := visit(t, h)
		c.subscribe(0, "other")
		synctest.Wait()
		change(2)
		a.hears(2)
		b.hears(2)
		c.nothing()
		d := visit(t, h) // has not subscribed
		if err := h.Broadcast("x", []byte(`null`)); err == nil {
			t.Error("null was broadcast")
		}
		d.nothing()
	})
}

// What is no subscription is passed over.
func TestOdooSilence(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		s.set(rev(1, ago(time.Second)))
		v, w := visit(t, h), visit(t, h)
		for _, text := range []string{
			`{"event_name":"update_presence","data":{"inactivity_period":331,"im_status_ids_by_model":{}}}`,
			`{"event_name":"foo","data":{"a":1}}`, `{bad`, `[]`, `"x"`, `{"a":1}`, `{"event_name":"subscribe"}`, ``, `null`,
			`{"event_name":"subscribe","data":null}`, `{"event_name":"subscribe","data":{"channels":["product_updates"]}}`,
			`{"event_name":"subscribe","data":{"last":0}}`, `{"event_name":"subscribe","data":{"channels":null,"last":0}}`,
			`{"event_name":"subscribe","data":{"channels":["product_updates",7],"last":0}}`,
			`{"event_name":"subscribe","data":{"channels":["product_updates",null],"last":0}}`,
			`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":null}}`,
			`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":"0"}}`,
			`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":1.5}}`,
			`{"event_name":"subscribe","data":"x"}`, `{"event_name":7,"data":{}}`, strings.Repeat("[", 20_000),
		} {
			v.text(text)
			v.nothing()
		}
		v.text(`{"event_name":"subscribe","data":{"channels":["A","a","product_updates"],"last":99999999999999999999}}`)
		v.hears(1)
		if err := wsutil.WriteClientMessage(w.conn, ws.OpBinary, []byte(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`)); err != nil {
			t.Fatal(err)
		}
		w.hears(1)
	})
}

// A browser that does not read gets of each product the newest, when it reads
// again; and one that is too slow for the ring is brought back by one question.
func TestOdooASlowBrowser(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		slow, slower, quick := visit(t, h), visit(t, h), visit(t, h)
		for _, v := range []*visitor{slow, slower, quick} {
			v.subscribe(0, "product_updates")
			v.nothing()
		}
		synctest.Wait()
		change := func(id int64) {
			version := ago(0)
			s.set(rev(id, version))
			h.Apply(rev(id, version))
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		change(1)
		quick.hears(1)
		for range 3 {
			change(2)
			quick.hears(2)
			change(3)
			quick.hears(3)
		}
		slow.hears(1)
		slow.hears(2, 3)
		asked := s.asked()
		const many = ringSize + 10
		for id := int64(0); id < many; { // slower has yet to read the first
			var revs []store.Rev
			for ; len(revs) < 500 && id < many; id++ {
				revs = append(revs, rev(100+id, ago(0)))
				s.set(revs[len(revs)-1])
				time.Sleep(time.Microsecond)
			}
			h.ApplyAll(revs)
			synctest.Wait()
			if got := quick.told(); len(got) != len(revs) {
				t.Fatalf("%d of %d in one frame", len(got), len(revs))
			}
		}
		slower.hears(1)
		got := slower.told()
		if len(got) != odooMost || got[len(got)-1].Message.Payload.Product != 100+many-1 {
			t.Errorf("%d, at last %+v", len(got), got[len(got)-1])
		}
		if again := s.asked() - asked; again != 1 {
			t.Errorf("the database was asked %d times", again)
		}
		change(2)
		slower.hears(2)
		quick.hears(2)
	})
}

// What the database has said before the bus is told those who were there, too.
func TestOdooAReadIsNewsForTheOthers(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		a, b := visit(t, h), visit(t, h)
		a.subscribe(0, "product_updates")
		a.nothing()
		synctest.Wait()
		version := ago(0)
		s.set(rev(1, version)) // nobody says so
		b.subscribe(0, "product_updates")
		b.hears(1)
		a.hears(1)
		h.Apply(rev(1, version))
		b.hears(1) // twice, as it came while it asked
		a.nothing()
		b.nothing()
	})
}

// A database that is away is asked again, and one that was restored is what is
// told.
func TestOdooTheDatabaseMayGoAndBeRestored(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		before, lost := ago(30*time.Second), ago(time.Second)
		s.set(rev(1, lost))
		s.fail(errors.New("away"))
		a, b := visit(t, h), visit(t, h)
		a.subscribe(0, "product_updates")
		b.subscribe(0, "product_updates")
		a.nothing()
		s.fail(nil)
		a.hears(1)
		b.hears(1)
		s.set(rev(1, before))
		if err := h.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, v := range []*visitor{a, b} {
			if got := v.told(); len(got) != 1 || got[0].Message.Payload.Version != before {
				t.Errorf("got %+v", got)
			}
		}
	})
}

// The stock client asks once when it is told, of an instance that may not have
// heard, and not again if that fails: it is told twice, of the newest only.
func TestOdooAChangeIsToldOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		h := odooShop(t, s, 3*time.Second)
		s.set(rev(9, ago(time.Second)))
		s.set(rev(8, ago(20*time.Second)))
		a, b := visit(t, h), visit(t, h)
		a.subscribe(0, "product_updates")
		a.hears(8, 9)
		b.subscribe(0, "product_updates")
		b.hears(8, 9)
		change := func(id int64) {
			version := ago(0)
			s.set(rev(id, version))
			h.Apply(rev(id, version))
			a.hears(id)
			b.hears(id)
			time.Sleep(time.Second)
		}
		change(1) // at 0 s
		change(2)
		change(1) // at 2 s: the first is not told once more
		for _, v := range []*visitor{a, b} {
			var again []int64
			for len(again) < 3 { // 9 was quite new at the first read, and 8 was not
				for _, n := range v.told() {
					again = append(again, n.Message.Payload.Product)
				}
			}
			if !slices.Equal(again, []int64{9, 2, 1}) {
				t.Errorf("once more: %v", again)
			}
		}
		time.Sleep(10 * time.Second)
		a.nothing()
		b.nothing()
	})
}

// What was committed together comes in one frame, and a thousand who wait for the
// same are one question and one frame.
func TestOdooBatchesAndStorms(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		first := visit(t, h)
		first.subscribe(0, "product_updates")
		first.nothing()
		s.read = make(chan struct{})
		var all []*visitor
		for range 100 {
			v := visit(t, h)
			v.subscribe(ago(0), "product_updates")
			all = append(all, v)
		}
		synctest.Wait()
		asked := s.asked()
		revs := []store.Rev{rev(1, ago(0)), rev(2, ago(0)), rev(3, ago(0))}
		for _, r := range revs {
			s.set(r)
		}
		for range 2 { // the first of them was being answered
			<-s.read
			s.read <- struct{}{}
		}
		synctest.Wait()
		if again := s.asked() - asked; again != 1 {
			t.Errorf("asked %d times", again)
		}
		h.ApplyAll(revs)
		for _, v := range append(all, first) {
			got := map[int64]bool{}
			for len(got) < 3 {
				for _, n := range v.told() {
					got[n.Message.Payload.Product] = true
				}
			}
		}
	})
}

// Scenarios 5 and 6.
func TestOdooCloses(t *testing.T) {
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
		"too long":     {ws.NewTextFrame(make([]byte, odooMessage+1)), 1009, "too_large"},
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
				if h.Sessions() != 0 || h.held.Load() != 0 || len(h.channel.followers) != 0 {
					t.Errorf("%d sessions, %d bytes, %d followers are left", h.Sessions(), h.held.Load(), len(h.channel.followers))
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
func TestOdooPartsOfMessagesAreBounded(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		half := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(make([]byte, odooMessage))))[:odooMessage]
		var all []*visitor
		for n := range odooHeld/odooMessage + 1 {
			v := visit(t, h)
			all = append(all, v)
			go func() { _, _ = v.conn.Write(half) }()
			if n < odooHeld/odooMessage-1 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := h.held.Load(); got > odooHeld {
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
		if closed == 0 || closed > 2 || h.held.Load() != 0 {
			t.Errorf("%d were closed, %d bytes are left", closed, h.held.Load())
		}
	})
}
