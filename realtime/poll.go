package realtime

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sync/errgroup"

	"shelfcast/store"
)

// pollStep is how many fragments of a poll are loaded at a time, before it is clear whether
// the frame has room for more.
const pollStep = 4 * maxLoads

// Poll returns one frame with what a session that watches these products would be sent now:
// newer versions, and with reset the right ones that are older. Products that do not exist
// are left out. If it is more than one frame, its next says how many of these products it
// covers. The parts of the frame are shared and must not be changed. Errors: those of
// Fragments.
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
	h.metrics.polls.Inc()
	h.metrics.deliveries.Add(float64(len(texts)))
	return Frame(mode, texts, next), nil
}

// picksOf returns one pick for each of these, without text if there is nothing newer.
func (h *Hub) picksOf(ctx context.Context, mode Mode, shown []Watch, current map[int64]int64) ([]pick, error) {
	picks := make([]pick, len(shown))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxLoads)
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

// currentOf returns the current version of each of these products that exists: from memory
// where that is certain, and from the database in one query otherwise.
func (h *Hub) currentOf(ctx context.Context, shown []Watch) (map[int64]int64, error) {
	current := make(map[int64]int64, len(shown))
	var ids []int64
	for _, w := range shown {
		version, certain := h.fragments.Current(w.Rev)
		if _, asked := current[w.ID]; !certain && !asked {
			ids = append(ids, w.ID)
		}
		current[w.ID] = version
	}
	if len(ids) == 0 {
		return current, nil
	}
	read, err := h.fragments.ReadVersions(ctx, ids)
	if err != nil {
		h.metrics.loadFailures.Inc()
		return nil, err
	}
	h.metrics.versionChecks.Add(float64(len(ids)))
	for _, id := range ids {
		current[id] = read[id]
	}
	return current, nil
}

// pickOf returns the version of a product for a page that shows another one, without text if
// the product does not exist any more.
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
