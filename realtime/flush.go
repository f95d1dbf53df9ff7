package realtime

import (
	"sync"
	"time"

	"shelfcast/store"
)

// work is what whoever works for one session after the other takes along, so
// that a session needs no memory of its own for it.
type work struct {
	frames []byte // that are being put together
	picks  []pick
	read   [16 << 10]byte

	now time.Time // about

	deliveries, bytes, blocked, passedOver int // since the last report
	ages                                   ages
}

// pick is a product of the page that is to be sent.
type pick struct {
	at      int // of session.watching
	version int64
	text    []byte
	reset   bool
}

var works = sync.Pool{New: func() any { return new(work) }}

// withWork lends f what it works with.
func (h *Hub) withWork(f func(*work)) {
	w := works.Get().(*work)
	defer func() {
		w.report(h)
		clear(w.picks[:cap(w.picks)])
		if cap(w.frames) <= 64<<10 {
			works.Put(w)
		}
	}()
	f(w)
}

// report counts what was done since it was last called.
func (w *work) report(h *Hub) {
	if w.bytes > 0 {
		h.metrics.deliveries.Add(float64(w.deliveries))
		h.metrics.bytes.Add(float64(w.bytes))
	}
	if w.blocked+w.passedOver > 0 {
		h.metrics.blocked.Add(float64(w.blocked))
		h.metrics.passedOver.Add(float64(w.passedOver))
	}
	w.deliveries, w.bytes, w.blocked, w.passedOver = 0, 0, 0, 0
	h.metrics.fresh.take(&w.ages)
}

// flush sends what there is to send, until there is nothing or no room. It
// never blocks: what is not in memory is fetched, and sent when it is there.
func (s *session) flush(w *work) {
	w.now = time.Now()
	s.mu.Lock()
	err := s.flushOutbox(w)
	if err == nil && s.follower != nil {
		err = s.catchUp(w)
	}
	for err == nil && s.ready() {
		var more bool
		if w.picks, more = s.gather(w.picks[:0]); len(w.picks) == 0 {
			break
		}
		if err = s.deliver(w, nil); !more {
			break
		}
	}
	if err != nil {
		s.close()
	}
	s.mu.Unlock()
	if err != nil {
		s.hub.remove(s)
	}
}

// ready needs mu held.
func (s *session) ready() bool { return !s.blocked && !s.closing && !s.closed }

// flushOutbox needs mu held.
func (s *session) flushOutbox(w *work) error {
	if s.closed || s.blocked || s.finished {
		return nil
	}
	if o := s.out; o != nil {
		w.frames = append(append(append(w.frames[:0], o.pong...), o.echo...), o.control...)
		taken, err := s.write(w, w.frames)
		if err != nil || !taken {
			return err
		}
		s.out = nil
	}
	if s.closing && !s.blocked {
		s.finished = true
		s.link.finish()
	}
	return nil
}

// FrameBytes bounds a frame, and an answer to a poll or for many fragments, but for
// the last fragment in it: a page of some two hundred cards has in one what was
// committed together, and one of more is brought up to date step by step. What a
// browser that is slow does not take of a frame is kept for it.
const FrameBytes = 128 << 10

// gather needs mu held. It has what the page lacks and memory has, and has the
// rest fetched. More says that it is more than a frame full.
func (s *session) gather(picks []pick) (_ []pick, more bool) {
	size := 0
	for i, watched := range s.watching {
		if !watched.stale() {
			continue
		}
		if size >= FrameBytes {
			return picks, true
		}
		t := watched.topic
		if s.hub.batch.has(t) {
			continue // it comes with the rest of what was committed with it
		}
		if n, ok := s.hub.newsInMemory(t); !ok {
			s.hub.tell(t)
		} else if watched.takes(n.version) {
			picks = append(picks, watched.pick(i, n))
			size += len(n.text)
		}
	}
	return picks, false
}

func (w watched) pick(at int, n news) pick {
	return pick{at, n.version, n.text, n.version < w.shown.version()}
}

// newsInMemory has the newest version of the topic, if it can be had at once.
func (h *Hub) newsInMemory(t *topic) (news, bool) {
	want := store.Rev{ID: t.id, Version: t.newest.Load()}
	if t.kind.mode == Notify {
		return newsOf(t, want.Version, nil), true
	}
	f := h.fragments.Cached(t.kind.view, want)
	if f == nil {
		return news{}, false
	}
	return newsOf(t, f.Version, f), true
}

// deliver needs mu held, and that the link has room. It sends w.picks: as they
// are framed already, or, if framed is nil, in a frame made here.
func (s *session) deliver(w *work, framed []byte) error {
	if framed == nil || s.wire != WebSocket {
		w.frames = s.wire.appendFrame(w.frames[:0], s.mode, w.picks)
		framed = w.frames
	}
	taken, err := s.write(w, framed)
	if err != nil || !taken {
		return err
	}
	w.deliveries += len(w.picks)
	for _, p := range w.picks {
		if age, counts := s.fresh(p.version, w.now); counts {
			w.ages.add(age)
		}
		s.watching[p.at].shown = shown(p.version) | ours | s.watching[p.at].shown&unasked
	}
	return nil
}

// write needs mu held. What was not taken is to be sent anew when the link has
// room, or rather what there is to send by then.
func (s *session) write(w *work, frames []byte) (taken bool, err error) {
	taken, room, err := s.link.write(frames)
	s.blocked = !room
	if taken {
		w.bytes += len(frames)
	}
	if !room {
		w.blocked++
	}
	return taken, err
}

// writable: the link has room again.
func (s *session) writable(w *work) {
	s.mu.Lock()
	s.blocked = false
	s.mu.Unlock()
	s.flush(w)
}
