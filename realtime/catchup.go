package realtime

import (
	"context"
	"slices"
	"time"

	"shelfcast/store"
)

// A catchUp is a session of the Odoo protocol that needs what it missed, from the database.
type catchUp struct {
	s    *session
	from int64 // it needs the versions above this one
}

// lateCommits are versions that were observed when they were older than a catch-up goes
// back. The catch-up of a browser that was away at that time has to go back to them.
type lateCommits struct {
	observed int64 // by the database's clock; those within a second are merged
	oldest   int64 // version
}

// keepLateCommits is how long they are remembered. A browser that was away for longer gets
// what changed last, and is likely to reload its page anyway.
const keepLateCommits = time.Hour

// noteLate remembers the oldest of versions that subscribers are sent, if it is late.
func (c *firehose) noteLate(oldest int64) {
	now := c.clock()
	if oldest > now-store.Overlap.Microseconds() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.late); n > 0 && c.late[n-1].observed > now-time.Second.Microseconds() {
		c.late[n-1].oldest = min(c.late[n-1].oldest, oldest)
		return
	}
	c.late = slices.DeleteFunc(c.late, func(l lateCommits) bool { return l.observed < now-keepLateCommits.Microseconds() })
	c.late = append(c.late, lateCommits{now, oldest})
}

// lookBack returns where a catch-up begins that would begin at from if no commit was late.
func (c *firehose) lookBack(from int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := from
	for _, l := range c.late {
		if l.observed+time.Second.Microseconds() > from {
			to = min(to, l.oldest-1)
		}
	}
	return to
}

// runCatchUps sends sessions what has changed since they were up to date. One query serves
// all sessions that were queued while the last one ran. As versions are older than their
// commits, each catch-up goes back by catchUpOverlap: some changes are sent twice, with an id
// that the browser has not had.
func (h *Hub) runCatchUps(all []*session) {
	c := &h.firehose
	clock, place := c.clock(), c.end() // before the read, which has all that is before them
	h.mu.Lock()
	first := c.began == 0
	h.mu.Unlock()
	lowest := clock
	if first {
		lowest -= catchUpWithoutID.Microseconds() // see seed
	}
	backs := make([]catchUp, 0, len(all))
	for _, s := range all {
		s.mu.Lock()
		s.checking = false
		if f := s.subscriber; !s.closed && f.needsCatchUp {
			from := clock - catchUpWithoutID.Microseconds()
			if f.since > 0 {
				from = min(f.since, clock) - catchUpOverlap.Microseconds()
			}
			from = c.lookBack(from)
			backs = append(backs, catchUp{s, from})
			lowest = min(lowest, from)
		}
		s.mu.Unlock()
	}
	if len(backs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Timeout)
	defer cancel()
	found, err := h.cfg.Odoo.Changes.RecentChanges(ctx, lowest, maxCatchUp)
	if err != nil {
		h.metrics.loadFailures.Add(float64(len(backs)))
		h.retries.addSessions(all)
		return
	}
	h.metrics.catchUps.Add(float64(len(backs)))
	h.seed(found, clock)
	c.had(found)
	slices.Reverse(found)
	made := map[catchUpKey]*chunk{}
	h.withScratch(func(w *scratch) {
		for _, b := range backs {
			h.finishCatchUp(b, found, place, clock, made, w)
		}
	})
}

// seed announces what a catch-up has read: it may have seen versions that the bus has yet
// to bring. What the first catch-up reads is not announced, because every subscriber gets
// it from that very catch-up; but it is remembered, so that the feed, which keeps reading
// the last store.Overlap again, does not announce it.
func (h *Hub) seed(found []store.RecentChange, clock int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.firehose
	first := c.began == 0
	if first {
		c.began = clock
	}
	for _, r := range found {
		if !first && r.Version <= c.began-store.Overlap.Microseconds() {
			continue // it was there at the first catch-up
		}
		t := h.firehoseTopic(r.ID)
		switch {
		case t == nil || t.advance(r.Version) >= r.Version:
		case first:
			t.announced = r.Version
			if again := h.cfg.Odoo.RedeliveryDelay; r.Version > clock-again.Microseconds() {
				c.redeliverLater(news{topic: t, version: r.Version, text: productMessage(r.ID, r.Version, r.ExternalID)}, again)
			}
		default:
			h.announce(t)
		}
	}
}

// catchUpKey is the same for sessions that get the same frame.
type catchUpKey struct{ from, last int64 }

// finishCatchUp sends one session its catch-up, and then what the firehose has since. If the
// session has no room it is queued again when it has.
func (h *Hub) finishCatchUp(b catchUp, found []store.RecentChange, place uint64, clock int64,
	made map[catchUpKey]*chunk, w *scratch) {
	s := b.s
	defer s.survive()
	s.mu.Lock()
	f := s.subscriber
	if !f.needsCatchUp || !s.ready() {
		s.mu.Unlock()
		return
	}
	key := catchUpKey{b.from, f.lastID}
	frame := made[key]
	if frame == nil {
		if len(made) >= chunksKept {
			clear(made) // browsers choose their last ids
		}
		frame = catchUpFrame(found, key)
		made[key] = frame
	}
	var err error
	taken := true
	if frame.frame != nil {
		if taken, err = s.write(w, frame.frame); taken {
			s.noteSent(w, frame.versions)
			f.lastID = frame.last
		}
	}
	if taken && err == nil {
		f.needsCatchUp, f.position, f.since = false, place, max(f.since, clock)
		err = s.catchUp(w)
	}
	if err != nil {
		s.close()
	}
	s.mu.Unlock()
	if err != nil {
		h.remove(s)
	}
}

// catchUpFrame returns the frame of the changes above key.from, oldest first, with ids above
// key.last.
func catchUpFrame(found []store.RecentChange, key catchUpKey) *chunk {
	made := &chunk{last: key.last}
	var list list
	for _, r := range found {
		if r.Version <= key.from {
			continue
		}
		made.last = max(r.Version, made.last+1)
		list.add(made.last, productMessage(r.ID, r.Version, r.ExternalID))
		made.versions = append(made.versions, r.Version)
	}
	made.frame = list.frame()
	return made
}
