package feed

import (
	"context"
	"sync/atomic"
	"time"
)

// reconciliation compares every watched product with the database, a part of them with each
// read of the feed. It makes pages right in the end whatever was missed, and it is the only
// way to find a row that was deleted, as no version tells of that.
//
// Owned by Feed.Run, except took.
type reconciliation struct {
	ids    []int64 // watched when this pass over them began
	at     int     // index into ids where the pass goes on; it wraps around
	left   int     // ids that the pass has yet to compare
	began  time.Time
	last   time.Time // when the last part was compared
	urgent bool
	took   atomic.Int64 // how long the last whole pass took, in nanoseconds
}

// urgentFactor is how much faster the reconciliation runs while the feed knows of a commit that
// it has not found yet.
const urgentFactor = 4

// reconcile continues the reconciliation, at Config.ReconcileRate products a second.
func (f *Feed) reconcile(ctx context.Context) error {
	c := &f.reconciliation
	now := time.Now()
	if f.cfg.ReconcileRate < 0 || now.Sub(c.last) < f.cfg.Interval*9/10 {
		return nil
	}
	if urgent := f.late.urgent(); urgent != c.urgent {
		c.urgent = urgent
		if urgent { // compare the products again that were compared before that commit
			c.left, c.began = len(c.ids), now
		}
	}
	if c.left == 0 {
		c.ids, c.at, c.began = f.hub.Watched(), 0, now
		c.left = len(c.ids)
	}
	some := max(1, int(float64(f.cfg.ReconcileRate)*f.cfg.Interval.Seconds()))
	if c.urgent {
		some *= urgentFactor
	}
	for some = min(some, c.left); some > 0; {
		n := min(some, len(c.ids)-c.at)
		if err := f.hub.Reconcile(ctx, c.ids[c.at:c.at+n]); err != nil {
			return err
		}
		c.at = (c.at + n) % len(c.ids)
		c.left -= n
		some -= n
	}
	if c.last = now; c.left == 0 {
		c.took.Store(int64(now.Sub(c.began) + f.cfg.Interval))
	}
	return nil
}
