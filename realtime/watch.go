package realtime

import (
	"slices"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// watched is one product on the page.
type watched struct {
	topic *topic
	shown shown
}

// shown is the version that the page shows, 0 for none, with flags.
type shown int64

const (
	unchecked  shown = 1 << 62 // it has yet to be compared with the database
	reported   shown = 1 << 61 // the page has said that it shows it
	skipped    shown = 1 << 60 // a newer version was not sent for lack of room
	delivered  shown = 1 << 59 // this instance has sent it
	maxVersion       = 1 << 53 // the greatest integer that JavaScript's numbers hold exactly; the year 2255
)

func (v shown) version() int64 { return int64(v &^ (unchecked | reported | skipped | delivered)) }

// stale reports whether the page does not show the newest version. A page may show a version
// that this instance has not observed: either the news of it is under way, or the database
// has lost it. Once the version was checked it can only be lost.
func (w watched) stale() bool {
	newest := w.topic.newest.Load()
	if newest == 0 || w.shown&unchecked != 0 {
		return w.shown.version() < newest
	}
	return w.shown.version() != newest
}

// takes reports whether the page has to be sent that version of the topic: a newer one than
// it shows, or an older one if its own is lost.
func (w watched) takes(version int64) bool {
	shows, newest := w.shown.version(), w.topic.newest.Load()
	return shows < version || w.shown&unchecked == 0 && version <= newest && newest < shows
}

// register subscribes the page to products and unsubscribes it from others. It must come
// before the version check, so that nothing is missed between the check and the news.
//
// It takes the hub's lock once, and not at all if only the versions change that the page
// shows: no session can slow down the others by what it sends.
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
			s.watching[at].shown = shown(w.Version) | unchecked
			continue
		}
		if len(s.watching) >= s.hub.cfg.MaxProducts {
			return s.hub.tooMany()
		}
		index.add(w)
		s.watching = append(s.watching, watched{s.hub.watch(s, w.ID, k), shown(w.Version) | unchecked})
	}
	return nil
}

// reassert is register for requests that only change which versions the page shows. For all
// others it does nothing and returns false.
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
		s.watching[at].shown = shown(watch[i].Version) | unchecked
	}
	return true
}

// among reports whether the sorted ids contain id.
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
		return slices.IndexFunc(x.s.watching, func(o watched) bool {
			return o.topic.id == w.ID && o.topic.kind.view == w.View
		})
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

// startVersionCheck compares what the page shows with the current versions that memory is
// certain of. It queues the session to have the rest read from the database.
func (s *session) startVersionCheck(w *scratch, all []Watch) {
	ask := false
	known := make(map[int64]int64, len(all))
	for _, w := range all {
		if version, certain := s.hub.fragments.Current(w.Rev); certain {
			known[w.ID] = version
		} else {
			ask = true
		}
	}
	s.finishVersionCheck(w, known)
	if ask {
		s.hub.checkVersions(s)
	}
}

// finishVersionCheck takes the current versions of products that were unasked; 0 if there is no such product.
func (s *session) finishVersionCheck(w *scratch, current map[int64]int64) {
	var unknown []int64
	learned := map[*topic]int64{}
	s.mu.Lock()
	for i := range s.watching {
		w := &s.watching[i]
		version, known := current[w.topic.id]
		switch {
		case !known || w.shown&unchecked == 0:
		case version == 0:
			unknown = append(unknown, w.topic.id)
		default:
			learned[w.topic] = version
			w.shown &^= unchecked
		}
	}
	s.mu.Unlock()
	for t, version := range learned {
		s.hub.learn(t, version)
	}
	s.forget(w, unknown)
}

// maxUnknown is how many products that do not exist a session may ask for. A page that was
// open for long, or came from a cache, may ask for some; one that asks for more is scanning.
const maxUnknown = 100

// forget unsubscribes the session from products that do not exist, and tells it so once. Only
// that is remembered of them. If one is created later, the page has to subscribe again.
func (s *session) forget(w *scratch, ids []int64) {
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
	told := h.unknown[s.slot()]
	s.takeDown(slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return slices.Contains(told, id) }))
	s.leave(func(w watched) bool { return among(ids, w.topic.id) })
	for _, id := range ids {
		if slices.Contains(told, id) {
			continue
		}
		if told = append(told, id); len(told) > maxUnknown {
			break
		}
		r := &refusal{Code: "unknown_product", Message: "there is no such product", ID: id}
		h.metrics.refusals.WithLabelValues(r.Code).Inc()
		frames, _ := s.speaks().refusal(r)
		s.queue(controlLane, frames)
	}
	tooMany := len(told) > maxUnknown
	if len(told) > 0 {
		h.unknown[s.slot()] = told
	}
	s.mu.Unlock()
	h.mu.Unlock()
	if tooMany {
		s.refuse(w, &refusal{Code: "too_many_unknown", close: ws.StatusPolicyViolation,
			Message: "too many unknown products requested"})
		return
	}
	s.flush(w)
}

// takeDown makes the page show that these products, which do not exist, are unavailable, if it
// shows something else. It skips versions so new that a lagging database may yet get them. mu
// must be held.
func (s *session) takeDown(sorted []int64) {
	if s.mode != Full {
		return // the page is notified, and fetches by itself
	}
	var picks []pick
	old := s.hub.firehose.clock() - render.MaxReplicaLag.Microseconds()
	for i, w := range s.watching {
		r := store.Rev{ID: w.topic.id, Version: w.shown.version()}
		if r.Version == 0 || r.Version > old || !among(sorted, r.ID) || len(picks) == maxUnknown {
			continue
		}
		f, err := s.hub.fragments.Unavailable(w.topic.kind.view, r)
		if err != nil {
			s.hub.log.Debug("rendering a deleted product as unavailable failed", "product", r.ID, "error", err)
			continue
		}
		picks = append(picks, pick{at: i, version: f.Version, text: f.JSON()})
	}
	if len(picks) > 0 {
		s.queue(controlLane, s.speaks().appendNews(nil, s.mode, picks))
	}
}

// vanish tells everyone who watches a topic that the product does not exist.
func (h *Hub) vanish(t *topic) {
	h.mu.Lock()
	watching := make([]*session, 0, len(t.watchers))
	for at := range t.watchers {
		watching = append(watching, h.table.slots[at].session)
	}
	h.mu.Unlock()
	h.withScratch(func(w *scratch) {
		for _, s := range watching {
			s.forgetGone(w, t.id)
		}
	})
}

// forgetGone is forget for one product, and recovers panics.
func (s *session) forgetGone(w *scratch, id int64) {
	defer s.survive()
	s.forget(w, []int64{id})
}
