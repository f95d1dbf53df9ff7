package realtime

import (
	"slices"
	"sync"
	"time"
)

// A batch collects the news of what changed together, and hands it to one flush cycle. A hub
// has one batch: what changes while it is collected joins it, so that a commit that arrives
// in several messages is one batch too. Single edits have a queue of their own and do not
// wait for it.
type batch struct {
	hub *Hub // static

	// Guarded by mu, and so are topic.joined and topic.held.
	mu      sync.Mutex
	waiting int          // topics in the queue
	loading []*batchLoad // which the others wait for; at most maxLoads
	news    []news       // loaded
	since   time.Time    // when the first of it was loaded
}

// A batchLoad is a topic whose fragment is being loaded.
type batchLoad struct {
	topic *topic
	since time.Time
}

// patience is how long news waits for the rest of its batch, plus up to one sweep. It is part
// of the two seconds within which a page has to be right.
const patience = 400 * time.Millisecond

// raise advances the topic to a version. If that is news, the topic joins the batch and is
// added to wanted, unless it is queued already, as it will be loaded at its newest version.
// Both happen under mu: whoever sees that a page is stale also sees the topic here.
func (b *batch) raise(wanted []*topic, t *topic, version int64, trace *editTrace) []*topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.advance(version) >= version {
		return wanted
	}
	if t.joined {
		b.hub.metrics.coalescedLoad.Inc()
	}
	t.continueTrace(trace)
	return b.join(wanted, t)
}

// retry puts topics that could not be loaded into the batch again, and returns those that
// have to be queued.
func (b *batch) retry(all map[*topic]struct{}) (wanted []*topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t := range all {
		wanted = b.join(wanted, t)
	}
	return wanted
}

// join adds a topic to the batch. mu must be held.
func (b *batch) join(wanted []*topic, t *topic) []*topic {
	if t.joined {
		return wanted
	}
	t.joined = true
	b.waiting++
	return append(wanted, t)
}

// has reports whether news of the topic is about to be delivered with the batch.
func (b *batch) has(t *topic) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return t.joined || t.held > 0
}

// begin must be called before the topic's newest version is read: if that advances later, the
// topic joins again.
func (b *batch) begin(t *topic) *batchLoad {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.joined = false
	t.held++
	b.waiting--
	f := &batchLoad{t, time.Now()}
	b.loading = append(b.loading, f)
	return f
}

// end adds the news that a load has returned, if it did not fail. If the batch has stopped
// waiting for it, it is delivered by itself.
func (b *batch) end(f *batchLoad, n news, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(b.loading, f)
	if at < 0 {
		if ok {
			b.hub.flushes.add(n)
		}
		return
	}
	b.loading = slices.Delete(b.loading, at, at+1)
	if len(b.news) == 0 {
		b.since = time.Now()
	}
	if ok {
		b.news = append(b.news, n)
	} else {
		f.topic.held--
	}
	b.tell(time.Now())
}

// due delivers what is loaded without what is slow.
func (b *batch) due(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loading = slices.DeleteFunc(b.loading, func(f *batchLoad) bool {
		late := now.Sub(f.since) >= patience
		if late {
			f.topic.held--
			b.hub.metrics.stragglers.Inc()
		}
		return late
	})
	b.tell(now)
}

// tell delivers what is loaded, if that is everything or has waited for patience. mu must be
// held.
func (b *batch) tell(now time.Time) {
	whole := b.waiting == 0 && len(b.loading) == 0
	if len(b.news) > 0 && (whole || now.Sub(b.since) >= patience) {
		for _, n := range b.news {
			n.topic.held--
		}
		b.hub.flushes.add(b.news...)
		b.news = nil
	}
}
