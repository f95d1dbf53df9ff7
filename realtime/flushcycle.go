package realtime

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"shelfcast/internal/tracing"
	"shelfcast/render"
	"shelfcast/store"
)

// news is one version of a topic, made once for everyone who watches it.
type news struct {
	topic       *topic
	version     int64
	redelivered bool       // it was delivered before: see redelivery and noteSkipped
	text        []byte     // an element of a frame's list; shared, never changed
	trace       *editTrace // of the edit; nil: not traced
	frame       []byte     // for a session that gets only this; made by the flush cycle
}

// newsOf returns the news of a version. f is nil for sessions that are not sent fragments.
func newsOf(t *topic, version int64, f *render.Fragment) news {
	if t.onFirehose {
		return firehoseNews(t, f)
	}
	if f == nil {
		return news{topic: t, version: version, text: changedText(t, version)}
	}
	return news{topic: t, version: version, text: f.JSON()}
}

// announce queues the newest version of the topic for delivery to everyone who watches it.
func (h *Hub) announce(t *topic) {
	if t.kind.mode == Notify {
		n := newsOf(t, t.newest.Load(), nil)
		n.trace = t.takeTrace()
		h.flushes.add(n)
		return
	}
	if t.queued.CompareAndSwap(false, true) {
		h.loads.add(t)
	}
}

// loadTopic loads the newest fragment of a topic and queues it for a flush cycle: by itself,
// or with the batch that the topic has joined.
func (h *Hub) loadTopic(t *topic, batched bool) {
	// Before newest is read: what is observed from now on is loaded again.
	if batched {
		f := h.batch.begin(t)
		n, ok := h.load(t)
		h.batch.end(f, n, ok)
		return
	}
	t.queued.Store(false)
	if n, ok := h.load(t); ok {
		h.flushes.add(n)
	}
}

// load returns the newest version of a topic with its fragment. If it cannot be loaded now,
// load has it retried and returns false.
func (h *Hub) load(t *topic) (n news, ok bool) {
	want := t.newest.Load()
	if want == 0 {
		return news{}, false
	}
	trace := t.takeTrace()
	n, err := h.news(t, want, trace)
	n.trace = trace
	switch {
	case (err == nil && n.version < want || errors.Is(err, store.ErrNotFound)) &&
		h.fragments.Lagging(store.Rev{ID: t.id, Version: want}):
		h.metrics.versionWaits.Inc()
		t.continueTrace(trace)
		h.retries.addTopic(t)
		return news{}, false
	case errors.Is(err, store.ErrNotFound):
		h.missing(t, want)
		return news{}, false
	case err != nil:
		h.metrics.loadFailures.Inc()
		t.continueTrace(trace)
		h.retries.addTopic(t)
		return news{}, false
	}
	if n.version < want {
		t.newest.CompareAndSwap(want, n.version) // the database has lost it
	}
	t.advance(n.version)
	return n, true
}

// errPanic stands for a recovered panic, which logPanic has logged.
var errPanic = errors.New("recovered panic")

func (h *Hub) news(t *topic, version int64, trace *editTrace) (n news, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			h.logPanic("loading a fragment panicked", cause)
			err = errPanic
		}
	}()
	ctx, span := trace.startFragment(t, version)
	defer span.End()
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	f, err := h.fragments.Fragment(ctx, t.kind.view, store.Rev{ID: t.id, Version: version})
	if err != nil {
		tracing.Fail(span, err)
		return news{}, err
	}
	return newsOf(t, f.Version, f), nil
}

// A flushCycle delivers all the news that was queued while the cycle before it ran. Each
// session that watches any of it gets it in one write. The more there is to deliver, the
// less each delivery costs, and nothing waits for a timer.
type flushCycle struct {
	hub      *Hub
	news     []news
	index    map[*topic]int // into news; nil while there are few
	sessions []*session
	traced   *cycleTrace // nil: not traced
}

// few is up to how many news a linear search is faster than a map.
const few = 8

// runFlushCycle runs a flush cycle.
func (h *Hub) runFlushCycle(all []news) {
	r := flushCycle{hub: h, news: make([]news, 0, len(all)), traced: startCycleTrace(all)}
	if len(all) > few {
		r.index = make(map[*topic]int, len(all))
	}
	var followed []news
	for _, n := range all {
		if n.topic.onFirehose {
			followed = append(followed, n)
		} else {
			r.put(n)
		}
	}
	h.mu.Lock()
	size := 0
	if h.firehose.add(followed, h.cfg.Odoo.RedeliveryDelay) {
		size = len(h.firehose.subscribers)
		for at := range h.firehose.subscribers {
			h.table.mark(at)
		}
	}
	for i := range r.news {
		n := &r.news[i]
		n.redelivered, n.topic.announced = n.topic.announced == n.version, n.version
		size += len(n.topic.watchers)
		for at := range n.topic.watchers {
			h.table.mark(at)
		}
	}
	r.sessions = h.table.take(min(size, h.table.used))
	h.mu.Unlock()
	r.run()
}

// put adds n, or replaces an older version with it.
func (r *flushCycle) put(n news) {
	if at := r.find(n.topic); at < 0 {
		n.frame = appendFrame(nil, n.topic.kind.mode, []pick{{text: n.text}})
		if r.index != nil {
			r.index[n.topic] = len(r.news)
		}
		r.news = append(r.news, n)
	} else if r.news[at].version < n.version {
		r.hub.metrics.coalescedFlush.Inc()
		n.frame = appendFrame(nil, n.topic.kind.mode, []pick{{text: n.text}})
		r.news[at] = n
	}
}

// find returns the index of the topic's news, or -1.
func (r *flushCycle) find(t *topic) int {
	if r.index != nil {
		if at, ok := r.index[t]; ok {
			return at
		}
		return -1
	}
	for i := range r.news {
		if r.news[i].topic == t {
			return i
		}
	}
	return -1
}

// share is how many sessions a worker takes at a time.
const share = 64

// run delivers to each session, on all processors if there are enough sessions.
func (r *flushCycle) run() {
	var next atomic.Int64
	worker := func() {
		r.hub.withScratch(func(w *scratch) {
			for {
				from := int(next.Add(share)) - share
				if from >= len(r.sessions) {
					r.traced.take(w)
					return
				}
				w.now = time.Now()
				for _, s := range r.sessions[from:min(from+share, len(r.sessions))] {
					r.push(s, w)
				}
			}
		})
	}
	defer r.traced.write(len(r.sessions))()
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(r.sessions)/(2*share)) - 1 {
		others.Go(worker)
	}
	worker()
	others.Wait()
}

// push sends the session its part of the news. If the session has no room nothing is kept
// for it: when it has room again, it is sent what is newest by then.
func (r *flushCycle) push(s *session, w *scratch) {
	defer s.survive()
	s.mu.Lock()
	var err error
	if s.subscriber != nil {
		err = s.catchUp(w)
	}
	from := 0
	for err == nil && from < len(s.watching) && s.ready() {
		var framed []byte
		if from, framed = r.gather(s, from, w); len(w.picks) > 0 {
			err = s.deliver(w, framed)
		}
	}
	if s.blocked && err == nil {
		r.noteSkipped(s, from, w)
	}
	if err != nil {
		s.close()
	}
	s.mu.Unlock()
	if err != nil {
		s.hub.remove(s)
	}
}

// noteSkipped records that the session, which has no room, is not sent the news from its
// product number from on. A version that was skipped before, and is now replaced, will never
// be sent: it counts as coalesced, unless this news is a redelivery. The session's mu must
// be held.
func (r *flushCycle) noteSkipped(s *session, from int, w *scratch) {
	for i := from; i < len(s.watching); i++ {
		watched := &s.watching[i]
		at := r.find(watched.topic)
		if at < 0 || !watched.takes(r.news[at].version) {
			continue
		}
		if watched.shown&skipped != 0 && !r.news[at].redelivered {
			w.coalesced++
		}
		watched.shown |= skipped
	}
}

// gather puts into w.picks what there is for the page, from its product number from on, and
// up to one frame. It returns that frame if it exists already, and where the next frame
// begins. The session's mu must be held.
func (r *flushCycle) gather(s *session, from int, w *scratch) (next int, framed []byte) {
	w.picks = w.picks[:0]
	size := 0
	for next = from; next < len(s.watching) && size < FrameBytes; next++ {
		watched := s.watching[next]
		if at := r.find(watched.topic); at >= 0 && watched.takes(r.news[at].version) {
			w.picks = append(w.picks, watched.pick(next, r.news[at]))
			size += len(r.news[at].text)
			framed = r.news[at].frame
		}
	}
	if len(w.picks) > 1 || len(w.picks) == 1 && w.picks[0].reset {
		framed = nil
	}
	return next, framed
}
