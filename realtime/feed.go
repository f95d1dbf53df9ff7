package realtime

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/store"
)

// Changes are the versions in the order of the database's clock. *store.DB has
// them.
type Changes interface {
	Clock(ctx context.Context) (int64, error)
	News(ctx context.Context, after store.Rev, limit int) ([]store.News, error)
	Latest(ctx context.Context, limit int) ([]store.Rev, error)
	Versions(ctx context.Context, ids []int64) ([]store.Rev, error)
}

// A Sharer tells instances that start later what is current. *Bus is one.
type Sharer interface {
	Share(ctx context.Context, revs []store.Rev) error
	// Forget drops what is yet to be shared: it may never have been.
	Forget()
}

// FeedConfig tunes a Feed. The zero value means the defaults.
type FeedConfig struct {
	Interval  time.Duration // between reads; 1s
	Reconcile time.Duration // between comparisons of all that is watched; 3min
	Metrics   prometheus.Registerer
	Log       *slog.Logger
}

// A Feed reads from the database what has changed and gives it to the hub by
// the same door as the bus does, so that nothing depends on a message.
type Feed struct {
	changes Changes
	hub     *Hub
	shared  Sharer
	cfg     FeedConfig
	log     *slog.Logger
	ask     chan struct{} // capacity 1; never closed

	rows, repaired, failed, restored prometheus.Counter

	lastRead atomic.Int64 // when the last read that succeeded began, Unix nanoseconds; 0: none yet

	// Owned by Run.
	started time.Time
	cursor  int64 // the database's clock at the last read; 0: none yet
	failing bool

	witnesses []store.Rev // versions that the database had, newest first; see testify
}

// page is how many changes are read at a time.
const page = 5000

// NewFeed makes a Feed. Run drives it.
func NewFeed(changes Changes, hub *Hub, shared Sharer, cfg FeedConfig) *Feed {
	cfg.Interval = cmp.Or(cfg.Interval, time.Second)
	cfg.Reconcile = cmp.Or(cfg.Reconcile, 3*time.Minute)
	counter := counters(cfg.Metrics)
	f := &Feed{
		changes: changes, hub: hub, shared: shared, cfg: cfg,
		log:      cmp.Or(cfg.Log, slog.Default()),
		ask:      make(chan struct{}, 1),
		rows:     counter("shelfcast_feed_rows_total", "Rows that the feed read."),
		repaired: counter("shelfcast_feed_repaired_total", "Versions that came from the database before, or instead of, the bus."),
		failed:   counter("shelfcast_feed_failed_total", "Reads of the feed that failed."),
		restored: counter("shelfcast_restores_total", "Times that the database had lost versions, after which all that is shown was compared with it."),
	}
	promauto.With(cfg.Metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_feed_age_seconds", Help: "Since the last read of the feed that succeeded began; an hour if none has.",
	}, func() float64 { return f.Age().Seconds() })
	return f
}

// Ask makes the feed read at once: something may have been missed.
func (f *Feed) Ask() {
	select {
	case f.ask <- struct{}{}:
	default: // it is about to
	}
}

// Age is how long ago the last read that succeeded began; an hour if none has.
func (f *Feed) Age() time.Duration {
	last := f.lastRead.Load()
	if last == 0 {
		return time.Hour
	}
	return time.Since(time.Unix(0, last))
}

// Healthy: the last read is younger than two intervals.
func (f *Feed) Healthy() bool { return f.Age() < 2*f.cfg.Interval }

// Run reads until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	f.started = time.Now()
	tick := time.NewTicker(f.cfg.Interval)
	defer tick.Stop()
	reconcile := time.NewTimer(f.untilReconcile())
	defer reconcile.Stop()
	for {
		f.note(ctx, f.read(ctx))
		select {
		case <-tick.C:
		case <-f.ask:
		case <-reconcile.C:
			f.note(ctx, f.hub.Reconcile(ctx))
			reconcile.Reset(f.untilReconcile())
		case <-ctx.Done():
			return nil
		}
	}
}

// untilReconcile is jittered, so that a fleet does not ask together.
func (f *Feed) untilReconcile() time.Duration {
	return f.cfg.Reconcile*8/10 + rand.N(f.cfg.Reconcile*4/10+1)
}

// note counts a failure, and says when failing begins and ends.
func (f *Feed) note(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.failed.Inc()
		if !f.failing {
			f.log.Warn("the feed is down", "error", err)
		}
		f.failing = true
	case f.failing:
		f.log.Info("the feed is back")
		f.failing = false
	}
}

// read applies what has changed since the last read, and the Overlap before it
// once more. It reads on from the database's clock and never from the newest
// version seen: a clock that was ahead for a while must not blind it.
func (f *Feed) read(ctx context.Context) error {
	began := time.Now()
	if err := f.testify(ctx); err != nil {
		return err
	}
	now, err := f.changes.Clock(ctx)
	if err != nil {
		return err
	}
	f.hub.channel.setClock(now)
	since := f.cursor
	if since == 0 { // what this process has read before the first feed is covered too
		since = now - time.Since(f.started).Microseconds()
	}
	after := store.Rev{Version: since - store.Overlap.Microseconds()}
	var news []store.Rev
	for {
		rows, err := f.changes.News(ctx, after, page)
		if err != nil {
			return err
		}
		f.rows.Add(float64(len(rows)))
		revs := make([]store.Rev, 0, len(rows))
		for _, row := range rows {
			if row.Hidden {
				f.hub.changed.note(row.Version, false)
			} else {
				revs = append(revs, row.Rev)
			}
		}
		news = append(news, f.hub.ApplyAll(revs)...)
		f.witness(revs)
		if len(rows) < page {
			break
		}
		after = rows[len(rows)-1].Rev
	}
	f.cursor = now
	f.lastRead.Store(began.UnixNano())
	f.hub.fragments.Trust(began.Add(2 * f.cfg.Interval))
	f.repaired.Add(float64(len(news)))
	if err := f.shared.Share(ctx, news); err != nil {
		f.log.Debug("what is current could not be shared", "error", err)
	}
	return nil
}
