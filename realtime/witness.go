package realtime

import (
	"context"

	"shelfcast/store"
)

// witnesses are how many of the newest versions are looked at again before each
// read. A database that was restored from a backup has lost the newest first;
// and that all of these products were edited between its return and the next
// read, so that none tells, is unlikely.
const witnesses = 16

// testify finds out whether the database has lost versions that it had: by
// being restored from a backup, or by a failover to a replica that was behind.
// What memory and Redis take for current may be lost too then. All of it is
// forgotten, and all that is watched is compared. If that fails it is done anew
// before the next read.
//
// A row that another program deletes raises a false alarm, which is harmless.
func (f *Feed) testify(ctx context.Context) error {
	if len(f.witnesses) == 0 {
		newest, err := f.changes.Latest(ctx, witnesses)
		f.witnesses = newest
		return err
	}
	ids := make([]int64, len(f.witnesses))
	for i, w := range f.witnesses {
		ids[i] = w.ID
	}
	found, err := f.changes.Versions(ctx, ids)
	if err != nil {
		return err
	}
	has := make(map[int64]int64, len(found))
	for _, r := range found {
		has[r.ID] = r.Version
	}
	for _, w := range f.witnesses {
		if has[w.ID] >= w.Version {
			continue
		}
		f.restored.Inc()
		f.log.Warn("the database has lost a version that it had: all that is shown is compared with it", "product", w.ID, "lost", w.Version, "has", has[w.ID])
		f.shared.Forget()
		f.hub.fragments.Restored(ctx)
		if err := f.hub.Reconcile(ctx); err != nil {
			return err
		}
		f.witnesses = nil
		break
	}
	return nil
}

// witness takes note of versions that were read, oldest first.
func (f *Feed) witness(read []store.Rev) {
	taken := map[int64]bool{}
	var newest []store.Rev
	take := func(r store.Rev) {
		if !taken[r.ID] && len(newest) < witnesses {
			taken[r.ID] = true
			newest = append(newest, r)
		}
	}
	for i := len(read) - 1; i >= 0 && len(newest) < witnesses; i-- {
		take(read[i])
	}
	for _, w := range f.witnesses {
		take(w)
	}
	f.witnesses = newest
}
