package realtime

import (
	"slices"
	"sync"
	"time"

	"shelfcast/store"
)

// ApplyAll is Apply for versions that were committed together, and has those
// that were news: a page that shows several of the products is told of them in
// one frame. What one of them takes to be had, the others wait for, but for no
// longer than patience.
func (h *Hub) ApplyAll(revs []store.Rev) (heard []store.Rev) { return h.applyAll(revs, nil) }

func (h *Hub) applyAll(revs []store.Rev, way *way) (heard []store.Rev) {
	newest := int64(0)
	for _, r := range revs {
		newest = max(newest, r.Version)
		if h.fragments.Heard(r) {
			heard = append(heard, r)
		}
	}
	h.changed.note(newest, len(heard) > 0)
	var changed []news
	var wanted []*topic
	for some := range slices.Chunk(revs, atOnce) {
		h.mu.Lock()
		for _, r := range some {
			for _, t := range h.topics[r.ID] {
				switch {
				case t.kind.mode == Full:
					wanted = h.batch.raise(wanted, t, r.Version, way)
				case t.raise(r.Version) < r.Version:
					n := newsOf(t, r.Version, nil)
					n.way = way
					changed = append(changed, n)
				}
			}
			if t := h.topicOf(r.ID); t != nil {
				wanted = h.batch.raise(wanted, t, r.Version, way)
			}
		}
		h.mu.Unlock()
	}
	if len(changed) > 0 {
		h.rounds.add(changed...)
	}
	if len(wanted) > 0 {
		h.bulk.add(wanted...)
	}
	return heard
}

// atOnce is how many products are looked up with Hub.mu held: a fraction of a
// millisecond.
const atOnce = 1000

// fillOfBatch fetches the fragment of a topic, and hands it to the batch.
func (h *Hub) fillOfBatch(t *topic) {
	f := h.batch.begin(t)
	if n, ok := h.fetch(t); ok {
		h.batch.end(f, n)
	} else {
		h.batch.end(f)
	}
}

// A batch collects the news of what changed together, and hands it to one
// round. There is one a hub: what changes while it is collected joins it, so
// that a commit that came in several messages is one batch too. It is never in
// the way of single edits, which have a queue of their own.
type batch struct {
	hub *Hub // static

	// Guarded by mu, and so are topic.joined and topic.held.
	mu      sync.Mutex
	waiting int       // topics that are in the queue
	fetches []*fetch  // that the others wait for; no more than fillers
	news    []news    // had
	since   time.Time // when the first of it was had
}

// A fetch is a topic whose fragment is being had.
type fetch struct {
	topic *topic
	since time.Time
}

// patience is how long news waits for the rest of its batch, and up to a sweep
// more. It is a part of the two seconds within which a page is to be right.
const patience = 400 * time.Millisecond

// raise folds in a committed version. If it is news the topic joins, and is
// added to those wanted, unless it is in the queue: it will be had at its newest
// version. All at once: whoever finds a page behind finds the topic here too.
func (b *batch) raise(wanted []*topic, t *topic, version int64, way *way) []*topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.raise(version) >= version {
		return wanted
	}
	if t.joined {
		b.hub.metrics.folded.Inc()
	}
	t.goOn(way)
	return b.join(wanted, t)
}

// retry has those that are to be had of topics that could not be had.
func (b *batch) retry(all map[*topic]struct{}) (wanted []*topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t := range all {
		wanted = b.join(wanted, t)
	}
	return wanted
}

// join needs mu held.
func (b *batch) join(wanted []*topic, t *topic) []*topic {
	if t.joined {
		return wanted
	}
	t.joined = true
	b.waiting++
	return append(wanted, t)
}

// has says whether news of a topic is about to be told with the rest of a batch.
func (b *batch) has(t *topic) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return t.joined || t.held > 0
}

// begin is called before the topic's newest version is read: if it is raised
// after that, it joins anew.
func (b *batch) begin(t *topic) *fetch {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.joined = false
	t.held++
	b.waiting--
	f := &fetch{t, time.Now()}
	b.fetches = append(b.fetches, f)
	return f
}

// end takes the news that a fetch had; none, if it could not be had. If the
// others have waited long enough for it, it is told by itself.
func (b *batch) end(f *fetch, had ...news) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(b.fetches, f)
	if at < 0 {
		b.hub.rounds.add(had...)
		return
	}
	b.fetches = slices.Delete(b.fetches, at, at+1)
	if len(had) == 0 {
		f.topic.held--
	}
	if len(b.news) == 0 {
		b.since = time.Now()
	}
	b.news = append(b.news, had...)
	b.tell(time.Now())
}

// due has what was had told without what is slow to come.
func (b *batch) due(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetches = slices.DeleteFunc(b.fetches, func(f *fetch) bool {
		late := now.Sub(f.since) >= patience
		if late {
			f.topic.held--
			b.hub.metrics.late.Inc()
		}
		return late
	})
	b.tell(now)
}

// tell needs mu held. It tells what was had, if that is all or has waited long
// enough.
func (b *batch) tell(now time.Time) {
	whole := b.waiting == 0 && len(b.fetches) == 0
	if len(b.news) > 0 && (whole || now.Sub(b.since) >= patience) {
		for _, n := range b.news {
			n.topic.held--
		}
		b.hub.rounds.add(b.news...)
		b.news = nil
	}
}
