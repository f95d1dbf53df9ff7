package render

import (
	"context"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// fetch answers requests from memory, from Redis or from the database. Those that
// could not be answered have no fragment, and there is an error, or are missing.
func (c *Cache) fetch(ctx context.Context, set *templateSet, variant variant, requests []request) error {
	if err := c.checkVersions(ctx, requests); err != nil {
		return err
	}
	var flight []*request // copies: the flight goes on if ctx ends
	var places []int      // of these in requests
	for i := range requests {
		r := &requests[i]
		if r.missing {
			continue
		}
		if r.certain {
			r.fragment = c.inMemory(variant, r.want)
		}
		if r.fragment == nil {
			moved := *r
			flight, places = append(flight, &moved), append(places, i)
		}
	}
	if len(flight) == 0 {
		return nil
	}
	traceTier(ctx, "waited")
	done := c.flights.DoChan(flightKey(variant, flight), func() (any, error) {
		// Not the first caller's context: others wait for it too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.FetchTimeout)
		defer cancel()
		return flight, c.findOrLoad(ctx, set, variant, flight)
	})
	select {
	case result := <-done:
		for n, r := range result.Val.([]*request) {
			requests[places[n]] = *r
		}
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findOrLoad looks for the fragments in Redis, and loads those that nobody has. It
// uses one set of templates, whatever is reloaded meanwhile. Requests that overlap with
// those of another flight, here or elsewhere, are held off by leases.
func (c *Cache) findOrLoad(ctx context.Context, set *templateSet, variant variant, requests []*request) error {
	defer func() { c.shared.release(ctx, variant, requests) }() // of those that no load has given back
	for _, r := range requests {
		if r.certain { // another flight may have ended since memory was checked
			r.fragment = c.inMemory(variant, r.want)
		}
	}
	waiting := pending(requests)
	if len(waiting) == 0 {
		traceTier(ctx, "memory")
		return nil
	}
	patience := time.Now().Add(c.cfg.LeaseWait)
	err := c.find(ctx, variant, waiting, 0)
	if err == nil {
		if err := c.verifyVersions(ctx, variant, pending(waiting)); err != nil {
			return err
		}
		err = c.find(ctx, variant, replaced(pending(waiting)), 0)
	}
	for err == nil {
		if waiting = pending(waiting); len(waiting) == 0 {
			return nil
		}
		if err = c.find(ctx, variant, waiting, c.cfg.Lease); err != nil {
			break
		}
		ours, theirs := split(pending(waiting))
		c.metrics.taken.Add(float64(len(ours)))
		if err := c.load(ctx, set, variant, ours); err != nil {
			return err
		}
		if len(theirs) == 0 {
			return nil
		}
		if time.Now().After(patience) {
			c.metrics.overran.Add(float64(len(theirs)))
			return c.load(ctx, set, variant, theirs)
		}
		c.shared.release(ctx, variant, waiting) // that were found
		if err := pause(ctx, 10*time.Millisecond+rand.N(10*time.Millisecond)); err != nil {
			return err
		}
	}
	return c.load(ctx, set, variant, pending(waiting)) // without Redis
}

// split returns the requests of which we have the lease, and those of which another
// instance has it.
func split(requests []*request) (ours, theirs []*request) {
	for _, r := range requests {
		if r.lease != "" {
			ours = append(ours, r)
		} else {
			r.waited = true
			theirs = append(theirs, r)
		}
	}
	return ours, theirs
}

// replaced returns the requests of which verifyVersions has replaced the version.
func replaced(requests []*request) (some []*request) {
	for _, r := range requests {
		if r.replaced {
			some = append(some, r)
		}
	}
	return some
}

// find looks for the fragments in Redis, and remembers them. With a lease it first
// tries to become the one who loads each of them.
func (c *Cache) find(ctx context.Context, variant variant, requests []*request, lease time.Duration) error {
	if len(requests) == 0 {
		return nil
	}
	err := c.shared.find(ctx, variant, requests, lease)
	for _, r := range requests {
		if r.fragment == nil {
			continue
		}
		traceTier(ctx, "redis")
		c.metrics.redis.Inc()
		if r.waited {
			c.metrics.waited.Inc()
		}
		c.record(r.fragment.Rev, 0, false)
		c.remember(r.fragment)
	}
	return err
}

// traceTier records in the span of ctx, if there is one, the tier that a fragment came
// from. For many fragments the slowest one is the last to be recorded.
func traceTier(ctx context.Context, name string) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("shelfcast.tier", name))
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
