package realtime

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sync/errgroup"

	"shelfcast/store"
)

// pollStep is how many fragments of a poll are had before it is known whether there
// is room for more.
const pollStep = 4 * fillers

// Poll has one frame with what is newer than these, or with reset what is right
// although it is older: what a session that watches them would be sent now. A
// product that there is not is left out. If it is more than a frame full, next in
// it says how many of these were looked at. Its parts are shared, and never to be
// changed. Errors: those of the Fragments.
func (h *Hub) Poll(ctx context.Context, mode Mode, shown []Watch) (net.Buffers, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	current, err := h.currentOf(ctx, shown)
	if err != nil {
		return nil, err
	}
	var texts [][]byte
	next, size := 0, 0
	for next < len(shown) && size < FrameBytes {
		picks, err := h.picksOf(ctx, mode, shown[next:min(next+pollStep, len(shown))], current)
		if err != nil {
			return nil, err
		}
		for _, p := range picks {
			if size >= FrameBytes {
				break
			}
			next++
			if p.text != nil {
				texts = append(texts, p.whole())
				size += len(p.text)
			}
		}
	}
	if next == len(shown) {
		next = 0
	}
	h.metrics.polled.Inc()
	h.metrics.deliveries.Add(float64(len(texts)))
	return Frame(mode, texts, next), nil
}

// picksOf has one pick for each of these, without text if there is nothing newer.
func (h *Hub) picksOf(ctx context.Context, mode Mode, shown []Watch, current map[int64]int64) ([]pick, error) {
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
	return picks, g.Wait()
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
