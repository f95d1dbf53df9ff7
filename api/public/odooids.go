package public

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/internal/coalesce"
	"shelfcast/render"
	"shelfcast/store"
)

// An externalIDSource finds products by their external ids. *store.DB is one.
type externalIDSource interface {
	RevsByExternalID(ctx context.Context, externalIDs []string) (map[string]store.Rev, error)
}

// odooIDs finds the product that a shop's Odoo knows by an id: the one with that external id, or else the product
// with that id here. The cache knows the external ids of its fragments. Ids that are no external id are looked up in
// the database, and remembered for a moment.
type odooIDs struct {
	cache  *render.Cache
	source externalIDSource // nil: no product has an external id

	notExternal *otter.Cache[int64, time.Time] // Odoo ids that are no external id, and the end of each entry's validity
	lookups     *coalesce.Loader[string, store.Rev]
}

const (
	notExternalFor = 30 * time.Second
	maxNotExternal = 100_000

	// A scan of ids causes at most twenty queries a second per instance, and a request on a cold instance waits no
	// longer than that.
	lookUpInterval = 50 * time.Millisecond
	lookUpTimeout  = time.Second
)

func newOdooIDs(cache *render.Cache, source externalIDSource, metrics prometheus.Registerer) *odooIDs {
	o := &odooIDs{cache: cache, source: source,
		notExternal: otter.Must(&otter.Options[int64, time.Time]{MaximumSize: maxNotExternal})}
	o.lookups = coalesce.New(coalesce.Config[string, store.Rev]{
		Read: func(ctx context.Context, names []string) (map[string]store.Rev, error) {
			return source.RevsByExternalID(ctx, names)
		},
		Pace: lookUpInterval, Timeout: lookUpTimeout, Metrics: metrics, Name: "shelfcast_odoo_id_lookups_total",
		Help: "Lookups of Odoo product ids in the database, by result: " +
			"answered; failed; skipped, because one has just failed.",
	})
	return o
}

// fragment returns the current fragment of the product with that Odoo id. Errors: those of render.Cache.Fragment, and
// those of the database.
func (o *odooIDs) fragment(ctx context.Context, view render.View, number int64) (*render.Fragment, error) {
	if o.source == nil {
		return o.cache.Fragment(ctx, view, store.Rev{ID: number})
	}
	name := store.OdooExternalID(number)
	if id, ok := o.cache.ProductID(name); ok {
		f, err := o.cache.Fragment(ctx, view, store.Rev{ID: id})
		if err == nil && f.ExternalID == name {
			return f, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	} else if until, ok := o.notExternal.GetIfPresent(number); ok && time.Now().Before(until) {
		return o.own(ctx, view, number)
	}
	id, err := o.lookUp(ctx, number, name)
	switch {
	case err != nil:
		return nil, err
	case id == 0:
		return o.own(ctx, view, number)
	}
	return o.cache.Fragment(ctx, view, store.Rev{ID: id})
}

// own returns the fragment of the product with that id here, unless Odoo knows that product by another id.
func (o *odooIDs) own(ctx context.Context, view render.View, number int64) (*render.Fragment, error) {
	f, err := o.cache.Fragment(ctx, view, store.Rev{ID: number})
	if err == nil && store.OdooID(f.ID, f.ExternalID) != number {
		return nil, store.ErrNotFound
	}
	return f, err
}

// lookUp asks the database which product has the external id; 0: none. Concurrent look-ups share a query. If the
// database fails, remembered ids stay valid.
func (o *odooIDs) lookUp(ctx context.Context, number int64, name string) (int64, error) {
	found, err := o.lookups.Load(ctx, name)
	if err != nil {
		if _, believed := o.notExternal.GetIfPresent(number); believed && ctx.Err() == nil {
			return 0, nil
		}
		return 0, err
	}
	r, ok := found[name]
	if ok {
		o.notExternal.Invalidate(number)
	} else {
		o.notExternal.Set(number, time.Now().Add(notExternalFor))
	}
	return r.ID, nil
}
