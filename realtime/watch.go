package realtime

import (
	"slices"

	"github.com/gobwas/ws"

	"shelfcast/render"
)

// watched is one product of the page.
type watched struct {
	topic *topic
	shown shown
}

// shown is the version that the page shows, 0 for none; whether it is yet to be
// compared with the database's; whether the page has said that it shows it; whether
// it is owed a newer one; and whether it was sent that version.
type shown int64

const (
	unasked    shown = 1 << 62
	reported   shown = 1 << 61
	owed       shown = 1 << 60 // a newer version was passed over for want of room
	ours       shown = 1 << 59 // it came from here, and is not only what the page says
	maxVersion       = 1 << 53 // of a number in JavaScript; the year 2255
)

func (v shown) version() int64 { return int64(v &^ (unasked | reported | owed | ours)) }

// stale: the page does not show the newest version. One that shows a version
// that nobody here has heard of is either ahead of the news, or shows what the
// database has lost; once it has been asked, it can only be the latter.
func (w watched) stale() bool {
	newest := w.topic.newest.Load()
	if newest == 0 || w.shown&unasked != 0 {
		return w.shown.version() < newest
	}
	return w.shown.version() != newest
}

// takes says whether the page is to be sent that version of the topic: a newer
// one, or an older one if its own is lost.
func (w watched) takes(version int64) bool {
	shows, newest := w.shown.version(), w.topic.newest.Load()
	return shows < version || w.shown&unasked == 0 && version <= newest && newest < shows
}

// register has the page watch and no longer watch these. Whoever watches is registered for all news of the products
// before it asks what is current: nothing falls between the answer and the news.
//
// The hub's lock is taken once, and not at all if only versions of what is watched already have changed: no session
// holds up the others by what it sends.
func (s *session) register(unwatch []int64, watch []Watch) *refusal {
	slices.Sort(unwatch)
	if done := s.reassert(unwatch, watch); done {
		return nil
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.leave(func(w watched) bool { return among(unwatch, w.topic.id) })
	if s.watching == nil {
		s.watching = make([]watched, 0, min(len(watch), s.hub.cfg.MaxProducts))
	}
	index := s.index(len(watch))
	for _, w := range watch {
		k := kind{w.View, s.mode}
		if at := index.find(w); at >= 0 {
			s.watching[at].shown = shown(w.Version) | unasked
			continue
		}
		if len(s.watching) >= s.hub.cfg.MaxProducts {
			return s.hub.tooMany()
		}
		index.add(w)
		s.watching = append(s.watching, watched{s.hub.watch(s, w.ID, k), shown(w.Version) | unasked})
	}
	return nil
}

// reassert is register if it changes no more than which versions the page shows; else it does nothing.
func (s *session) reassert(unwatch []int64, watch []Watch) (done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(unwatch) > 0 && slices.ContainsFunc(s.watching, func(w watched) bool { return among(unwatch, w.topic.id) }) {
		return false
	}
	index := s.index(len(watch))
	found := make([]int, len(watch))
	for i, w := range watch {
		if found[i] = index.find(w); found[i] < 0 {
			return false
		}
	}
	for i, at := range found {
		s.watching[at].shown = shown(watch[i].Version) | unasked
	}
	return true
}

// among reports whether sorted ids have that one.
func among(sorted []int64, id int64) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}

// leave stops watching some products; Hub.mu and mu held. What was allocated for many is not kept for few.
func (s *session) leave(gone func(watched) bool) {
	kept := slices.DeleteFunc(s.watching, func(w watched) bool {
		if !gone(w) {
			return false
		}
		s.hub.leave(s, w.topic)
		return true
	})
	if cap(kept) > 4*len(kept)+8 {
		kept = slices.Clone(kept)
	}
	s.watching = kept
}

// A watchIndex finds products among those that a session watches: by a map if many are looked for.
type watchIndex struct {
	s  *session
	at map[watchKey]int // nil: few are
}

type watchKey struct {
	id   int64
	view render.View
}

// index needs mu held, also when it is used.
func (s *session) index(lookups int) watchIndex {
	if lookups <= few {
		return watchIndex{s: s}
	}
	at := make(map[watchKey]int, len(s.watching)+lookups)
	for i, w := range s.watching {
		at[watchKey{w.topic.id, w.topic.kind.view}] = i
	}
	return watchIndex{s, at}
}

// find returns the index of that product in that view, or -1.
func (x watchIndex) find(w Watch) int {
	if x.at == nil {
		return slices.IndexFunc(x.s.watching, func(o watched) bool { return o.topic.id == w.ID && o.topic.kind.view == w.View })
	}
	if at, ok := x.at[watchKey{w.ID, w.View}]; ok {
		return at
	}
	return -1
}

// add notes that the product is about to be appended.
func (x watchIndex) add(w Watch) {
	if x.at != nil {
		x.at[watchKey{w.ID, w.View}] = len(x.s.watching)
	}
}

// compare compares what the page shows with what is current, as far as memory
// knows it for certain. The rest is asked of the database, together with what
// other sessions ask.
func (s *session) compare(w *work, all []Watch) {
	ask := false
	known := make(map[int64]int64, len(all))
	for _, w := range all {
		if version, certain := s.hub.fragments.Known(w.Rev); certain {
			known[w.ID] = version
		} else {
			ask = true
		}
	}
	s.settle(w, known)
	if ask {
		s.hub.ask(s)
	}
}

// settle takes the current versions of products that were unasked; 0 if there is no such product.
func (s *session) settle(w *work, current map[int64]int64) {
	var unknown []int64
	learned := map[*topic]int64{}
	s.mu.Lock()
	for i := range s.watching {
		w := &s.watching[i]
		version, known := current[w.topic.id]
		switch {
		case !known || w.shown&unasked == 0:
		case version == 0:
			unknown = append(unknown, w.topic.id)
		default:
			learned[w.topic] = version
			w.shown &^= unasked
		}
	}
	s.mu.Unlock()
	for t, version := range learned {
		s.hub.learn(t, version)
	}
	s.forget(w, unknown)
}

// maxUnknown is how many products that do not exist a session may ask for, as a page that was open for long, or lay in
// a cache, may do. One that asks for more is looking for what there is.
const maxUnknown = 100

// forget ends the watching of products that do not exist. Nothing is kept of them but that the page was told so, which
// it is once. One that comes to exist later is to be watched anew.
func (s *session) forget(w *work, ids []int64) {
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	h := s.hub
	h.mu.Lock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		h.mu.Unlock()
		return
	}
	s.leave(func(w watched) bool { return among(ids, w.topic.id) })
	told := h.unknown[s.slot()]
	for _, id := range ids {
		if slices.Contains(told, id) {
			continue
		}
		if told = append(told, id); len(told) > maxUnknown {
			break
		}
		r := &refusal{Code: "unknown_product", Message: "there is no such product", ID: id}
		h.metrics.refusals.WithLabelValues(r.Code).Inc()
		s.queue(controlLane, s.wire.message(r.text()))
	}
	tooMany := len(told) > maxUnknown
	if len(told) > 0 {
		h.unknown[s.slot()] = told
	}
	s.mu.Unlock()
	h.mu.Unlock()
	if tooMany {
		s.refuse(w, &refusal{Code: "too_many_unknown", Message: "a page asks for more products that do not exist than any page shows", close: ws.StatusPolicyViolation})
		return
	}
	s.flush(w)
}

// vanish has all who watch a topic told that there is no such product.
func (h *Hub) vanish(t *topic) {
	h.mu.Lock()
	watching := make([]*session, 0, len(t.watchers))
	for at := range t.watchers {
		watching = append(watching, h.table.slots[at].session)
	}
	h.mu.Unlock()
	h.withWork(func(w *work) {
		for _, s := range watching {
			s.forgetGone(w, t.id)
		}
	})
}

// forgetGone is forget for a session among others.
func (s *session) forgetGone(w *work, id int64) {
	defer s.survive()
	s.forget(w, []int64{id})
}
