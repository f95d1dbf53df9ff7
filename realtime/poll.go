package realtime

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"shelfcast/store"
)

// AdmitPoll is Admit for a page that asks once and holds no session. It is
// refused whenever a session would be: a browser takes a poll that is answered
// for a sign that only its sockets do not come through.
func (h *Hub) AdmitPoll(from netip.Addr) error {
	err := h.Admits()
	if err == nil && h.crowded(from) {
		err = ErrAddress
	}
	if err == nil && (h.joins.Tokens() < 1 || !h.polls.Allow()) {
		err = ErrRate
	}
	h.refuse(err)
	return err
}

// Poll has one frame with what is newer than these, or with reset what is right
// although it is older: what a session that watches them would be sent now. A
// product that there is not is left out. Errors: those of the Fragments.
func (h *Hub) Poll(ctx context.Context, mode Mode, shown []Watch) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	current, err := h.currentOf(ctx, shown)
	if err != nil {
		return nil, err
	}
	picks := make([]pick, len(shown))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fillers)
	for i, w := range shown {
		version := current[w.ID]
		if version == 0 || version == w.Version {
			continue
		}
		g.Go(func() (err error) {
			picks[i], err = h.pickOf(ctx, mode, w, version)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	some := picks[:0]
	for _, p := range picks {
		if p.text != nil {
			some = append(some, p)
		}
	}
	h.metrics.polled.Inc()
	h.metrics.deliveries.Add(float64(len(some)))
	return appendList(nil, mode, some), nil
}

// currentOf has the current version of each of these products that there is:
// from memory where that is certain, and else from the database, at one go.
func (h *Hub) currentOf(ctx context.Context, shown []Watch) (map[int64]int64, error) {
	current := make(map[int64]int64, len(shown))
	var ids []int64
	for _, w := range shown {
		version, certain := h.fragments.Known(w.Rev)
		if _, asked := current[w.ID]; !certain && !asked {
			ids = append(ids, w.ID)
		}
		current[w.ID] = version
	}
	if len(ids) == 0 {
		return current, nil
	}
	read, err := h.compare(ctx, ids)
	if err != nil {
		h.metrics.unanswered.Inc()
		return nil, err
	}
	h.metrics.asked.Add(float64(len(ids)))
	for _, id := range ids {
		current[id] = read[id]
	}
	return current, nil
}

// pickOf is the version of a product for a page that shows another one; without
// text if the product has gone meanwhile.
func (h *Hub) pickOf(ctx context.Context, mode Mode, w Watch, version int64) (pick, error) {
	p := pick{version: version, reset: version < w.Version}
	if mode == Notify {
		p.text = changedText(&topic{id: w.ID, kind: kind{w.View, mode}}, version)
		return p, nil
	}
	f, err := h.fragments.Fragment(ctx, w.View, store.Rev{ID: w.ID, Version: version})
	if errors.Is(err, store.ErrNotFound) {
		return pick{}, nil
	}
	if err != nil {
		return pick{}, err
	}
	p.text, p.reset = f.JSON(), p.reset && f.Version < w.Version
	return p, nil
}
