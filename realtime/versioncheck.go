package realtime

import (
	"context"
	"maps"
	"slices"

	"shelfcast/store"
)

// checkVersions queues these sessions to have what they show compared with the database.
func (h *Hub) checkVersions(all ...*session) {
	waiting := make([]*session, 0, len(all))
	for _, s := range all {
		s.mu.Lock()
		if !s.checking && !s.closed {
			s.checking = true
			waiting = append(waiting, s)
		}
		s.mu.Unlock()
	}
	h.versionChecks.add(waiting...)
}

// runVersionChecks compares what these sessions show with the database. One query serves
// all sessions that were queued while the last query ran, so ten thousand browsers that
// reconnect at once are not ten thousand queries.
func (h *Hub) runVersionChecks(all []*session) {
	defer func() {
		if cause := recover(); cause != nil {
			h.logPanic("a version check panicked", cause)
			if len(all) == 1 {
				all[0].end()
				return
			}
			for i := range all { // find the session that causes it
				h.runVersionChecks(all[i : i+1])
			}
		}
	}()
	var backs []*session
	all = slices.DeleteFunc(slices.Clone(all), func(s *session) bool {
		if s.subscriber != nil {
			backs = append(backs, s)
		}
		return s.subscriber != nil
	})
	if len(backs) > 0 {
		h.runCatchUps(backs)
	}
	if len(all) == 0 {
		return
	}
	ids := map[int64]struct{}{}
	for _, s := range all {
		s.mu.Lock()
		s.checking = false
		for _, w := range s.watching {
			if w.shown&unchecked != 0 {
				ids[w.topic.id] = struct{}{}
			}
		}
		s.mu.Unlock()
	}
	before := map[*topic]int64{}
	h.mu.Lock()
	for id := range ids {
		for _, t := range h.topics[id] {
			before[t] = t.newest.Load()
		}
	}
	h.mu.Unlock()
	h.metrics.versionChecks.Add(float64(len(ids)))
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Timeout)
	defer cancel()
	current, err := h.fragments.ReadVersions(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		h.metrics.loadFailures.Add(float64(len(all)))
		h.serveFromMemory(all, before)
		h.retries.addSessions(all)
		return
	}
	for t, had := range before {
		h.rollBack(t, had, current[t.id])
	}
	h.withScratch(func(w *scratch) {
		for _, s := range all {
			h.finishVersionCheck(s, before, current, w)
		}
	})
}

// serveFromMemory sends the sessions the newest versions in memory, because the database
// does not answer. They were committed, but need not be current: the check stays pending.
func (h *Hub) serveFromMemory(all []*session, asked map[*topic]int64) {
	for t := range asked {
		if version, _ := h.fragments.Current(store.Rev{ID: t.id}); version > 0 {
			h.learn(t, version)
		}
	}
	h.withScratch(func(w *scratch) {
		for _, s := range all {
			func() {
				defer s.survive()
				s.flush(w)
			}()
		}
	})
}

// finishVersionCheck tells a session the current versions of the products it asked about.
func (h *Hub) finishVersionCheck(s *session, asked map[*topic]int64, current map[int64]int64, w *scratch) {
	defer s.survive()
	s.mu.Lock()
	mine := make(map[int64]int64, len(s.watching))
	for _, watched := range s.watching {
		// If the session has asked again meanwhile, this may be older than what it shows.
		if _, was := asked[watched.topic]; was && watched.shown&unchecked != 0 && !s.checking {
			mine[watched.topic.id] = current[watched.topic.id]
		}
	}
	s.mu.Unlock()
	s.finishVersionCheck(w, mine)
	s.flush(w)
}
