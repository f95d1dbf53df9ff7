package realtime

import (
	"context"
	"maps"
	"slices"
)

// ask has what these sessions show compared with the database.
func (h *Hub) ask(all ...*session) {
	waiting := make([]*session, 0, len(all))
	for _, s := range all {
		s.mu.Lock()
		if !s.asking && !s.closed {
			s.asking = true
			waiting = append(waiting, s)
		}
		s.mu.Unlock()
	}
	h.asks.add(waiting...)
}

// answer compares what these sessions show with the database: one question for
// all that came while the last one was being answered, so that ten thousand
// browsers that come back at once are not ten thousand queries.
func (h *Hub) answer(all []*session) {
	defer func() {
		if fault := recover(); fault != nil {
			h.fault("sessions could not be answered", fault)
			if len(all) == 1 {
				all[0].end()
				return
			}
			for i := range all { // whose is it?
				h.answer(all[i : i+1])
			}
		}
	}()
	var backs []*session
	all = slices.DeleteFunc(slices.Clone(all), func(s *session) bool {
		if s.follower != nil {
			backs = append(backs, s)
		}
		return s.follower != nil
	})
	if len(backs) > 0 {
		h.resume(backs)
	}
	if len(all) == 0 {
		return
	}
	ids := map[int64]struct{}{}
	for _, s := range all {
		s.mu.Lock()
		s.asking = false
		for _, w := range s.watching {
			if w.shown&unasked != 0 {
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
	h.metrics.asked.Add(float64(len(ids)))
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Timeout)
	defer cancel()
	current, err := h.compare(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		h.metrics.unanswered.Add(float64(len(all)))
		h.again.session(all)
		return
	}
	for t, had := range before {
		h.lower(t, had, current[t.id])
	}
	h.withWork(func(w *work) {
		for _, s := range all {
			h.settle(s, before, current, w)
		}
	})
}

// settle tells a session what is current of the products that were asked for.
func (h *Hub) settle(s *session, asked map[*topic]int64, current map[int64]int64, w *work) {
	defer s.survive()
	s.mu.Lock()
	mine := make(map[int64]int64, len(s.watching))
	for _, watched := range s.watching {
		// If it has asked again meanwhile, this may be older than what it shows.
		if _, was := asked[watched.topic]; was && watched.shown&unasked != 0 && !s.asking {
			mine[watched.topic.id] = current[watched.topic.id]
		}
	}
	s.mu.Unlock()
	s.settle(w, mine)
	s.flush(w)
}
