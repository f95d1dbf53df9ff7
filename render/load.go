package render

import (
	"context"
	"slices"

	"shelfcast/internal/tracing"
	"shelfcast/store"
)

// load reads the products in one query, renders them, shares the fragments through
// Redis and gives the leases back. A fragment is kept under the version that was read,
// whatever was asked for.
func (c *Cache) load(ctx context.Context, set *templateSet, variant variant, requests []*request) error {
	if len(requests) == 0 {
		return nil
	}
	traceTier(ctx, "database")
	wants := make([]store.Rev, len(requests))
	for i, r := range requests {
		r.observed = c.Newest(r.want.ID)
		r.want.Version = max(r.want.Version, r.observed)
		if r.read = 0; r.certain { // else want is a lower bound, and the source has to know more
			r.read = r.want.Version
		}
		wants[i] = store.Rev{ID: r.want.ID, Version: r.read}
	}
	rest := requests
	products, needless, err := hedged(ctx, func(ctx context.Context) (map[int64]store.Product, error) {
		return c.readProducts(ctx, variant.view, wants)
	}, func() bool {
		certain := slices.DeleteFunc(slices.Clone(rest), func(r *request) bool { return !r.certain })
		_ = c.find(ctx, variant, certain, 0) // else the load goes on
		before := len(rest)
		rest = pending(rest)
		c.metrics.hedged.Add(float64(before - len(rest)))
		return len(rest) == 0
	})
	if needless {
		c.shared.release(ctx, variant, requests)
		return nil
	}
	var rendered []*Fragment
	for _, r := range rest {
		if err != nil {
			break
		}
		p, ok := products[r.want.ID]
		if !ok {
			if p, ok = c.deleted(r.want.ID, r.observed); !ok {
				r.missing = true
				c.missing(ctx, r.want.ID)
				continue
			}
		}
		if r.fragment = c.inMemory(variant, p.Rev); r.fragment != nil {
			continue // a version was wanted that does not exist
		}
		if r.fragment, err = c.render(ctx, set, variant, p, r); err == nil {
			rendered = append(rendered, r.fragment)
		}
	}
	if c.shared.put(ctx, variant, rendered, requests) != nil {
		c.metrics.shareFailures.Add(float64(len(rendered)))
	}
	return err
}

// readProducts reads the products as soon as fewer than the limit of concurrent loads are under
// way. ErrBusy: that took too long.
func (c *Cache) readProducts(ctx context.Context, view View, wants []store.Rev) (map[int64]store.Product, error) {
	waitCtx, cancel := context.WithTimeout(ctx, c.cfg.LoadWait)
	defer cancel()
	if err := c.loads.Acquire(waitCtx, 1); err != nil {
		c.metrics.rejected.Inc()
		return nil, ErrBusy
	}
	defer c.loads.Release(1)
	c.metrics.loads.WithLabelValues(string(view)).Add(float64(len(wants)))
	found, err := c.source.ProductsAtLeast(ctx, wants)
	if err != nil {
		return nil, err
	}
	products := make(map[int64]store.Product, len(found))
	for _, p := range found {
		products[p.ID] = p
	}
	return products, nil
}

// render makes the fragment of a product that was read for r, and remembers it.
func (c *Cache) render(ctx context.Context, set *templateSet, variant variant, p store.Product,
	r *request) (*Fragment, error) {
	_, span := tracing.Start(ctx, "render")
	html, err := set.render(variant.view, p)
	span.End()
	if err != nil {
		return nil, err
	}
	c.metrics.renders.WithLabelValues(string(variant.view)).Inc()
	f, err := NewFragment(variant.view, p, html)
	if err != nil {
		return nil, err
	}
	f.hash = variant.hash
	c.recordRead(ctx, r.observed, p.Rev, r.read > 0)
	c.remember(f)
	return f, nil
}
