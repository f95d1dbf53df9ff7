package render

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// absent remembers for a moment which products do not exist, so that a scan of IDs does
// not become a scan of the database: those that were asked for, and all above the
// greatest ID. A product of which a version is observed exists.
type absent struct {
	ids     *otter.Cache[int64, time.Time] // until when that holds; expiry by otter would take a goroutine
	keep    time.Duration
	max     atomic.Pointer[maxID]
	flights singleflight.Group
}

// A maxID is the greatest ID of a product, until then.
type maxID struct {
	id    int64
	until time.Time
}

// maxAbsent bounds the IDs that are remembered.
const maxAbsent = 100_000

func newAbsent(keep time.Duration) *absent {
	a := &absent{keep: keep, ids: otter.Must(&otter.Options[int64, time.Time]{MaximumSize: maxAbsent})}
	a.max.Store(&maxID{})
	return a
}

func (a *absent) has(id int64) bool {
	now := time.Now()
	if until, found := a.ids.GetIfPresent(id); found && now.Before(until) {
		return true
	}
	top := a.max.Load()
	return id > top.id && now.Before(top.until)
}

// exists takes back that the product does not exist.
func (a *absent) exists(id int64) {
	a.ids.Invalidate(id)
	for top := a.max.Load(); id > top.id; top = a.max.Load() {
		if a.max.CompareAndSwap(top, &maxID{id, top.until}) {
			return
		}
	}
}

// missing notes that the database does not have the product.
func (v *Versions) missing(ctx context.Context, id int64) {
	a := v.absent
	if top := a.max.Load(); id > top.id {
		_, _, _ = a.flights.Do("max", func() (any, error) {
			highest, err := v.source.MaxID(ctx)
			if err == nil { // else each ID is asked for, as before
				a.max.CompareAndSwap(top, &maxID{highest, time.Now().Add(a.keep)})
			}
			return nil, nil
		})
	}
	a.ids.Set(id, time.Now().Add(a.keep))
	if v.Newest(id) > 0 { // it came meanwhile, or was there and is not: the database is asked again
		a.exists(id)
	}
}
