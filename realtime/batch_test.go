package realtime

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"shelfcast/realtime/feed"
	"shelfcast/store"
	"shelfcast/testkit"
)

// from has count products from that id on, at one version.
func from(id, count, version int64) []store.Rev {
	revs := make([]store.Rev, count)
	for i := range revs {
		revs[i] = rev(id+int64(i), version)
	}
	return revs
}

// commit has all of that in the database.
func (s *shop) commit(revs []store.Rev) []store.Rev {
	for _, r := range revs {
		s.set(r)
	}
	return revs
}

// settled waits until so many products are watched and were compared.
func settled(t *testing.T, h *Hub, products int) {
	t.Helper()
	testkit.Eventually(t, "all that is watched was compared", func() bool {
		n := 0
		h.mu.Lock()
		defer h.mu.Unlock()
		h.table.all(func(s *session) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, w := range s.watching {
				if w.shown&unchecked == 0 {
					n++
				}
			}
		})
		h.versionChecks.mu.Lock()
		defer h.versionChecks.mu.Unlock()
		return n == products && h.versionChecks.working == 0
	})
}

func (s *shop) filled() int { s.mu.Lock(); defer s.mu.Unlock(); return s.fills }

// A hundred products change in one commit, of which each page watches some: it
// is one frame for each, whatever it is sent, and nothing is fetched that nobody
// watches.
func TestBatchIsOneFramePerSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 101, 10)...)
		s.delay(100*time.Millisecond, 7)
		s.delay(300*time.Millisecond, 17)
		h := quietHub(t, s, Config{})
		a, b, c, d := join(t, h, Full), join(t, h, Full), join(t, h, Notify), join(t, h, Full)
		a.watch(from(1, 20, 10)...)
		b.watch(from(11, 30, 10)...)
		c.watch(from(1, 20, 10)...)
		d.watch(rev(101, 10))
		synctest.Wait()
		before := s.filled()
		all := s.commit(from(1, 100, 11))
		if news := h.Apply(all...); !slices.Equal(news, all) {
			t.Errorf("got %d news, want 100", len(news))
		}
		if news := h.Apply(append(all, rev(1, 9))...); len(news) != 0 {
			t.Errorf("%v are news twice", news)
		}
		c.sees(from(1, 20, 11)...) // needs no fragments, and does not wait for them
		a.sees(from(1, 20, 11)...)
		b.sees(from(11, 30, 11)...)
		for _, page := range []*browser{a, b, c, d} {
			page.nothing()
		}
		if n := s.filled() - before; n != 40 {
			t.Errorf("%d fragments were loaded, want 40", n)
		}
	})
}

// On sockets, with the bytes of real frames: a page of two hundred products has
// them in one frame, unless they are so large that it takes more.
func TestBatchOnLargePageUsesFewFrames(t *testing.T) {
	onBothLinks(t, func(t *testing.T, portable bool) {
		s := newShop(from(1, 200, 10)...)
		h := quietHub(t, s, Config{Portable: portable})
		door := openDoor(t, h)
		few, many := door.enter(t), door.enter(t)
		few.watch(from(1, 20, 10)...)
		many.watch(from(1, 200, 10)...)
		settled(t, h, 220)
		h.Apply(s.commit(from(1, 200, 11))...)
		few.sees(from(1, 20, 11)...)
		few.nothing()
		many.sees(from(1, 200, 11)...)
		many.nothing()

		s.mu.Lock()
		s.html = "<p>" + strings.Repeat("x", FrameBytes/60)
		s.mu.Unlock()
		h.Apply(s.commit(from(1, 200, 12))...)
		few.sees(from(1, 20, 12)...)
		many.collects(t, 200, 12, 60)
		few.nothing()
		many.nothing()
	})
}

// collects reads until it has that version of the products up to that one, in
// frames of so many at most.
func (b *browser) collects(t *testing.T, products, version int64, most int) {
	t.Helper()
	got := map[int64]int64{}
	for int64(len(got)) < products {
		frame := b.next()
		if len(frame) > most {
			t.Fatalf("a frame has %d products", len(frame))
		}
		for id, version := range frame {
			got[id] = version
		}
	}
	for id := int64(1); id <= products; id++ {
		if got[id] != version {
			t.Errorf("product %d is at %d", id, got[id])
		}
	}
}

// One fragment that cannot be had, one that meets a fault, and one that is slow
// to come: the others do not wait for them for long, and they come when they
// can be had. Nor does the next batch wait for the last one's.
func TestSlowFragmentDoesNotDelayBatch(t *testing.T) {
	for name, c := range map[string]struct {
		hinder func(s *shop)
		within time.Duration
	}{
		"broken": {func(s *shop) { s.broken = 7 }, 0},
		"fault":  {func(s *shop) { s.panics = 7 }, 0},
		"slow":   {func(s *shop) { s.delay(5*time.Second, 7) }, patience + time.Second/sweeps},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(from(1, 20, 10)...)
				h := quietHub(t, s, Config{Retry: time.Second})
				a, b := join(t, h, Full), join(t, h, Full)
				a.watch(from(1, 10, 10)...)
				b.watch(from(6, 10, 10)...)
				synctest.Wait()
				c.hinder(s)
				start := time.Now()
				h.Apply(s.commit(from(1, 20, 11))...)
				a.sees(without(from(1, 10, 11), 7)...)
				b.sees(without(from(6, 10, 11), 7)...)
				if late := time.Since(start); late > c.within {
					t.Errorf("the batch was delayed by %v", late)
				}
				synctest.Wait() // until both have room again, and look for what they lack
				start = time.Now()
				h.Apply(s.commit(from(1, 6, 12))...)
				a.sees(from(1, 6, 12)...)
				b.sees(rev(6, 12))
				if late := time.Since(start); late > 0 {
					t.Errorf("the next batch waited for %v", late)
				}
				s.mu.Lock()
				s.broken, s.panics = 0, 0
				s.mu.Unlock()
				a.sees(rev(7, 11))
				b.sees(rev(7, 11))
				if n := testutil.ToFloat64(h.metrics.stragglers); (n == 1) != (name == "slow") {
					t.Errorf("got %v stragglers", n)
				}
			})
		})
	}
}

func without(revs []store.Rev, id int64) []store.Rev {
	return slices.DeleteFunc(revs, func(r store.Rev) bool { return r.ID == id })
}

// What takes a while is told in pieces, and neither one by one nor at the end:
// two hundred watched products of which sixteen are had in a tenth of a second.
func TestLargeBatchIsDeliveredInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 200, 10)...)
		for id := range int64(200) {
			s.delay(100*time.Millisecond, id+1)
		}
		h := quietHub(t, s, Config{})
		a, b := join(t, h, Full), join(t, h, Full)
		a.watch(from(1, 200, 10)...)
		b.watch(from(1, 2, 10)...)
		synctest.Wait()
		s.commit(from(1, 200, 11))
		start := time.Now()
		h.Apply(from(1, 100, 11)...) // as two messages of one commit come
		h.Apply(from(101, 100, 11)...)
		frames, got := 0, 0
		for ; got < 200; frames++ {
			got += len(a.next())
			if late := time.Since(start); frames == 0 && late > 100*time.Millisecond+patience+time.Second/sweeps {
				t.Errorf("no delivery for %v", late)
			}
		}
		b.sees(from(1, 2, 11)...)
		a.nothing()
		// 13 times a tenth of a second, told after each 5 of them.
		if late := time.Since(start); got != 200 || frames > 4 || late > 1500*time.Millisecond {
			t.Errorf("%d products in %d frames, after %v", got, frames, late)
		}
	})
}

// The newest version wins, whatever it came with: twice in a batch, heard of
// before, edited while the batch is under way, or in the next batch.
func TestNewestVersionWinsOverBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 20, 10)...)
		h := quietHub(t, s, Config{})
		a, b, c := join(t, h, Full), join(t, h, Notify), join(t, h, Full)
		a.watch(without(from(1, 5, 10), 3)...)
		b.watch(from(1, 5, 10)...)
		c.watch(rev(3, 10), rev(6, 10))
		synctest.Wait()
		s.set(rev(1, 15))
		h.Apply(rev(1, 15))
		a.sees(rev(1, 15))
		b.sees(rev(1, 15))

		s.commit(from(2, 4, 12))
		before := s.filled()
		h.Apply(rev(1, 14), rev(2, 11), rev(2, 12), rev(2, 11), rev(3, 12))
		a.sees(rev(2, 12))
		b.sees(rev(2, 12), rev(3, 12))
		c.sees(rev(3, 12))
		synctest.Wait() // until all have room again, and look for what they lack
		if n := s.filled() - before; n != 2 {
			t.Errorf("%d fragments were loaded, want 2", n)
		}

		s.delay(200*time.Millisecond, 2)
		h.Apply(s.commit(from(2, 4, 20))...)
		b.sees(from(2, 4, 20)...)
		synctest.Wait() // all but the slow one are there
		s.set(rev(3, 21))
		h.Apply(rev(3, 21)) // waits for nothing
		c.sees(rev(3, 21))
		b.sees(rev(3, 21))
		synctest.Wait()
		h.Apply(s.commit(from(4, 2, 22))...) // joins the batch
		a.sees(rev(2, 20), rev(4, 22), rev(5, 22))
		b.sees(from(4, 2, 22)...)
		for _, page := range []*browser{a, b, c} {
			page.nothing()
		}
	})
}

// While the database is away nothing of a batch is lost, and when it is back it
// is one batch still.
func TestFailedBatchIsRetriedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 20, 10)...)
		h := quietHub(t, s, Config{Retry: time.Second})
		a, b := join(t, h, Full), join(t, h, Full)
		a.watch(from(1, 10, 10)...)
		b.watch(from(1, 20, 10)...)
		synctest.Wait()
		s.fail(context.DeadlineExceeded)
		h.Apply(s.commit(from(1, 20, 11))...)
		time.Sleep(10 * time.Second)
		s.fail(nil)
		s.delay(100*time.Millisecond, 7)
		a.sees(from(1, 10, 11)...)
		b.sees(from(1, 20, 11)...)
	})
}

// A hub that drains tells of batches, and one that has ended takes them without
// harm.
func TestBatchDuringAndAfterDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 20, 10)...)
		ctx, cancel := context.WithCancel(t.Context())
		h := NewHub(s, Config{Log: slog.New(slog.DiscardHandler)})
		ended := make(chan struct{})
		go func() { defer close(ended); h.Run(ctx) }()
		first, second := join(t, h, Full), join(t, h, Full)
		first.watch(from(1, 5, 10)...)
		second.watch(from(1, 5, 10)...)
		synctest.Wait()
		drained := make(chan struct{})
		go func() { defer close(drained); h.Drain(ctx, time.Minute) }()
		first.frame() // its close frame
		s.delay(300*time.Millisecond, 3)
		h.Apply(s.commit(from(1, 20, 11))...)
		second.sees(from(1, 5, 11)...)
		h.Apply(s.commit(from(1, 20, 12))...)
		cancel()
		<-drained
		<-ended
		if news := h.Apply(s.commit(from(1, 20, 13))...); len(news) != 20 {
			t.Errorf("%d are news", len(news))
		}
		if _, err := second.conn.Write(nil); err == nil {
			t.Error("the session is still open")
		}
	})
}

// The feed finds a commit of many products that no message told of, and tells
// of it in one frame too.
func TestFeedDeliversBatchInOneFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(from(1, 20, 5)...)
		h := quietHub(t, s, Config{})
		f := newFeed(s, h, feed.Config{})
		a, b := join(t, h, Full), join(t, h, Notify)
		a.watch(from(1, 10, 5)...)
		b.watch(from(6, 10, 5)...)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		time.Sleep(10 * time.Millisecond)
		s.delay(100*time.Millisecond, 8)
		version := time.Now().UnixMicro()
		edit := s.commit(from(1, 20, version))
		a.sees(from(1, 10, version)...)
		b.sees(from(6, 10, version)...)
		time.Sleep(3 * time.Second) // it reads them again
		a.nothing()
		b.nothing()
		cancel()
		<-ended
		for _, r := range edit {
			if n := s.timesShared(r); n != 1 {
				t.Errorf("%v was shared %d times", r, n)
			}
		}
		if n := f.metric(t, "shelfcast_feed_repaired_total"); n != 20 {
			t.Errorf("%v were news, want 20", n)
		}
	})
}
