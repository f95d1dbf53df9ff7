package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"shelfcast/render"
	"shelfcast/store"
)

// A numberSource has products by their external ids. *store.DB is one.
type numberSource interface {
	External(ctx context.Context, externalIDs []string) (map[string]store.Rev, error)
}

// odooNumbers finds the product that a shop's Odoo knows by a number: the one with
// that external id, or else our own of that id. The first is known from the
// fragments themselves; that a number is nobody's external id has to be asked for,
// and is believed for a moment.
type odooNumbers struct {
	cache  *render.Cache
	source numberSource // nil: no product has an external id

	plain   *otter.Cache[int64, time.Time] // numbers that are nobody's external id, and until when that is believed
	flights singleflight.Group
	lookups prometheus.Counter
	turns   *semaphore.Weighted // to ask the database, so that a scan of numbers takes no more than this of it
}

const (
	plainFor   = 30 * time.Second
	plainKept  = 100_000
	plainTurns = 4
	plainWait  = time.Second
)

func newOdooNumbers(cache *render.Cache, source numberSource, metrics prometheus.Registerer) *odooNumbers {
	return &odooNumbers{
		cache: cache, source: source, turns: semaphore.NewWeighted(plainTurns),
		lookups: promauto.With(metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_odoo_lookups_total", Help: "Times that the database was asked which product an Odoo storefront means by a number.",
		}),
		plain: otter.Must(&otter.Options[int64, time.Time]{MaximumSize: plainKept}),
	}
}

// fragment is the current one of the product of that number. Errors: those of
// render.Cache.Fragment, and what kept the database from answering.
func (o *odooNumbers) fragment(ctx context.Context, view render.View, number int64) (*render.Fragment, error) {
	if o.source == nil {
		return o.cache.Fragment(ctx, view, store.Rev{ID: number})
	}
	name := store.FromOdoo(number)
	if id, ok := o.cache.External(name); ok {
		f, err := o.cache.Fragment(ctx, view, store.Rev{ID: id})
		if err == nil && f.ExternalID == name {
			return f, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	} else if until, ok := o.plain.GetIfPresent(number); ok && time.Now().Before(until) {
		return o.own(ctx, view, number)
	}
	id, err := o.ask(ctx, number, name)
	switch {
	case err != nil:
		return nil, err
	case id == 0:
		return o.own(ctx, view, number)
	}
	return o.cache.Fragment(ctx, view, store.Rev{ID: id})
}

// own is the fragment of our product of that id, unless Odoo knows that by
// another number.
func (o *odooNumbers) own(ctx context.Context, view render.View, number int64) (*render.Fragment, error) {
	f, err := o.cache.Fragment(ctx, view, store.Rev{ID: number})
	if err == nil && store.OdooID(f.ID, f.ExternalID) != number {
		return nil, store.ErrNotFound
	}
	return f, err
}

// ask asks the database whose external id that is; 0: nobody's. Of those who ask
// for the same at once, one does. If the database fails, what was believed is
// believed on.
func (o *odooNumbers) ask(ctx context.Context, number int64, name string) (int64, error) {
	id, err, _ := o.flights.Do(strconv.FormatInt(number, 10), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), plainWait)
		defer cancel()
		if err := o.turns.Acquire(ctx, 1); err != nil {
			return int64(0), render.ErrBusy
		}
		defer o.turns.Release(1)
		o.lookups.Inc()
		found, err := o.source.External(context.WithoutCancel(ctx), []string{name})
		if err != nil {
			if _, believed := o.plain.GetIfPresent(number); believed {
				return int64(0), nil
			}
			return int64(0), err
		}
		r, ok := found[name]
		if ok {
			o.plain.Invalidate(number)
		} else {
			o.plain.Set(number, time.Now().Add(plainFor))
		}
		return r.ID, nil
	})
	return id.(int64), err
}
