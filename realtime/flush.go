package realtime

import (
	"sync"
	"time"

	"shelfcast/store"
)

// scratch is the memory that a worker reuses from one session to the next, so that sessions
// need none of their own.
type scratch struct {
	frames []byte // that are being put together
	picks  []pick
	read   [16 << 10]byte

	now time.Time // about

	deliveries, bytes, blocked, coalesced int // since the last report
	latencies                             latencies
}

// pick is a product of the page that is about to be sent.
type pick struct {
	at      int // of session.watching
	version int64
	text    []byte
	reset   bool
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// withScratch calls f with a scratch, and reports what f has counted in it.
func (h *Hub) withScratch(f func(*scratch)) {
	w := scratchPool.Get().(*scratch)
	defer func() {
		w.report(h)
		clear(w.picks[:cap(w.picks)])
		if cap(w.frames) <= 64<<10 {
			scratchPool.Put(w)
		}
	}()
	f(w)
}

// report adds the counts to the metrics, and resets them.
func (w *scratch) report(h *Hub) {
	if w.bytes > 0 {
		h.metrics.deliveries.Add(float64(w.deliveries))
		h.metrics.bytes.Add(float64(w.bytes))
	}
	if w.blocked+w.coalesced > 0 {
		h.metrics.blocked.Add(float64(w.blocked))
		h.metrics.coalescedSession.Add(float64(w.coalesced))
	}
	w.deliveries, w.bytes, w.blocked, w.coalesced = 0, 0, 0, 0
	h.metrics.propagation.take(&w.latencies)
}

// flush sends what there is to send, until there is nothing left or no room. It never
// blocks: what is not in memory is loaded, and sent when it is there.
func (s *session) flush(w *scratch) {
	w.now = time.Now()
	s.mu.Lock()
	err := s.flushOutbox(w)
	if err == nil && s.subscriber != nil {
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

// ready reports whether the session can be sent something. mu must be held.
func (s *session) ready() bool { return !s.blocked && !s.closing && !s.closed }

// flushOutbox sends what is in the outbox. mu must be held.
func (s *session) flushOutbox(w *scratch) error {
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
		s.conn.finish()
	}
	return nil
}

// FrameBytes bounds a frame, and an answer to a poll or for many fragments, except that the
// last fragment may exceed it. A page of some two hundred cards gets what was committed
// together in one frame; a larger page is updated in steps. It also bounds what is kept for
// a slow browser that has taken part of a frame.
const FrameBytes = 128 << 10

// gather adds to picks what the page lacks and memory has, and has the rest loaded. more
// reports whether it is more than one frame. mu must be held.
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
			continue // it is delivered together with the rest of its commit
		}
		if n, ok := s.hub.newsInMemory(t); !ok {
			s.hub.announce(t)
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

// newsInMemory returns the newest version of the topic, and false if its fragment is not in
// memory.
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

// deliver sends w.picks: as the frame given, or, if that is nil, as one made here. mu must
// be held, and the connection must have room.
func (s *session) deliver(w *scratch, framed []byte) error {
	if framed == nil || !s.speaks().sharesFrames() {
		w.frames = s.speaks().appendNews(w.frames[:0], s.mode, w.picks)
		framed = w.frames
	}
	taken, err := s.write(w, framed)
	if err != nil || !taken {
		return err
	}
	w.deliveries += len(w.picks)
	for _, p := range w.picks {
		if age, counts := s.latency(p.version, w.now); counts {
			w.latencies.add(age)
		}
		s.watching[p.at].shown = shown(p.version) | delivered | s.watching[p.at].shown&unchecked
	}
	return nil
}

// write writes frames. If they are not taken, what is newest by then is sent when the
// connection has room again. mu must be held.
func (s *session) write(w *scratch, frames []byte) (taken bool, err error) {
	taken, room, err := s.conn.write(frames)
	s.blocked = !room
	if taken {
		w.bytes += len(frames)
	}
	if !room {
		w.blocked++
	}
	return taken, err
}

// writable is called when the connection has room again.
func (s *session) writable(w *scratch) {
	s.mu.Lock()
	s.blocked = false
	s.mu.Unlock()
	s.flush(w)
}
