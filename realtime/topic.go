package realtime

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"shelfcast/render"
)

// A kind is what a session wants of a product: a view, as a fragment or as its version only.
// All sessions that want the same are sent the same bytes.
type kind struct {
	view render.View
	mode Mode
}

// A topic is a product in a kind that somebody watches. What a session has yet to be sent is
// not stored: it follows from the newest version of the topic and the one that the page shows.
type topic struct {
	// Static after construction.
	id   int64
	kind kind
	// Its news goes to the firehose.
	onFirehose bool

	trace  atomic.Pointer[editTrace] // of its next news; nil: not traced
	newest atomic.Int64              // newest version observed; 0: none, or the product is not in the database
	queued atomic.Bool               // its fragment is about to be loaded
	joined bool                      // the same, for the batch; guarded by batch.mu
	held   int                       // its fragments being loaded for the batch, or waiting in it; guarded by batch.mu

	// Guarded by Hub.mu.
	announced int64               // version that was announced last; subscribers of the firehose have it
	watchers  map[uint32]struct{} // the slots of sessions
}

// advance raises the newest version to version if that is greater, and returns the previous one.
func (t *topic) advance(version int64) (before int64) {
	for {
		before = t.newest.Load()
		if before >= version || t.newest.CompareAndSwap(before, version) {
			return before
		}
	}
}

// topic returns the topic of a product in a kind, or nil. h.mu must be held.
func (h *Hub) topic(id int64, k kind) *topic {
	for _, t := range h.topics[id] { // a product is watched in few kinds
		if t.kind == k {
			return t
		}
	}
	return nil
}

// watch subscribes a session to a product in a kind. h.mu must be held.
func (h *Hub) watch(s *session, id int64, k kind) *topic {
	t := h.topic(id, k)
	if t == nil {
		t = &topic{id: id, kind: k, watchers: map[uint32]struct{}{}}
		h.topics[id] = append(h.topics[id], t)
	}
	t.watchers[s.slot()] = struct{}{}
	return t
}

// leave unsubscribes a session from a topic. h.mu must be held.
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

// learn is Apply for a version that was read while a session joined. If it is the first
// version of the topic, every watcher is still joining and will look for itself.
func (h *Hub) learn(t *topic, version int64) {
	if before := t.advance(version); before != 0 && before < version {
		h.announce(t)
	}
}

// rollBack replaces the newest version, if that is still observed, with the older one that
// the database has: the database has lost the observed one.
func (h *Hub) rollBack(t *topic, observed, version int64) {
	if version != 0 && observed > version && t.newest.CompareAndSwap(observed, version) {
		h.announce(t)
	}
}

// Watched returns the IDs of all products that somebody watches, and of those that are in the
// firehose, in ascending order.
func (h *Hub) Watched() []int64 {
	h.mu.Lock()
	ids := slices.Collect(maps.Keys(h.topics))
	for id := range h.firehose.topics {
		if h.topics[id] == nil {
			ids = append(ids, id)
		}
	}
	h.mu.Unlock()
	slices.Sort(ids)
	return ids
}

// Reconcile compares these products with the database, so that pages that show them are right
// whatever was lost on the way, including versions that the database itself lost.
func (h *Hub) Reconcile(ctx context.Context, ids []int64) error {
	before := make(map[*topic]int64, len(ids))
	for some := range slices.Chunk(ids, atOnce) {
		h.mu.Lock()
		for _, id := range some {
			for _, t := range h.topics[id] {
				before[t] = t.newest.Load()
			}
			if t := h.firehose.topics[id]; t != nil {
				before[t] = t.newest.Load()
			}
		}
		h.mu.Unlock()
	}
	current, err := h.fragments.ReadVersions(ctx, ids)
	if err != nil {
		return err
	}
	for t, had := range before {
		switch version := current[t.id]; {
		case version == 0:
			h.missing(t, had)
		case had > version:
			h.rollBack(t, had, version)
		case t.advance(version) < version:
			h.announce(t)
		}
	}
	return nil
}

// missing handles a product that the database does not have, and of which had was the
// newest version observed.
func (h *Hub) missing(t *topic, had int64) {
	if had != 0 && t.newest.CompareAndSwap(had, 0) {
		h.metrics.missingProducts.Inc()
		h.vanish(t)
	}
}
