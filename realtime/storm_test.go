package realtime

import (
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/render"
)

// A thousand browsers come back while the database thinks: they are a few
// questions, and none at all of what memory knows for certain.
func TestReconnectStormSharesQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10), rev(3, 10))
		read := s.hold()
		h := quietHub(t, s, Config{})
		for _, r := range []int64{1, 2} {
			h.Apply(rev(r, 10))
		}
		s.TrustUntil(time.Now().Add(time.Hour), time.Time{})
		var all []*browser
		for range 1000 {
			b := join(t, h, Notify)
			b.watch(rev(1, 9), rev(2, 10))
			b.sees(rev(1, 10)) // while the database is silent
			b.watch(rev(3, 9))
			all = append(all, b)
		}
		synctest.Wait()
		for range 2 { // the first one's question, and that of all others
			<-read
			read <- struct{}{}
		}
		for _, b := range all {
			b.sees(rev(3, 10))
		}
		if s.asked() != 2 {
			t.Errorf("got %d database queries", s.asked())
		}
	})
}

// While the database is away, a hundred sessions that wait ask once a second,
// together.
func TestRetriesDuringOutageAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		s.fail(errors.New("away"))
		h := quietHub(t, s, Config{Retry: time.Second})
		var all []*browser
		for range 100 {
			b := join(t, h, Full)
			b.watch(rev(1, 9), rev(2, 10))
			all = append(all, b)
		}
		synctest.Wait()
		before := s.asked()
		time.Sleep(10 * time.Second)
		if n := s.asked() - before; n < 9 || n > 11 {
			t.Errorf("got %d database queries in 10 s", n)
		}
		s.fail(nil)
		for _, b := range all {
			b.sees(rev(1, 10))
			b.nothing()
		}
	})
}

// A page that asks again, with a newer version, while an older answer is on its
// way is not taken back to it.
func TestOldCheckResultIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		if _, err := s.Fragment(t.Context(), render.Card, rev(1, 10)); err != nil { // which is in memory then
			t.Fatal(err)
		}
		read := s.hold()
		h := quietHub(t, s, Config{})
		b := join(t, h, Full)
		b.watch(rev(1, 10), rev(2, 9))
		<-read // the database has been read: 10
		s.set(rev(1, 11))
		b.watch(rev(1, 11)) // the page has 11 from elsewhere, and this instance has not heard of it
		synctest.Wait()
		read <- struct{}{}
		<-read
		read <- struct{}{}
		b.sees(rev(2, 10))
		b.nothing()
	})
}

func TestJoinRateIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{JoinRate: 100})
		for second := range 3 {
			admitted, refused := 0, 0
			for range 1000 {
				switch h.Admit(netip.Addr{}) {
				case nil:
					admitted++
				case ErrRate:
					refused++
				}
				time.Sleep(time.Millisecond)
			}
			most := 100
			if second == 0 {
				most += 25 // at once
			}
			if admitted < most-1 || admitted > most+1 || refused == 0 {
				t.Errorf("%d admitted and %d refused in a second", admitted, refused)
			}
		}
		if h.Admits() != nil {
			t.Error("Admits fails at the join rate")
		}
	})
}

// Sessions of an age are closed, and not all at once.
func TestSessionsCloseAtMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{MaxAge: time.Hour, Ping: 24 * time.Hour})
		start := time.Now()
		ages := map[time.Duration]bool{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 10 {
			b := join(t, h, Full)
			all.Go(func() {
				f := b.frame()
				if code, _ := ws.ParseCloseFrameData(f.Payload); code != 1012 {
					t.Errorf("got %v", code)
				}
				mu.Lock()
				defer mu.Unlock()
				ages[time.Since(start).Round(time.Second)] = true
				b.conn.Close()
			})
		}
		all.Wait()
		for age := range ages {
			if age < 45*time.Minute || age > 61*time.Minute {
				t.Errorf("closed after %v", age)
			}
		}
		if len(ages) < 5 {
			t.Errorf("ten sessions ended at %d times", len(ages))
		}
	})
}

// A frame that never ends is no sign of life.
func TestEndlessFrameIsNotActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{Ping: 20 * time.Second, Pong: 10 * time.Second})
		drips, alive := join(t, h, Full), join(t, h, Full)
		var all sync.WaitGroup
		all.Go(func() {
			for next := []byte{0x81, 0xFE, 0x03, 0xE8}; ; next = []byte{0} {
				if _, err := drips.conn.Write(next); err != nil {
					return
				}
				time.Sleep(5 * time.Second)
			}
		})
		all.Go(func() { io.Copy(io.Discard, drips.conn) })
		for range 3 {
			if f := alive.frame(); f.Header.OpCode != ws.OpPing {
				t.Errorf("got %v", f.Header.OpCode)
			}
			alive.say(map[string]int{"ping": 1})
			alive.frame()
		}
		if n := h.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		drips.conn.Close()
		all.Wait()
	})
}
