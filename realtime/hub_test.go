package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"shelfcast/realtime/feed"
	"shelfcast/render"
	"shelfcast/store"
)

func TestWatchedChangeIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Notify)
		a.watch(rev(1, 10), rev(2, 10))
		b.watch(rev(2, 10))
		synctest.Wait()
		s.set(rev(2, 11))
		if len(h.Apply(rev(2, 11))) != 1 || h.Apply(rev(2, 11)) != nil || h.Apply(rev(2, 9)) != nil {
			t.Error("Apply returned the wrong news")
		}
		a.sees(rev(2, 11))
		b.sees(rev(2, 11))
		a.nothing()
		b.nothing()
		b.say(request{Unwatch: []int64{2}})
		synctest.Wait()
		s.set(rev(2, 12))
		h.Apply(rev(2, 12))
		a.sees(rev(2, 12))
		b.nothing()
	})
}

// Somebody loads the page of a new version, and so it is heard of, before the
// bus tells of it: those who watch are told all the same.
func TestObservedVersionIsStillDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Full)
		a.watch(rev(1, 10), rev(2, 10))
		b.watch(rev(1, 10))
		synctest.Wait()
		s.set(rev(1, 11))
		s.Observe(rev(1, 11))
		if h.Apply(rev(1, 11)) != nil {
			t.Error("an observed version was returned as news")
		}
		a.sees(rev(1, 11))
		b.sees(rev(1, 11))
	})
}

// A browser that does not read costs its two entries, and gets only the newest
// version of each product when it reads again. Nobody else waits for it, and it
// is not closed soon.
func TestSlowBrowserGetsOnlyNewestVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		slow, quick := join(t, h, Full), join(t, h, Full)
		slow.watch(rev(1, 10), rev(2, 10))
		quick.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		for version := int64(11); version <= 100; version++ {
			for id := int64(1); id <= 2; id++ {
				s.set(rev(id, version))
				h.Apply(rev(id, version))
				synctest.Wait() // until the slow one's first frame is on its way
				quick.sees(rev(id, version))
			}
		}
		time.Sleep(50 * time.Second) // the quick one answers no pings and is gone
		synctest.Wait()
		slow.sees(rev(1, 11)) // what was on its way when it stopped reading
		slow.sees(rev(1, 100), rev(2, 100))
		slow.nothing()
	})
}

// One that does not read, and goes on asking: what is kept for it has a bound.
func TestUnreadRepliesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		b := join(t, h, Full)
		b.watch(rev(1, 9), rev(2, 9)) // the answer stands in the way of all others
		for range 1000 {
			b.watch(rev(1, 9), rev(2, 9))
			b.say(map[string]int64{"ping": 7})
			if err := wsutil.WriteClientMessage(b.conn, ws.OpPing, make([]byte, 125)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		h.table.all(func(s *session) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.watching) != 2 || len(s.out.control) != 0 || len(s.out.pong) != 127 || len(s.out.echo) != 12 {
				t.Errorf("%d products, %d bytes of control frames, pongs of %d and %d",
					len(s.watching), len(s.out.control), len(s.out.pong), len(s.out.echo))
			}
		})
	})
}

// A fault of ours that one session meets ends that session.
func TestPanicEndsOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		s.panics = 3
		h := quietHub(t, s, Config{})
		unlucky, other := join(t, h, Full), join(t, h, Full)
		other.watch(rev(1, 10), rev(2, 10))
		unlucky.watch(rev(3, 1))
		if _, err := ws.ReadFrame(unlucky.conn); err != io.EOF {
			t.Errorf("got %v", err)
		}
		s.set(rev(2, 11))
		h.Apply(rev(2, 11))
		other.sees(rev(2, 11))
		synctest.Wait()
		if n := h.Sessions(); n != 1 {
			t.Errorf("%d sessions are left are left", n)
		}
	})
}

// What is committed between the question what is current and its answer is not
// lost: the page is registered before it is asked for.
func TestEditDuringJoinIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		read := s.hold()
		h := quietHub(t, s, Config{})
		b := join(t, h, Full)
		b.watch(rev(1, 10), rev(2, 9))
		<-read // what is current has been read
		s.set(rev(1, 11))
		h.Apply(rev(1, 11))
		read <- struct{}{}
		if got := b.both(); got[1] != 11 || got[2] != 10 {
			t.Errorf("got %v", got)
		}
	})
}

// While the database is away nothing is said and nobody is closed; what was
// asked for is had when it is back.
func TestFailedLoadsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{Retry: time.Second})
		joined := join(t, h, Full)
		joined.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		s.fail(errors.New("away"))
		late := join(t, h, Full)
		late.watch(rev(1, 9), rev(2, 10))
		s.set(rev(2, 11))
		h.Apply(rev(2, 11))
		time.Sleep(10 * time.Second)
		joined.nothing()
		late.nothing()
		s.fail(nil)
		joined.sees(rev(2, 11))
		if got := late.both(); got[1] != 10 || got[2] != 11 {
			t.Errorf("got %v", got)
		}
	})
}

// A database restored from a backup: what it has is what a page shows, on a
// page that comes and on one that is there.
func TestRestoredDatabaseIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 20), rev(2, 20))
		h := quietHub(t, s, Config{})
		there, notified := join(t, h, Full), join(t, h, Notify)
		there.watch(rev(1, 20), rev(2, 20))
		notified.watch(rev(1, 20))
		synctest.Wait()
		s.set(rev(1, 15))
		s.set(rev(2, 15))
		there.nothing()
		comes := join(t, h, Full)
		comes.watch(rev(1, 20))
		for _, b := range []*browser{there, notified, comes} {
			b.sees(rev(1, 15))
		}
		if err := h.Reconcile(t.Context(), h.Watched()); err != nil {
			t.Fatal(err)
		}
		there.sees(rev(2, 15)) // nobody has asked for it
		s.set(rev(1, 30))
		h.Apply(rev(1, 30))
		for _, b := range []*browser{there, notified, comes} {
			b.sees(rev(1, 30))
		}
	})
}

func TestReconcileRepairsLostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Full)
		a.watch(rev(1, 10), rev(2, 10))
		b.watch(rev(2, 10))
		synctest.Wait()
		s.set(rev(2, 11)) // nobody says so
		if err := h.Reconcile(t.Context(), h.Watched()); err != nil {
			t.Fatal(err)
		}
		a.sees(rev(2, 11))
		b.sees(rev(2, 11))
	})
}

func TestPingMessageIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{})
		for n, b := range []*browser{join(t, h, Full), join(t, h, Notify)} {
			b.say(map[string]int{"ping": n})
			if got, want := string(b.frame().Payload), fmt.Sprintf(`{"pong":%d}`, n); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func TestSilentBrowsersArePinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{Ping: 20 * time.Second, Pong: 10 * time.Second})
		alive, dead := join(t, h, Full), join(t, h, Full)
		for range 5 {
			if f := alive.frame(); f.Header.OpCode != ws.OpPing {
				t.Fatalf("got %v", f.Header.OpCode)
			}
			if err := wsutil.WriteClientMessage(alive.conn, ws.OpPong, nil); err != nil {
				t.Fatal(err)
			}
			if dead != nil {
				if f := dead.frame(); f.Header.OpCode != ws.OpPing {
					t.Fatalf("got %v", f.Header.OpCode)
				}
				if _, err := ws.ReadFrame(dead.conn); err != io.EOF {
					t.Errorf("the silent browser was pinged twice, or not closed: %v", err)
				}
				dead = nil
			}
		}
		if n := h.Sessions(); n != 1 {
			t.Errorf("%d sessions are left are left", n)
		}
	})
}

// One that does not read cannot answer: its silence says nothing, and when it reads
// again it has its time to answer.
func TestSlowBrowserIsPingedBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{Ping: 20 * time.Second, Pong: 10 * time.Second})
		unasked, asked := join(t, h, Full), join(t, h, Full)
		unasked.watch(rev(1, 10), rev(2, 10))
		synctest.Wait()
		s.set(rev(1, 11))
		h.Apply(rev(1, 11))
		time.Sleep(40 * time.Second) // the one has its ping to read, the other what is before it
		unasked.sees(rev(1, 11))
		for _, b := range []*browser{asked, unasked} {
			if f := b.frame(); f.Header.OpCode != ws.OpPing {
				t.Errorf("got %v %s", f.Header.OpCode, f.Payload)
			}
			time.Sleep(5 * time.Second)
			if err := wsutil.WriteClientMessage(b.conn, ws.OpPong, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if n := h.Sessions(); n != 2 {
			t.Errorf("%d sessions are left are left", n)
		}
		for _, b := range []*browser{asked, unasked} {
			if f := b.frame(); f.Header.OpCode != ws.OpPing {
				t.Errorf("got %v %s", f.Header.OpCode, f.Payload)
			}
			if _, err := ws.ReadFrame(b.conn); err != io.EOF {
				t.Errorf("the unanswering browser was pinged again, or not closed: %v", err)
			}
		}
	})
}

func TestFullHubRefusesSessionsUntilOneCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(rev(1, 10)), Config{MaxSessions: 2})
		first, _ := join(t, h, Full), join(t, h, Full)
		if err := h.Admits(); err != ErrFull {
			t.Errorf("got %v", err)
		}
		if err := h.Admit(netip.Addr{}); err != ErrFull {
			t.Errorf("got %v", err)
		}
		first.watch(rev(1, 10))
		synctest.Wait()
		first.conn.Close()
		synctest.Wait()
		if err := h.Admits(); err != nil || h.Sessions() != 1 || len(h.topics) != 0 {
			t.Errorf("%v, %d sessions, %d topics", err, h.Sessions(), len(h.topics))
		}
	})
}

// Sessions are closed with 1012 one after the other, and what is edited
// meanwhile is delivered to those that are still there.
func TestDrainIsSpreadAndDeliveriesContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10))
		h := quietHub(t, s, Config{})
		closed := make(chan time.Duration, 4)
		start := time.Now()
		saw := make(chan int64, 100)
		for range 4 {
			b := join(t, h, Full)
			b.watch(rev(1, 10))
			go func() {
				for {
					f, err := ws.ReadFrame(b.conn)
					if err != nil {
						return
					}
					if f.Header.OpCode == ws.OpText {
						saw <- 1
					}
					if code, _ := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode == ws.OpClose && code == 1012 {
						closed <- time.Since(start)
						b.conn.Close()
						return
					}
				}
			}()
		}
		synctest.Wait()
		done := make(chan struct{})
		go func() { defer close(done); h.Drain(t.Context(), 8*time.Second) }()
		time.Sleep(3 * time.Second) // two of four are closed, at 0 and 2 s
		if err := h.Admits(); err != ErrDraining {
			t.Errorf("got %v", err)
		}
		s.set(rev(1, 11))
		h.Apply(rev(1, 11))
		<-done
		for _, want := range []time.Duration{0, 2 * time.Second, 4 * time.Second, 6 * time.Second} {
			if got := <-closed; got != want {
				t.Errorf("closed after %v, want %v", got, want)
			}
		}
		if len(saw) != 2 {
			t.Errorf("%d saw the edit, want 2", len(saw))
		}
	})
}

// The feed finds what no message told of, reads an overlap again, and vouches
// for what is in memory only while it works.
func TestFeedFindsLostMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 5), rev(2, 5))
		h := quietHub(t, s, Config{})
		f := newFeed(s, h, feed.Config{})
		b := join(t, h, Full)
		b.watch(rev(1, 5), rev(2, 5))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		time.Sleep(10 * time.Millisecond)
		if f.Check(ctx) != nil || !s.vouched() {
			t.Error("after a successful read: Check failed, or memory is not trusted")
		}

		start := time.Now()
		edit := rev(2, time.Now().UnixMicro())
		s.set(edit)
		b.sees(edit)
		if late := time.Since(start); late > time.Second {
			t.Errorf("found %v after the commit", late)
		}
		// A transaction that took its version four seconds ago commits now.
		slow := rev(1, time.Now().Add(-4*time.Second).UnixMicro())
		s.set(slow)
		b.sees(slow)

		s.fail(errors.New("away"))
		time.Sleep(3 * time.Second)
		if f.Check(ctx) == nil || s.vouched() {
			t.Error("after a failed read: Check succeeded, or memory is still trusted")
		}
		again := rev(2, time.Now().UnixMicro())
		s.set(again)
		time.Sleep(10 * time.Second)
		s.fail(nil)
		b.sees(again)
		f.Ask() // does not wait
		f.Ask()
		b.conn.Close()
		cancel()
		<-ended
		for _, r := range []store.Rev{edit, slow, again} {
			if n := s.timesShared(r); n != 1 {
				t.Errorf("%v was shared %d times", r, n)
			}
		}
	})
}

// A database that comes back from a backup is found out at the next read,
// also if it is edited at once, and all pages have what it has.
func TestFeedDetectsRestore(t *testing.T) {
	for name, edited := range map[string]int64{"nobody edits": 0, "the newest is edited at once": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(rev(1, 5), rev(2, 5), rev(3, 5))
				h := quietHub(t, s, Config{})
				f := newFeed(s, h, feed.Config{})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { defer close(ended); f.Run(ctx) }()
				synctest.Wait()
				for id := int64(1); id <= 3; id++ {
					s.set(rev(id, time.Now().UnixMicro()))
					time.Sleep(2 * time.Second) // the feed has read it
				}
				there, notified := join(t, h, Full), join(t, h, Notify)
				there.watch(rev(1, 0), rev(2, 0))
				notified.watch(rev(1, 0))
				there.both()
				notified.next()
				time.Sleep(15 * time.Second) // what the feed reads again is later than the edits

				restored := time.Now()
				for id := int64(1); id <= 3; id++ {
					s.set(rev(id, 5))
				}
				if edited != 0 {
					s.set(rev(edited, time.Now().UnixMicro()))
				}
				if got := there.both(); got[1] != 5 || got[2] != 5 {
					t.Errorf("got %v", got)
				}
				notified.sees(rev(1, 5))
				if late := time.Since(restored); late > 2*time.Second {
					t.Errorf("rollback detected after %v", late)
				}
				time.Sleep(time.Second) // a comparison may have been first
				cancel()
				<-ended
				if !s.wasReset() {
					t.Error("lost versions are still queued for sharing")
				}
			})
		})
	}
}

func TestStuckHubIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := quietHub(t, newShop(), Config{})
		time.Sleep(time.Minute)
		if err := h.Alive(); err != nil {
			t.Errorf("Alive of an idle hub: %v", err)
		}
		s := &session{hub: h, blocked: true, conn: &stone{make(chan struct{})}}
		s.noteActivity()
		h.mu.Lock()
		h.table.add(s)
		h.mu.Unlock()
		time.Sleep(29 * time.Second)
		if err := h.Alive(); err != nil {
			t.Errorf("Alive before the limit: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := h.Alive(); err != ErrStuck {
			t.Errorf("Alive of a stuck hub: %v", err)
		}
		close(s.conn.(*stone).moved)
	})
}

// A stone is a link that does not come back.
type stone struct{ moved chan struct{} }

func (*stone) start() error                     { return nil }
func (*stone) write([]byte) (bool, bool, error) { return false, false, nil }
func (*stone) finish()                          {}
func (*stone) close()                           {}
func (*stone) discard()                         {}
func (*stone) resume()                          {}
func (*stone) stalled(time.Time) bool           { return false }
func (*stone) readable(*scratch)                {}
func (*stone) room(*scratch)                    {}
func (s *stone) lost() bool                     { <-s.moved; return true }

// How late a page was is measured for edits that were made while it was there,
// and by its own word once for each.
func TestPropagationLatencyIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(rev(1, 10), rev(2, 10))
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Notify)
		a.watch(rev(1, 0), rev(2, 0))
		b.watch(rev(1, 0))
		a.both()
		b.next()
		time.Sleep(time.Second)
		edit := rev(1, time.Now().UnixMicro())
		time.Sleep(3 * time.Second)
		s.set(edit)
		h.Apply(edit)
		a.sees(edit)
		b.sees(edit)
		time.Sleep(4 * time.Second)
		for _, said := range [][]store.Rev{
			{edit},                                  // true
			{edit},                                  // said before
			{rev(1, edit.Version+1), rev(2, 10)},    // was never sent; is older than the session
			{rev(3, edit.Version), rev(-1, -1), {}}, // is not watched
		} {
			a.say(request{Applied: said})
		}
		a.nothing()
		claimed := rev(2, time.Now().UnixMicro()-1) // in one breath with that the page shows it
		a.say(request{Watch: []Watch{{claimed, render.Card}}, Applied: []store.Rev{claimed}})
		a.sees(rev(2, 10))
		for name, c := range map[string]struct {
			of         prometheus.Metric
			count, sum int
		}{
			"fresh":   {h.metrics.propagation.metric(), 2, 6},
			"applied": {h.metrics.applied, 1, 7},
		} {
			var m dto.Metric
			if err := c.of.Write(&m); err != nil {
				t.Fatal(err)
			}
			if got := m.GetHistogram(); int(got.GetSampleCount()) != c.count ||
				math.Round(got.GetSampleSum()) != float64(c.sum) {
				t.Errorf("%s: %v, want %d of %d s together", name, got, c.count, c.sum)
			}
		}
	})
}

// An instance whose clock is off says how late pages are by the database's all the same.
func TestPropagationLatencyUsesDatabaseClock(t *testing.T) {
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(rev(1, 10), rev(2, 10))
			s.ahead = off
			h := quietHub(t, s, Config{})
			startFeed(t, s, h, feed.Config{})
			b := join(t, h, Full)
			b.watch(rev(1, 10), rev(2, 10))
			synctest.Wait()
			time.Sleep(3 * time.Second)
			edit := rev(1, time.Now().Add(off).UnixMicro())
			time.Sleep(200 * time.Millisecond)
			s.set(edit)
			h.Apply(edit)
			b.sees(edit)
			synctest.Wait()
			var m dto.Metric
			if err := h.metrics.propagation.metric().Write(&m); err != nil {
				t.Fatal(err)
			}
			if got := m.GetHistogram(); got.GetSampleCount() != 1 || math.Abs(got.GetSampleSum()-.2) > .01 {
				t.Errorf("with a clock that is off by %v: %d of %v s", off, got.GetSampleCount(), got.GetSampleSum())
			}
			if got := h.firehose.off(); (got - off).Abs() > time.Millisecond {
				t.Errorf("it says that its clock is off by %v, and it is by %v", got, off)
			}
			b.conn.Close()
		})
	}
}
