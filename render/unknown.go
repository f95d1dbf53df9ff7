package render

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// unknown remembers for a moment which products are not there, so that a scan
// of ids does not become a scan of the database: those that were asked for, and
// all above the highest id that there is. A product that is heard of is known.
type unknown struct {
	ids     *otter.Cache[int64, time.Time] // until when that is believed; expiry by otter would take a goroutine
	keep    time.Duration
	ceiling atomic.Pointer[ceiling]
}

// A ceiling is the highest id, for as long as that is believed.
type ceiling struct {
	id    int64
	until time.Time
}

// strangers bounds the ids that are remembered.
const strangers = 100_000

func newUnknown(keep time.Duration) *unknown {
	u := &unknown{keep: keep, ids: otter.Must(&otter.Options[int64, time.Time]{MaximumSize: strangers})}
	u.ceiling.Store(&ceiling{})
	return u
}

func (u *unknown) has(id int64) bool {
	now := time.Now()
	if until, found := u.ids.GetIfPresent(id); found && now.Before(until) {
		return true
	}
	top := u.ceiling.Load()
	return id > top.id && now.Before(top.until)
}

// known takes back that the product is not there.
func (u *unknown) known(id int64) {
	u.ids.Invalidate(id)
	for top := u.ceiling.Load(); id > top.id; top = u.ceiling.Load() {
		if u.ceiling.CompareAndSwap(top, &ceiling{id, top.until}) {
			return
		}
	}
}

// missing notes that the database does not have the product.
func (c *Cache) missing(ctx context.Context, id int64) {
	u := c.unknown
	if top := u.ceiling.Load(); id > top.id {
		_, _, _ = c.flights.Do("highest", func() (any, error) {
			highest, err := c.source.Highest(ctx)
			if err == nil { // else each id is asked for, as before
				u.ceiling.CompareAndSwap(top, &ceiling{highest, time.Now().Add(u.keep)})
			}
			return nil, nil
		})
	}
	u.ids.Set(id, time.Now().Add(u.keep))
	if c.Newest(id) > 0 { // it came meanwhile, or was there and is not: the database is asked again
		u.known(id)
	}
}
