// Package feed finds out from the database what has changed, so that nothing depends on a
// message of the bus. It is tested together with a hub and its pages: see latecommits_test.go
// of package realtime.
package feed

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"shelfcast/store"
)

// Changes reads versions in the order of the database's clock. *store.DB implements it.
type Changes interface {
	Clock(ctx context.Context) (int64, error)
	ChangedWithVisibility(ctx context.Context, after store.Rev, limit int) ([]store.ChangedProduct, error)
	LatestRevs(ctx context.Context, limit int) ([]store.Rev, error)
	Versions(ctx context.Context, ids []int64) ([]store.Rev, error)
	// Writers returns the open transactions, which may yet commit versions from before. An
	// error other than store.ErrUnavailable means that they cannot be seen.
	Writers(ctx context.Context) ([]store.Writer, error)
	// ServerName names who answered the last Clock.
	ServerName() string
	// RemoteWriters reports why some may commit whom Writers does not see; "" if there is nothing to say so.
	RemoteWriters(ctx context.Context) (why string, err error)
}

// A Hub delivers what the feed finds. *realtime.Hub is one.
type Hub interface {
	// Apply delivers versions, and returns those that are news to this instance.
	Apply(revs ...store.Rev) (news []store.Rev)
	// ApplyLate is Apply for versions that were read again. Those who follow all products get
	// only news, from the version first on.
	ApplyLate(revs []store.Rev, first int64) (news []store.Rev)
	// ObserveHidden takes in a version of a product that shoppers may not see.
	ObserveHidden(version int64)
	// Watched returns the IDs of the products that pages show.
	Watched() []int64
	// Reconcile compares these products with the database.
	Reconcile(ctx context.Context, ids []int64) error
	// SetClock records what the database's clock said at a time of ours.
	SetClock(now int64, at time.Time)
}

// Versions knows which version of each product is current. *render.Versions is one.
type Versions interface {
	// Confirm says that the database had these versions at that time, after they were
	// observed.
	Confirm(revs []store.Rev, at time.Time)
	// TrustUntil says that until then a version that was current at since, or later,
	// still is unless a newer one is observed.
	TrustUntil(until, since time.Time)
	// Share tells instances that start later that these versions are current. What cannot
	// be shared now is shared with the next call.
	Share(ctx context.Context, revs ...store.Rev) error
	// ServerChanged says that the database is another server now, which may be behind
	// the one before.
	ServerChanged()
	// Reset says that the database may have lost versions that were observed.
	Reset(ctx context.Context)
}

// Config configures a Feed. The zero value means the defaults.
type Config struct {
	Interval      time.Duration // between reads; 1s
	ReconcileRate int           // watched products compared with the database a second; 4000; negative: none
	Metrics       prometheus.Registerer
	Log           *slog.Logger
}

// A Feed reads from the database what has changed and passes it to the hub. Each read begins
// store.Overlap before the last one. Commits that are later than that are found by lateScan, and
// deleted rows by reconciliation.
type Feed struct {
	changes  Changes
	hub      Hub
	versions Versions
	cfg      Config
	log      *slog.Logger
	ask      chan struct{} // wakes Run; capacity 1; never closed

	rows, repaired, failed, restored, tardy prometheus.Counter

	lastRead atomic.Int64 // when the last read that succeeded began, Unix nanoseconds; 0: none yet

	// Owned by Run.
	started time.Time
	cursor  int64 // the database's clock at the last read; 0: none yet
	failing bool

	probes         []probe   // see noteProbes
	server         string    // whose rows were read last
	moved          time.Time // when that changed; zero: it has not
	late           lateScan
	reconciliation reconciliation
}

// page is how many rows the feed reads at a time.
const page = 5000

// New returns a Feed that Run drives.
func New(changes Changes, hub Hub, versions Versions, cfg Config) *Feed {
	cfg.Interval = cmp.Or(cfg.Interval, time.Second)
	cfg.ReconcileRate = cmp.Or(cfg.ReconcileRate, 4000)
	metrics := promauto.With(cfg.Metrics)
	counter := func(name, help string) prometheus.Counter {
		return metrics.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	f := &Feed{
		changes: changes, hub: hub, versions: versions, cfg: cfg,
		log:  cmp.Or(cfg.Log, slog.Default()),
		ask:  make(chan struct{}, 1),
		rows: counter("shelfcast_feed_rows_total", "Rows read by the feed."),
		repaired: counter("shelfcast_feed_repaired_total",
			"Versions that the feed found before they came through the bus, or that never came."),
		failed: counter("shelfcast_feed_failures_total", "Failed reads of the feed."),
		tardy: counter("shelfcast_feed_late_commits_total",
			"Versions whose transaction committed more than 10 s after the version was assigned."),
		restored: counter("shelfcast_database_rollbacks_total",
			"Times that the database was found to have lost versions, as after a restore; "+
				"all that is shown is then compared with it."),
	}
	gauge := func(name, help string, value func() float64) {
		metrics.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("shelfcast_feed_age_seconds",
		"Time since the last successful read of the feed began; 3600 if none has succeeded.",
		func() float64 { return f.Age().Seconds() })
	gauge("shelfcast_feed_transactions_hidden", "1 if open transactions cannot be seen, "+
		"so that commits of transactions longer than 10 s are found by reconciliation.", func() float64 {
		if f.late.cannotSee.Load() {
			return 1
		}
		return 0
	})
	gauge("shelfcast_feed_staleness_bound_seconds",
		"Time within which a watched product's commit reaches its pages, however long the transaction took.",
		func() float64 { return f.Bound().Seconds() })
	return f
}

// Ask makes the feed read at once, because a message of the bus may have been missed.
func (f *Feed) Ask() {
	select {
	case f.ask <- struct{}{}:
	default: // it is about to
	}
}

// Age returns how long ago the last successful read began, and an hour if none has
// succeeded.
func (f *Feed) Age() time.Duration {
	last := f.lastRead.Load()
	if last == 0 {
		return time.Hour
	}
	return time.Since(time.Unix(0, last))
}

var errFeedLate = errors.New("the last read of changes is too long ago")

// Check returns an error unless the last successful read began less than two intervals ago.
func (f *Feed) Check(context.Context) error {
	if f.Age() < 2*f.cfg.Interval {
		return nil
	}
	return errFeedLate
}

// Bound returns within what time after a commit the pages that show the product show it,
// however long the transaction took.
func (f *Feed) Bound() time.Duration {
	if f.late.cannotSee.Load() {
		return f.cfg.Interval + time.Duration(f.reconciliation.took.Load())
	}
	return 2 * f.cfg.Interval
}

// Run reads until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	f.started = time.Now()
	tick := time.NewTicker(f.cfg.Interval)
	defer tick.Stop()
	for {
		f.note(ctx, f.read(ctx))
		select {
		case <-tick.C:
		case <-f.ask:
		case <-ctx.Done():
			return nil
		}
	}
}

// note counts a failed read, and logs when failing begins and ends.
func (f *Feed) note(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.failed.Inc()
		if !f.failing {
			f.log.Warn("reading changes from the database failed; trying again", "error", err)
		}
		f.failing = true
	case f.failing:
		f.log.Info("reading changes from the database works again")
		f.failing = false
	}
}

// read applies what has changed since store.Overlap before the last read. It continues from
// the database's clock and never from the newest version seen: a clock that was ahead for a
// while must not make it skip changes.
func (f *Feed) read(ctx context.Context) error {
	began := time.Now()
	asked := time.Now()
	now, err := f.changes.Clock(ctx)
	if err != nil {
		return err
	}
	f.noteServer(f.changes.ServerName())
	if err := f.detectRollback(ctx); err != nil {
		return err
	}
	f.hub.SetClock(now, asked.Add(time.Since(asked)/2))
	since := f.cursor
	if since == 0 { // also cover what this process has read before the first read of the feed
		since = now - time.Since(f.started).Microseconds()
	}
	// Ask before reading rows: a transaction that has ended by now is visible in them.
	if err := f.lookForLate(ctx, began, now); err != nil {
		return err
	}
	for after, more := (store.Rev{Version: since - overlap}), true; more; {
		if after, more, err = f.apply(ctx, after, page, f.news); err != nil {
			return err
		}
	}
	f.cursor = now
	if err := f.pass(ctx); err != nil {
		return err
	}
	if err := f.reconcile(ctx); err != nil {
		return err
	}
	f.lastRead.Store(began.UnixNano())
	f.versions.TrustUntil(began.Add(2*f.cfg.Interval), f.late.trustedSince(began))
	return nil
}

// overlap is store.Overlap as versions count.
var overlap = store.Overlap.Microseconds()

// news applies what was read, and returns what this instance had not observed.
func (f *Feed) news(read []store.Rev) []store.Rev {
	f.noteProbes(read)
	news := f.hub.Apply(read...)
	f.repaired.Add(float64(len(news)))
	return news
}

// apply reads one page of the changes after that version and hands it to take. It returns
// the last version read, and reports whether there may be more after it.
func (f *Feed) apply(ctx context.Context, after store.Rev, limit int,
	take func([]store.Rev) (news []store.Rev)) (last store.Rev, more bool, err error) {
	began := time.Now()
	rows, err := f.changes.ChangedWithVisibility(ctx, after, limit)
	if err != nil || len(rows) == 0 {
		return after, false, err
	}
	f.rows.Add(float64(len(rows)))
	revs := make([]store.Rev, 0, len(rows))
	for _, row := range rows {
		if row.Hidden {
			f.hub.ObserveHidden(row.Version)
		} else {
			revs = append(revs, row.Rev)
		}
	}
	news := take(revs)
	f.versions.Confirm(revs, began)
	if err := f.versions.Share(ctx, news...); err != nil {
		f.log.Debug("writing current versions to Redis failed; trying again with the next read", "error", err)
	}
	return rows[len(rows)-1].Rev, len(rows) == limit, nil
}
