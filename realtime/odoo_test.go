package realtime

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/store"
)

// Scenario 1 of what a real Odoo does: what of the recent changes a browser is
// told, by its last id.
func TestOdooCatchUpDependsOnLastID(t *testing.T) {
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
func TestOdooLateCommitIsDelivered(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		s.external[1] = store.OdooExternalID(101)
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
			if len(got) != 1 || got[0].Message.Payload.Product != 101 || got[0].Message.Payload.Version != late ||
				got[0].ID <= now {
				t.Errorf("got %+v", got)
			}
		}
		h.firehose.mu.Lock()
		if e := h.firehose.entries; len(e) != 2 || e[1].id != e[0].id+1 {
			t.Errorf("the late commit has no greater id of its own: %+v", e)
		}
		h.firehose.mu.Unlock()
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

// Whoever was away when a transaction committed that had taken long is told of it when it comes back, whoever told the
// instance; and so is one who comes for the first time then. Those who come later are not.
func TestOdooCatchUpIncludesLateCommit(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		come := func(last int64) *visitor {
			v := visit(t, h)
			v.last = last
			v.subscribe(last, "product_updates")
			return v
		}
		for id, tells := range map[int64]func(store.Rev){
			1: func(r store.Rev) { h.Apply(r) },
			2: func(r store.Rev) { h.ApplyLate([]store.Rev{r}, 0) },
		} {
			edit := rev(id, ago(0))
			time.Sleep(5 * time.Minute)
			s.set(rev(9, ago(0)))
			was := come(0)
			was.hears(9)
			was.conn.Close()
			time.Sleep(15 * time.Second)
			s.set(edit)
			tells(edit)
			come(was.last).hears(id, 9)
			come(0).hears(id, 9)
			time.Sleep(time.Minute)
			s.set(rev(9, ago(0)))
			come(0).hears(9)
			come(ago(0)).hears(9)
			time.Sleep(time.Hour)
		}
	})
}

// Late commits are known for an hour, and those of a second are one.
func TestOdooLateCommitsAreKeptForAnHour(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		c := &h.firehose
		for range 10_000 {
			c.noteLate(ago(time.Minute))
			c.noteLate(ago(time.Second)) // not late
			time.Sleep(time.Second)
		}
		if n := len(c.late); n > 3602 {
			t.Errorf("%d are kept", n)
		}
		for away, want := range map[time.Duration]int64{time.Hour: ago(time.Hour + 2*time.Minute), 0: ago(0),
			30 * time.Minute: ago(31*time.Minute + 2*time.Second)} {
			if from := ago(away); c.lookBack(from) > from || c.lookBack(from) < want {
				t.Errorf("away for %v: catch-up goes back %v", away, time.Duration(ago(0)-c.lookBack(from))*time.Microsecond)
			}
		}
	})
}

// Scenarios 2 and 3: each subscription is in place of the one before, in order,
// and a short one in between loses nothing and repeats nothing.
func TestOdooSubscriptionReplacesPrevious(t *testing.T) {
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
func TestOdooIgnoresOtherMessages(t *testing.T) {
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
		subscribe := []byte(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`)
		if err := wsutil.WriteClientMessage(w.conn, ws.OpBinary, subscribe); err != nil {
			t.Fatal(err)
		}
		w.hears(1)
	})
}

// A browser that does not read gets of each product the newest, when it reads
// again; and one that is too slow for the ring is brought back by one question.
func TestOdooSlowBrowserGetsNewestVersion(t *testing.T) {
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
			h.Apply(revs...)
			synctest.Wait()
			if got := quick.told(); len(got) != len(revs) {
				t.Fatalf("%d of %d in one frame", len(got), len(revs))
			}
		}
		slower.hears(1)
		got := slower.told()
		if len(got) != maxCatchUp || got[len(got)-1].Message.Payload.Product != 100+many-1 {
			t.Errorf("%d, at last %+v", len(got), got[len(got)-1])
		}
		if again := s.asked() - asked; again != 1 {
			t.Errorf("got %d database queries", again)
		}
		change(2)
		slower.hears(2)
		quick.hears(2)
	})
}

// What the database has said before the bus is told those who were there, too.
func TestOdooReadVersionIsStillDelivered(t *testing.T) {
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
func TestOdooSurvivesOutageAndRestore(t *testing.T) {
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
		if err := h.Reconcile(t.Context(), h.Watched()); err != nil {
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
func TestOdooChangeIsRedelivered(t *testing.T) {
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
				t.Errorf("redelivered: %v", again)
			}
		}
		time.Sleep(10 * time.Second)
		a.nothing()
		b.nothing()
	})
}

// What was committed together comes in one frame, and a thousand who wait for the
// same are one question and one frame.
func TestOdooBatchIsOneFrameAndStormOneQuery(t *testing.T) {
	inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
		first := visit(t, h)
		first.subscribe(0, "product_updates")
		first.nothing()
		read := s.hold()
		var all []*visitor
		for range 100 {
			v := visit(t, h)
			v.subscribe(ago(0), "product_updates")
			all = append(all, v)
			synctest.Wait() // or the first question is for more than the first of them
		}
		asked := s.asked()
		revs := []store.Rev{rev(1, ago(0)), rev(2, ago(0)), rev(3, ago(0))}
		for _, r := range revs {
			s.set(r)
		}
		for range 2 { // the first of them was being answered
			<-read
			read <- struct{}{}
		}
		synctest.Wait()
		if again := s.asked() - asked; again != 1 {
			t.Errorf("got %d database queries", again)
		}
		h.Apply(revs...)
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
