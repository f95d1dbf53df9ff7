package realtime

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"shelfcast/render"
	"shelfcast/store"
)

// A kind is what a session wants of a product: a view of it, as a fragment or
// only as news. All sessions that want the same are sent the same bytes.
type kind struct {
	view render.View
	mode Mode
}

// A topic is one product in one kind that somebody watches. What a session has
// yet to be sent is not kept anywhere: it follows from the newest version of
// the topic and from the one that the page shows.
type topic struct {
	// Static after construction.
	id   int64
	kind kind
	// The news of it is for those who follow the channel.
	followed bool

	way    atomic.Pointer[way] // the trace that its news goes on with; nil: none
	newest atomic.Int64        // the newest version heard of; 0: none, or the product is not in the database
	queued atomic.Bool         // its fragment is about to be had
	joined bool                // the same, for the batch; guarded by batch.mu
	held   int                 // fragments of it that are had for the batch, or wait in it; guarded by batch.mu

	// Guarded by Hub.mu.
	told     int64               // the version that was told last; those who follow the channel know it
	watchers map[uint32]struct{} // the slots of sessions
}

// raise folds in a committed version, and has the one that was the newest.
func (t *topic) raise(version int64) (before int64) {
	for {
		before = t.newest.Load()
		if before >= version || t.newest.CompareAndSwap(before, version) {
			return before
		}
	}
}

// topic has the one of that kind, or nil; h.mu held.
func (h *Hub) topic(id int64, k kind) *topic {
	for _, t := range h.topics[id] { // a product is watched in few kinds
		if t.kind == k {
			return t
		}
	}
	return nil
}

// watch needs h.mu held.
func (h *Hub) watch(s *session, id int64, k kind) *topic {
	t := h.topic(id, k)
	if t == nil {
		t = &topic{id: id, kind: k, watchers: map[uint32]struct{}{}}
		h.topics[id] = append(h.topics[id], t)
	}
	t.watchers[s.slot()] = struct{}{}
	return t
}

// leave needs h.mu held.
func (h *Hub) leave(s *session, t *topic) {
	delete(t.watchers, s.slot())
	if len(t.watchers) > 0 {
		return
	}
	all := h.topics[t.id]
	if len(all) == 1 {
		delete(h.topics, t.id)
	} else if at := slices.Index(all, t); at >= 0 {
		h.topics[t.id] = slices.Delete(all, at, at+1)
	}
}

// Apply tells every session that watches the product of a committed version,
// and says whether this instance had not heard of it. Duplicates, reordering
// and lateness do no harm. It never blocks on a browser, the database or Redis,
// and its cost does not depend on how many sessions there are.
func (h *Hub) Apply(r store.Rev) (news bool) { return h.apply(r, nil) }

func (h *Hub) apply(r store.Rev, way *way) (news bool) {
	// What was heard and what was offered are two things: a page that is
	// loaded makes a version heard before the news of it comes.
	news = h.fragments.Heard(r)
	h.changed.note(r.Version, news)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics[r.ID] {
		h.raise(t, r.Version, way)
	}
	if t := h.topicOf(r.ID); t != nil {
		h.raise(t, r.Version, way)
	}
	return news
}

// raise has a version told if it is news of the topic.
func (h *Hub) raise(t *topic, version int64, way *way) {
	if t.raise(version) >= version {
		return
	}
	if t.queued.Load() {
		h.metrics.folded.Inc() // the one before: its fragment is had no more
	}
	t.goOn(way)
	h.tell(t)
}

// learn is Apply for a version that was read while a session joined. If it is
// the first of its topic, all who watch it are joining, and look for
// themselves.
func (h *Hub) learn(t *topic, version int64) {
	if before := t.raise(version); before != 0 && before < version {
		h.tell(t)
	}
}

// lower takes the version that the database has in place of a newer one that
// was heard of before it was asked: it has lost that, by being restored from a
// backup. What was heard meanwhile stays.
func (h *Hub) lower(t *topic, heard, version int64) {
	if version != 0 && heard > version && t.newest.CompareAndSwap(heard, version) {
		h.tell(t)
	}
}

// Reconcile compares all that is watched with the database, so that a page is
// right in the end whatever was lost on the way, the newest versions of a
// database that was restored from a backup among it.
func (h *Hub) Reconcile(ctx context.Context) error {
	h.mu.Lock()
	before := map[*topic]int64{}
	ids := slices.Collect(maps.Keys(h.topics))
	for _, topics := range h.topics {
		for _, t := range topics {
			before[t] = t.newest.Load()
		}
	}
	for id, t := range h.channel.topics {
		before[t] = t.newest.Load()
		if h.topics[id] == nil {
			ids = append(ids, id)
		}
	}
	h.mu.Unlock()
	current, err := h.compare(ctx, ids)
	if err != nil {
		return err
	}
	for t, had := range before {
		version := current[t.id]
		h.lower(t, had, version)
		if t.raise(version) < version {
			h.tell(t)
		}
	}
	return nil
}

// compare has the version in the database of each of the products that it has.
func (h *Hub) compare(ctx context.Context, ids []int64) (map[int64]int64, error) {
	found, err := h.fragments.Compare(ctx, ids)
	if err != nil {
		return nil, err
	}
	current := make(map[int64]int64, len(found))
	for _, r := range found {
		current[r.ID] = r.Version
	}
	return current, nil
}
