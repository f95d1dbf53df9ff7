package render

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"shelfcast/store"
)

// current holds the newest version heard of, for each product: by the bus, by
// the feed, or because it was read. Only while the feed is healthy is that the
// current one; else it is a lower bound.
type current struct {
	newest *otter.Cache[int64, int64]
	start  time.Time
	until  atomic.Int64 // nanoseconds after start up to which the feed vouches

	restores atomic.Int64
	highest  atomic.Int64 // version heard of, of all products
}

// known bounds the products in memory: some 100 bytes each.
const known = 500_000

func newCurrent() *current {
	return &current{
		newest: otter.Must(&otter.Options[int64, int64]{MaximumSize: known}),
		start:  time.Now(),
	}
}

// heard folds a Rev in and says whether it was news.
func (c *current) heard(r store.Rev) (news bool) {
	for had := c.highest.Load(); had < r.Version && !c.highest.CompareAndSwap(had, r.Version); {
		had = c.highest.Load()
	}
	c.newest.Compute(r.ID, func(old int64, found bool) (int64, otter.ComputeOp) {
		if found && old >= r.Version {
			return old, otter.CancelOp
		}
		news = true
		return r.Version, otter.WriteOp
	})
	return news
}

// slip is by how much a version may be ahead of our clock and of all that was heard:
// the database has the clock that counts.
const slip = time.Minute

// possible: there may be a product of that version. Anybody can ask for one of the
// future, and each would be looked for on its own.
func (c *current) possible(version int64) bool {
	now := time.Now().UnixMicro()
	return version <= max(now, c.highest.Load())+slip.Microseconds()
}

// lost takes back what was heard before the database was read and the read did
// not show; what has been heard meanwhile stays.
func (c *current) lost(heard int64, read store.Rev) (taken bool) {
	c.newest.Compute(read.ID, func(old int64, found bool) (int64, otter.ComputeOp) {
		if !found || old != heard || heard <= read.Version {
			return old, otter.CancelOp
		}
		taken = true
		return read.Version, otter.WriteOp
	})
	return taken
}

// version is the newest heard of, 0 if none, and whether it is the current one.
func (c *current) version(id int64) (version int64, certain bool) {
	version, found := c.newest.GetIfPresent(id)
	return version, found && time.Since(c.start) < time.Duration(c.until.Load())
}

// Heard tells the cache of a committed version, and says whether that was news.
// It never blocks.
func (c *Cache) Heard(r store.Rev) (news bool) {
	if news = c.current.heard(r); news {
		c.unknown.known(r.ID) // after it is in current: whoever is noting just now that it is not there looks there
	}
	return news
}

// Trust says that until then every commit has been Heard: the word of whoever
// reads all changes from the database, given anew after each read.
func (c *Cache) Trust(until time.Time) { c.current.until.Store(int64(until.Sub(c.current.start))) }

// Newest has the newest version heard of, and 0 for a product not heard of.
func (c *Cache) Newest(id int64) int64 {
	version, _ := c.current.version(id)
	return version
}

// Known is the current version of a product of which a page shows the given
// one. It is certain only while the feed vouches, and if the page does not show
// a newer one: then either the news of it is on its way, or the database has
// lost it by being restored from a backup, and only the database can tell. That of a
// version that cannot be nobody need ask.
func (c *Cache) Known(shown store.Rev) (version int64, certain bool) {
	version, certain = c.current.version(shown.ID)
	return version, certain && (shown.Version <= version || !c.current.possible(shown.Version))
}

// read folds in what the database has of a product of which the version heard
// was known before it was asked.
func (c *Cache) read(ctx context.Context, heard int64, r store.Rev) {
	if heard > r.Version && c.current.lost(heard, r) {
		c.metrics.lost.Inc()
		c.log.Warn("the database does not have a version that it had", "product", r.ID, "lost", heard, "has", r.Version)
		c.shared.forget(ctx, r)
		return
	}
	c.current.heard(r)
}

// Restored says that the database may have lost versions that were heard of, by
// being restored from a backup. What is current is forgotten, here and in Redis,
// and asked of the database. Fragments stay: each says of which version it is.
func (c *Cache) Restored(ctx context.Context) {
	c.current.restores.Add(1) // before: who asks for a lost version from then on has it from a list of before
	c.current.newest.InvalidateAll()
	if err := c.shared.forgetAll(ctx); err != nil {
		c.log.Warn("what Redis has for current could not be deleted, and may be lost versions for a day", "error", err)
	}
}

// Restores is how often the database was restored: what was read of it before the
// last time may have lost versions in it.
func (c *Cache) Restores() int64 { return c.current.restores.Load() }

// Compare has the Rev of each of the products that the database has, read from
// it and folded in.
func (c *Cache) Compare(ctx context.Context, ids []int64) ([]store.Rev, error) {
	ids = slices.DeleteFunc(slices.Clone(ids), c.unknown.has)
	before := make(map[int64]int64, len(ids))
	for _, id := range ids {
		before[id] = c.Newest(id)
	}
	read, err := c.source.Versions(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range read {
		c.read(ctx, before[r.ID], r)
	}
	return read, nil
}
