package realtime

import (
	"math"

	"shelfcast/store"
)

// Apply delivers committed versions to every session that watches one of the products, and
// returns those that were news to this instance. Duplicate, reordered and late calls do no
// harm. It never blocks on a browser, the database or Redis, and its cost does not depend on
// the number of sessions.
//
// Versions of one call were committed together: a page that shows several of the products
// gets them in one frame. They wait for each other's fragments, but no longer than patience. A
// single version waits for nothing.
//
// The result may share memory with revs.
func (h *Hub) Apply(revs ...store.Rev) (news []store.Rev) {
	return h.apply(revs, change{together: len(revs) > 1})
}

// ApplyLate is Apply for versions that the feed has read again, most of which are not news.
// Subscribers of the firehose get only those that are, from the version first on.
func (h *Hub) ApplyLate(revs []store.Rev, first int64) (news []store.Rev) {
	return h.apply(revs, change{together: true, late: true, first: first})
}

// A change says how versions came to this instance.
type change struct {
	trace    *editTrace // of the edit; nil: not traced
	together bool       // they were committed together, maybe with others
	late     bool       // see ApplyLate
	first    int64
}

// onFirehose reports whether subscribers of the firehose get a version.
func (c change) onFirehose(r store.Rev, news bool) bool {
	return !c.late || news && r.Version >= c.first
}

// atOnce is how many products are looked up while Hub.mu is held, which takes a fraction of a
// millisecond.
const atOnce = 1000

func (h *Hub) apply(revs []store.Rev, c change) (news []store.Rev) {
	newest, oldest := int64(0), int64(math.MaxInt64)
	for i, r := range revs {
		newest = max(newest, r.Version)
		if !h.fragments.Observe(r) {
			continue
		}
		if len(news) == i { // all of them are, so far: no copy
			news = revs[: i+1 : i+1]
		} else {
			news = append(news, r)
		}
		if c.onFirehose(r, true) {
			oldest = min(oldest, r.Version)
		}
	}
	if len(news) > 0 {
		h.firehose.noteLate(oldest)
	}
	h.changed.note(newest, len(news) > 0)
	d := dispatch{hub: h, change: c}
	rest := news // in the order of revs
	for from := 0; from < len(revs); from += atOnce {
		h.mu.Lock()
		for _, r := range revs[from:min(from+atOnce, len(revs))] {
			isNews := len(rest) > 0 && rest[0] == r
			if isNews {
				rest = rest[1:]
			}
			for _, t := range h.topics[r.ID] {
				d.advance(t, r.Version)
			}
			if c.onFirehose(r, isNews) {
				if t := h.firehoseTopic(r.ID); t != nil {
					d.advance(t, r.Version)
				}
			}
		}
		h.mu.Unlock()
	}
	d.start()
	return news
}

// A dispatch collects what a change has to deliver, so that the deliveries of what was
// committed together start together.
type dispatch struct {
	hub    *Hub
	change change
	ready  []news   // needs no fragments
	wanted []*topic // have joined the batch
}

// advance raises the topic's newest version. If that is news, it is delivered: by itself at
// once, and else with start. Hub.mu must be held.
func (d *dispatch) advance(t *topic, version int64) {
	switch {
	case d.change.together && t.kind.mode == Full:
		d.wanted = d.hub.batch.raise(d.wanted, t, version, d.change.trace)
	case t.advance(version) >= version:
	case d.change.together:
		n := newsOf(t, version, nil)
		n.trace = d.change.trace
		d.ready = append(d.ready, n)
	default:
		if t.queued.Load() {
			d.hub.metrics.coalescedLoad.Inc() // the version before, whose fragment is not loaded any more
		}
		t.continueTrace(d.change.trace)
		d.hub.announce(t)
	}
}

func (d *dispatch) start() {
	if len(d.ready) > 0 {
		d.hub.flushes.add(d.ready...)
	}
	if len(d.wanted) > 0 {
		d.hub.batchLoads.add(d.wanted...)
	}
}
