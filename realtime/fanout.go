package realtime

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/tracing"
)

// news is one version of a topic, made once for all who watch it.
type news struct {
	topic   *topic
	version int64
	again   bool   // it was told before: see repeats, and passOver
	text    []byte // as an element of a frame's list; shared, never changed
	way     *way   // that it goes; nil: it is not traced
	frame   []byte // the whole frame of one that is sent only this; made by a round
}

// newsOf is the news of a version; its fragment is nil for sessions that are
// not sent any.
func newsOf(t *topic, version int64, f *render.Fragment) news {
	if t.followed {
		return ofChannel(t, f)
	}
	if f == nil {
		return news{topic: t, version: version, text: changedText(t, version)}
	}
	return news{topic: t, version: version, text: f.JSON()}
}

// tell has all who watch the topic told of its newest version, soon.
func (h *Hub) tell(t *topic) {
	if t.kind.mode == Notify {
		n := newsOf(t, t.newest.Load(), nil)
		n.way = t.arrived()
		h.rounds.add(n)
		return
	}
	if t.queued.CompareAndSwap(false, true) {
		h.fills.add(t)
	}
}

// fill fetches the fragment of a topic, and hands it to a round.
func (h *Hub) fill(t *topic) {
	t.queued.Store(false) // before its newest is read: what comes now is told again
	if n, ok := h.fetch(t); ok {
		h.rounds.add(n)
	}
}

// fetch has the newest version of a topic with its fragment. What cannot be had
// now is told later.
func (h *Hub) fetch(t *topic) (n news, ok bool) {
	want := t.newest.Load()
	if want == 0 {
		return news{}, false
	}
	way := t.arrived()
	n, err := h.news(t, want, way)
	n.way = way
	switch {
	case errors.Is(err, store.ErrNotFound):
		h.metrics.vanished.Inc()
		if t.newest.CompareAndSwap(want, 0) {
			h.vanish(t)
		}
		return news{}, false
	case err != nil:
		h.metrics.unanswered.Inc()
		t.goOn(way)
		h.again.topic(t)
		return news{}, false
	}
	if n.version < want {
		t.newest.CompareAndSwap(want, n.version) // the database has lost it
	}
	t.raise(n.version)
	return n, true
}

// errFault stands for a fault of ours, which is logged.
var errFault = errors.New("a fault of this program")

func (h *Hub) news(t *topic, version int64, way *way) (n news, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			h.fault("a fragment met a fault", fault)
			err = errFault
		}
	}()
	ctx, span := way.fragment(t, version)
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

// A round is all the news that came while the last round went on, told to each
// session that watches any of it in one write. So the more there is to tell,
// the less each telling costs, and nothing ever waits for a clock.
type round struct {
	hub      *Hub
	news     []news
	index    map[*topic]int // of news; nil while there are few
	sessions []*session
	traced   *traced // nil: it is not
}

// few are looked through faster than looked up.
const few = 8

// fanOut makes a round.
func (h *Hub) fanOut(all []news) {
	r := round{hub: h, news: make([]news, 0, len(all)), traced: traceRound(all)}
	if len(all) > few {
		r.index = make(map[*topic]int, len(all))
	}
	var followed []news
	for _, n := range all {
		if n.topic.followed {
			followed = append(followed, n)
		} else {
			r.put(n)
		}
	}
	h.mu.Lock()
	size := 0
	if h.channel.add(followed, h.cfg.Odoo.Again) {
		size = len(h.channel.followers)
		for at := range h.channel.followers {
			h.table.mark(at)
		}
	}
	for i := range r.news {
		n := &r.news[i]
		n.again, n.topic.told = n.topic.told == n.version, n.version
		size += len(n.topic.watchers)
		for at := range n.topic.watchers {
			h.table.mark(at)
		}
	}
	r.sessions = h.table.take(min(size, h.table.used))
	h.mu.Unlock()
	r.run()
}

// put adds n, or puts it in the place of an older version.
func (r *round) put(n news) {
	if at := r.find(n.topic); at < 0 {
		n.frame = appendFrame(nil, n.topic.kind.mode, []pick{{text: n.text}})
		if r.index != nil {
			r.index[n.topic] = len(r.news)
		}
		r.news = append(r.news, n)
	} else if r.news[at].version < n.version {
		r.hub.metrics.replaced.Inc()
		n.frame = appendFrame(nil, n.topic.kind.mode, []pick{{text: n.text}})
		r.news[at] = n
	}
}

// find has the index of the topic's news, or -1.
func (r *round) find(t *topic) int {
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

// share is how many sessions a goroutine takes at a time.
const share = 64

// run pushes to each session, on all processors if it pays.
func (r *round) run() {
	var next atomic.Int64
	worker := func() {
		r.hub.withWork(func(w *work) {
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

// push sends what there is for this session. If it has no room, nothing is
// kept: when it has, it is sent what is the newest then.
func (r *round) push(s *session, w *work) {
	defer s.survive()
	s.mu.Lock()
	var err error
	if s.follower != nil {
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
		r.passOver(s, from, w)
	}
	if err != nil {
		s.close()
	}
	s.mu.Unlock()
	if err != nil {
		s.hub.remove(s)
	}
}

// passOver needs the session's mu held. It notes what the session, which has no
// room, was not told from that product on; what it was not told before either is
// one version that it will never be sent. A version that is told again, for the sake
// of others, is none more.
func (r *round) passOver(s *session, from int, w *work) {
	for i := from; i < len(s.watching); i++ {
		watched := &s.watching[i]
		at := r.find(watched.topic)
		if at < 0 || !watched.takes(r.news[at].version) {
			continue
		}
		if watched.shown&owed != 0 && !r.news[at].again {
			w.passedOver++
		}
		watched.shown |= owed
	}
}

// gather needs the session's mu held. It puts into w.picks what there is for
// the products of the page from that one on, up to a frame full, and has that
// frame if it is made already. Next is where the next frame begins.
func (r *round) gather(s *session, from int, w *work) (next int, framed []byte) {
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
