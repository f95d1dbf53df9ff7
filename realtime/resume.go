package realtime

import (
	"context"
	"slices"

	"shelfcast/store"
)

// A comeback is a session of the Odoo wire that is to be told what it missed.
type comeback struct {
	s    *session
	from int64 // the versions above this one
}

// resume tells sessions what has changed since they had all: one question to the
// database for all that came while the last one was being answered. A version is
// taken before its commit, so each goes back by odooOverlap; what it has had
// already comes twice then, with an id that it has not had.
func (h *Hub) resume(all []*session) {
	c := &h.channel
	clock, place := c.clock(), c.end() // before the read, which has all that is before them
	h.mu.Lock()
	first := c.began == 0
	h.mu.Unlock()
	lowest := clock
	if first {
		lowest -= odooRecent.Microseconds() // see seed
	}
	backs := make([]comeback, 0, len(all))
	for _, s := range all {
		s.mu.Lock()
		s.asking = false
		if f := s.follower; !s.closed && f.behind {
			from := clock - odooRecent.Microseconds()
			if f.since > 0 {
				from = min(f.since, clock) - odooOverlap.Microseconds()
			}
			backs = append(backs, comeback{s, from})
			lowest = min(lowest, from)
		}
		s.mu.Unlock()
	}
	if len(backs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Timeout)
	defer cancel()
	found, err := h.cfg.Odoo.Changes.ChangedLast(ctx, lowest, odooMost)
	if err != nil {
		h.metrics.unanswered.Add(float64(len(backs)))
		h.again.session(all)
		return
	}
	h.metrics.resumed.Add(float64(len(backs)))
	h.seed(found, clock)
	c.had(found)
	slices.Reverse(found)
	made := map[comebackKey]*chunk{}
	h.withWork(func(w *work) {
		for _, b := range backs {
			h.bringBack(b, found, place, clock, made, w)
		}
	})
}

// seed has the read of the database as news, too: it may have seen what the bus
// has yet to bring. What the first read sees is news to nobody, as all who follow
// are told of it by that read; the feed, which reads the last Overlap again and
// again, is not to bring it once more.
func (h *Hub) seed(found []store.Recent, clock int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.channel
	first := c.began == 0
	if first {
		c.began = clock
	}
	for _, r := range found {
		if !first && r.Version <= c.began-store.Overlap.Microseconds() {
			continue // it was there at the first read
		}
		t := h.topicOf(r.ID)
		switch {
		case t == nil || t.raise(r.Version) >= r.Version:
		case first:
			t.told = r.Version
			if again := h.cfg.Odoo.Again; r.Version > clock-again.Microseconds() {
				c.repeat(news{topic: t, version: r.Version, text: productMessage(r.ID, r.Version, r.ExternalID)}, again)
			}
		default:
			h.tell(t)
		}
	}
}

// comebackKey is what those have in common who are told the same.
type comebackKey struct{ from, last int64 }

// bringBack tells one session, and then what is in the ring since. If it has no
// room it asks again when it has.
func (h *Hub) bringBack(b comeback, found []store.Recent, place uint64, clock int64, made map[comebackKey]*chunk, w *work) {
	s := b.s
	defer s.survive()
	s.mu.Lock()
	f := s.follower
	if !f.behind || !s.ready() {
		s.mu.Unlock()
		return
	}
	key := comebackKey{b.from, f.last}
	frame := made[key]
	if frame == nil {
		if len(made) >= chunksKept {
			clear(made) // browsers choose their last ids
		}
		frame = missed(found, key)
		made[key] = frame
	}
	var err error
	taken := true
	if frame.frame != nil {
		if taken, err = s.write(w, frame.frame); taken {
			s.noteSent(w, frame.versions)
			f.last = frame.last
		}
	}
	if taken && err == nil {
		f.behind, f.place, f.since = false, place, max(f.since, clock)
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

// missed is the frame of the changes above key.from, which are oldest first, with
// ids above key.last.
func missed(found []store.Recent, key comebackKey) *chunk {
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
