package render

import (
	"context"
	"strconv"
	"strings"

	"shelfcast/store"
)

// A request asks for one fragment, and holds what is known of it on the way: one
// fragment is a batch of one.
type request struct {
	want     store.Rev // the version to return, or a newer one; 0: the current one
	certain  bool      // want is the current version, or newer than any that was observed
	missing  bool      // there is no such product
	fragment *Fragment // nil: not found yet

	// Owned by the flight that finds or loads the fragment.
	lease    string // the token of the lease that we hold; "": none
	waited   bool   // another instance held the lease
	replaced bool   // the wanted version does not exist, and want was set to the one that does
	observed int64  // the newest version that was known before the load
	read     int64  // the version that was asked of the database; 0: any
}

// newRequest returns the request for that version. It needs the database only if it
// is not certain.
func (c *Cache) newRequest(want store.Rev) request {
	want, certain, missing := c.resolve(want)
	return request{want: want, certain: certain, missing: missing}
}

// resolve returns the version to look for, and reports whether it is certain, and whether
// there is no such product: see request.
func (c *Cache) resolve(want store.Rev) (resolved store.Rev, certain, missing bool) {
	if c.absent.has(want.ID) {
		c.metrics.absent.Inc()
		return want, false, true
	}
	newest, certain := c.lookup(want.ID)
	if want.Version > newest && !c.possible(want.Version) {
		want.Version = 0
	}
	return store.Rev{ID: want.ID, Version: max(want.Version, newest)}, certain || want.Version > 0, false
}

// pending returns the requests that have no answer yet.
func pending(requests []*request) (some []*request) {
	for _, r := range requests {
		if r.fragment == nil && !r.missing {
			some = append(some, r)
		}
	}
	return some
}

// flightKey names what these requests want, so that all who want the same at the same
// time share one flight.
func flightKey(variant variant, requests []*request) string {
	var key strings.Builder
	key.WriteString(string(variant.view) + variant.hash)
	var number [20]byte
	for _, r := range requests {
		key.WriteByte(' ')
		key.Write(strconv.AppendInt(number[:0], r.want.ID, 10))
		key.WriteByte(':')
		key.Write(strconv.AppendInt(number[:0], r.want.Version, 10))
		if r.certain {
			key.WriteByte('!')
		}
	}
	return key.String()
}

// checkVersions asks the database for the current version of each product of which
// memory is not certain. If the database does not answer, they stay uncertain, and
// Redis decides. The only error is ctx's.
func (c *Cache) checkVersions(ctx context.Context, requests []request) error {
	var ids []int64
	for i := range requests {
		if r := &requests[i]; !r.certain && !r.missing {
			ids = append(ids, r.want.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	has, err := c.queries.Load(ctx, ids...)
	if err != nil {
		return ctx.Err()
	}
	for i := range requests {
		if r := &requests[i]; !r.certain && !r.missing {
			c.setVersion(ctx, r, has)
		}
	}
	return nil
}

// setVersion makes r want the version that the database has, or a newer one that was
// observed since.
func (c *Cache) setVersion(ctx context.Context, r *request, has map[int64]int64) {
	version, ok := has[r.want.ID]
	if !ok {
		r.missing = true
		c.missing(ctx, r.want.ID)
		return
	}
	r.want.Version, r.certain = max(version, c.Newest(r.want.ID)), true
}

// verifyVersions asks the database, in one query, for the versions of those products
// of which an unobserved version is wanted, and replaces versions that do not exist:
// a client that invents versions must not make us look up, lease, load and render
// each of them.
func (c *Cache) verifyVersions(ctx context.Context, variant variant, requests []*request) error {
	var unobserved []*request
	var ids []int64
	for _, r := range requests {
		if r.want.Version > c.Newest(r.want.ID) {
			unobserved, ids = append(unobserved, r), append(ids, r.want.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	has, err := c.queries.Load(ctx, ids...)
	if err != nil {
		return err
	}
	for _, r := range unobserved {
		wanted := r.want.Version
		if c.setVersion(ctx, r, has); r.missing {
			continue
		}
		if r.replaced = r.want.Version != wanted; r.replaced {
			r.fragment = c.inMemory(variant, r.want)
		}
	}
	return nil
}
