package render

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"shelfcast/store"
)

// Announce writes to Redis that these versions are, or were, current: an instance that
// starts later asks there if the database does not answer. What Redis does not accept is
// kept for Share.
func (v *Versions) Announce(ctx context.Context, revs ...store.Rev) error { return v.share(ctx, revs) }

// Share is Announce for these versions together with those that were kept. Only the feed
// calls it, which is also who calls Reset: so no version that Reset forgets is on its way to
// Redis meanwhile, and nobody else waits for all that an outage has left.
func (v *Versions) Share(ctx context.Context, revs ...store.Rev) error {
	return v.share(ctx, v.unshared.take(revs))
}

func (v *Versions) share(ctx context.Context, revs []store.Rev) error {
	var err error
	away := false
	for some := range slices.Chunk(revs, perPipeline) {
		rejected := some
		if !away {
			var failed error
			rejected, failed = v.shared.setCurrent(ctx, some)
			err, away = cmp.Or(err, failed), len(rejected) == len(some)
		}
		v.unshared.keep(rejected)
	}
	return err
}

// perPipeline is how many versions go to Redis in one round trip, whose answers have to come
// within CacheConfig.RedisTimeout.
const perPipeline = 1000

// unshared holds the current versions that are not stored in Redis yet. The zero value is
// empty.
type unshared struct {
	mu       sync.Mutex
	versions map[int64]int64 // by product; nil: none
}

// maxUnshared bounds what is kept while Redis is away. What is current beyond it is forgotten
// here, and read from the database by whoever needs it.
const maxUnshared = 100_000

func (u *unshared) keep(revs []store.Rev) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.versions == nil && len(revs) > 0 {
		u.versions = map[int64]int64{}
	}
	for _, r := range revs {
		if _, had := u.versions[r.ID]; had || len(u.versions) < maxUnshared {
			u.versions[r.ID] = max(u.versions[r.ID], r.Version)
		}
	}
}

// take returns these versions and those that were kept, which it removes.
func (u *unshared) take(revs []store.Rev) []store.Rev {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.versions == nil {
		return revs
	}
	all := slices.Clone(revs)
	for id, version := range u.versions {
		all = append(all, store.Rev{ID: id, Version: version})
	}
	u.versions = nil
	return all
}

func (u *unshared) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.versions = nil
}
