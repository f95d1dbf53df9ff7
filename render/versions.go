package render

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"shelfcast/internal/coalesce"
	"shelfcast/store"
)

// Versions knows which version of each product is current. It alone reads and writes
// that in memory, and in Redis as the key current:{id}. Its methods may be called
// concurrently, and none of those without a context blocks.
//
// Memory is certain of a version only if that was the current one not long ago and
// somebody who reads all changes has said so (TrustUntil). Otherwise what is known is a
// lower bound, and the database is asked; if that does not answer, Redis is.
type Versions struct {
	source  Source
	shared  *shared
	queries *coalesce.Loader[int64, int64] // current versions by product ID, read from the database
	absent  *absent
	metrics *metrics
	log     *slog.Logger

	newest *otter.Cache[int64, observed]
	start  time.Time
	until  atomic.Int64 // nanoseconds after start up to which versions are certain
	since  atomic.Int64 // that were current then, or later

	resets  atomic.Int64
	highest atomic.Int64  // version that was observed, of all products
	server  atomic.Uint32 // counts the database servers that were read

	unshared unshared
}

// observed is the newest version that was observed of a product. What Redis says is no
// more than a lower bound, as Redis may remember the past, until the database, the feed
// or the bus says that version or a newer one.
type observed struct {
	version   int64
	at        time.Duration // after start, when it was last known to be the current one; 0: a lower bound
	absentAt  int32         // the second after start in which the database was first read without it; 0: it was not
	server    uint32        // that was seen to have it; 0: none was
	deleted   bool          // it stands for that the row was deleted
	announced bool          // the bus or the feed has told of it; else it was only read
}

// maxProducts bounds the products in memory: some 100 bytes each.
const maxProducts = 500_000

func newVersions(source Source, shared *shared, metrics *metrics, cfg CacheConfig) *Versions {
	v := &Versions{
		source: source, shared: shared, metrics: metrics, log: cfg.Log,
		absent: newAbsent(cfg.AbsentFor),
		newest: otter.Must(&otter.Options[int64, observed]{MaximumSize: maxProducts}),
		start:  time.Now(),
	}
	v.server.Store(1)
	v.queries = coalesce.New(coalesce.Config[int64, int64]{
		Read: v.ReadVersions, Pace: cfg.QueryInterval, Timeout: cfg.QueryTimeout, Metrics: cfg.Metrics,
		Name: "shelfcast_version_lookups_total",
		Help: "Queries for current versions that were not known from memory, by result: answered; failed; " +
			"skipped, because one has just failed. Redis answers in place of the last two.",
	})
	return v
}

// Observe takes in a committed version that the bus or the feed tells of. It reports
// whether that is news; it also is if that version was only read before.
func (v *Versions) Observe(r store.Rev) (news bool) {
	if news = v.record(r, v.sinceStart(time.Now()), true); news {
		v.absent.exists(r.ID) // after it is in newest: whoever adds it to absent just now looks there
	}
	return news
}

// Current returns the newest version known of a product of which a page shows the given
// one, and reports whether it is certain to be the current one. It is not if the page
// shows a newer one: either the news of that is on its way, or the database has lost it
// by being restored from a backup, and only the database can tell.
func (v *Versions) Current(shown store.Rev) (version int64, certain bool) {
	version, certain = v.lookup(shown.ID)
	return version, certain && (shown.Version <= version || !v.possible(shown.Version))
}

// Newest returns the newest version that was observed, and 0 if none was.
func (v *Versions) Newest(id int64) int64 {
	version, _ := v.lookup(id)
	return version
}

// lookup returns the newest version that was observed, 0 if none was, and reports
// whether it is certain to be the current one.
func (v *Versions) lookup(id int64) (version int64, certain bool) {
	n, _ := v.newest.GetIfPresent(id)
	return n.version, n.at > 0 && n.at >= time.Duration(v.since.Load()) &&
		time.Since(v.start) < time.Duration(v.until.Load())
}

// TrustUntil says that until then a version that was the current one at since, or later,
// still is unless a newer one is observed. Whoever reads all changes from the database
// says so after each read.
func (v *Versions) TrustUntil(until, since time.Time) {
	v.since.Store(int64(since.Sub(v.start)))
	v.until.Store(int64(until.Sub(v.start)))
}

// Confirm says that the database had these versions at that time, or later.
func (v *Versions) Confirm(revs []store.Rev, at time.Time) {
	age := v.sinceStart(at)
	for _, r := range revs {
		v.confirm(r, age)
	}
}

// Reset says that the database may have lost versions that were observed, by being
// restored from a backup. What is current is forgotten, here and in Redis, and asked of
// the database; what Redis has yet to be told is dropped. Fragments stay: each says of
// which version it is.
func (v *Versions) Reset(ctx context.Context) {
	v.resets.Add(1) // before: who asks for a lost version from then on has it from a list of before
	v.newest.InvalidateAll()
	v.unshared.clear()
	if err := v.shared.forgetAll(ctx); err != nil {
		v.log.Warn("could not clear current versions in Redis; they may be stale until they expire", "error", err)
	}
}

// Resets counts the calls of Reset: what was read from the database before the last one
// may have lost versions in it.
func (v *Versions) Resets() int64 { return v.resets.Load() }

// ServerChanged says that the database is another server now, which may be behind the
// one before.
func (v *Versions) ServerChanged() { v.server.Add(1) }

// sinceStart returns how long after start at was, and never 0.
func (v *Versions) sinceStart(at time.Time) time.Duration { return max(at.Sub(v.start), 1) }

// record records a version that was current at that time after start (0: it may be only a
// lower bound), and whether it was announced or only read. It reports whether that is news.
func (v *Versions) record(r store.Rev, at time.Duration, announced bool) (news bool) {
	for had := v.highest.Load(); had < r.Version && !v.highest.CompareAndSwap(had, r.Version); {
		had = v.highest.Load()
	}
	v.newest.Compute(r.ID, func(old observed, found bool) (observed, otter.ComputeOp) {
		if !found || old.version < r.Version {
			news = true
			return observed{version: r.Version, at: at, announced: announced}, otter.WriteOp
		}
		news = announced && !old.announced && old.version == r.Version
		after := old
		after.announced = old.announced || news
		if old.version == r.Version && old.at == 0 && at != 0 {
			after = observed{version: r.Version, at: at, announced: after.announced}
		}
		if after == old {
			return old, otter.CancelOp
		}
		return after, otter.WriteOp
	})
	return news
}

// confirm records that the database had a version at that time after start, or later.
func (v *Versions) confirm(r store.Rev, at time.Duration) {
	seen := observed{version: r.Version, at: at, server: v.server.Load()}
	v.newest.Compute(r.ID, func(old observed, found bool) (observed, otter.ComputeOp) {
		seen.announced = old.announced
		if seen.at = max(at, old.at); !found || old.version != r.Version || old == seen {
			return old, otter.CancelOp
		}
		return seen, otter.WriteOp
	})
}

// maxClockSkew is by how much a version may be ahead of our clock and of all that were
// observed: the clock of the database counts.
const maxClockSkew = time.Minute

// possible reports whether there may be a product of that version. Anybody can ask for
// one of the future, and each would be looked up on its own.
func (v *Versions) possible(version int64) bool {
	now := time.Now().UnixMicro()
	return version <= max(now, v.highest.Load())+maxClockSkew.Microseconds()
}

// ReadVersions reads the current version of each of the products from the database, takes
// them in, and returns them by ID. Of a product that is Lagging it returns the version that
// was observed, and of one that was deleted the version that says so. It leaves out products
// of which none was ever observed.
func (v *Versions) ReadVersions(ctx context.Context, ids []int64) (map[int64]int64, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), v.absent.has)
	before := make(map[int64]int64, len(ids))
	for _, id := range ids {
		before[id] = v.Newest(id)
	}
	began := time.Now()
	read, err := v.source.Versions(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]int64, len(ids))
	for _, r := range read {
		found[r.ID] = v.recordRead(ctx, before[r.ID], r, false)
		delete(before, r.ID)
	}
	v.Confirm(read, began)
	for id, version := range before {
		if version = v.recordMissing(id, version); version != 0 {
			found[id] = version
		}
	}
	return found, nil
}
