package feed

import (
	"context"
	"slices"
	"time"

	"shelfcast/render"
	"shelfcast/store"
)

// maxProbes is how many of the newest versions the feed looks up again before each read. A
// database that was restored from a backup has lost the newest versions first. It is
// unlikely that all of these products were edited between the restore and the next read,
// which would hide it.
const maxProbes = 16

// A probe is a version that the database had.
type probe struct {
	store.Rev
	server string // that had it last
}

// noteServer remembers the name of the server that is read, and notices a failover.
func (f *Feed) noteServer(server string) {
	if f.server != "" && server != f.server {
		f.log.Warn("the database is a different server now", "before", f.server, "now", server)
		f.moved = time.Now()
		f.versions.ServerChanged()
	}
	f.server = server
}

// detectRollback finds out whether the database has lost versions that it had, because it
// was restored from a backup or failed over to a replica that was behind. Then memory and
// Redis may hold lost versions too: detectRollback clears them and compares everything that
// is watched. If that fails, the next read tries again.
//
// The evidence is a row that is older than before on the same server, which no replication
// lag can cause. A new primary gets render.MaxReplicaLag to catch up with what it never had.
// A row that is missing was deleted. If all probes are missing it may have been a restore: it
// is handled like one, but raises no alarm.
func (f *Feed) detectRollback(ctx context.Context) error {
	if len(f.probes) == 0 {
		newest, err := f.changes.LatestRevs(ctx, maxProbes)
		for _, r := range newest {
			f.probes = append(f.probes, probe{r, f.server})
		}
		return err
	}
	ids := make([]int64, len(f.probes))
	for i, p := range f.probes {
		ids[i] = p.ID
	}
	found, err := f.changes.Versions(ctx, ids)
	if err != nil {
		return err
	}
	has := make(map[int64]int64, len(found))
	for _, r := range found {
		has[r.ID] = r.Version
	}
	mayCatchUp := !f.moved.IsZero() && time.Since(f.moved) < render.MaxReplicaLag
	older := -1
	for i := range f.probes {
		switch p := &f.probes[i]; {
		case has[p.ID] >= p.Version:
			p.server = f.server
		case has[p.ID] != 0 && (p.server == f.server || !mayCatchUp):
			older = i
		}
	}
	switch {
	case older < 0 && (mayCatchUp || len(has) == len(f.probes)):
		return nil
	case older >= 0:
		p := f.probes[older]
		f.restored.Inc()
		f.log.Warn("the database rolled back a product version; comparing everything that pages show",
			"product", p.ID, "lost", p.Version, "current", has[p.ID])
	case len(has) > 0:
		f.probes = slices.DeleteFunc(f.probes, func(p probe) bool { return has[p.ID] == 0 })
		return nil
	}
	f.versions.Reset(ctx)
	if err := f.hub.Reconcile(ctx, f.hub.Watched()); err != nil {
		return err
	}
	f.probes = nil
	return nil
}

// noteProbes keeps the newest of the versions read, which come oldest first, as probes, and
// those that this server has yet to show that it has.
func (f *Feed) noteProbes(read []store.Rev) {
	taken := map[int64]bool{}
	var kept []probe
	take := func(p probe) {
		if !taken[p.ID] && len(kept) < maxProbes {
			taken[p.ID] = true
			kept = append(kept, p)
		}
	}
	newest := slices.Clone(read[max(0, len(read)-maxProbes):])
	slices.Reverse(newest)
	for _, p := range f.probes {
		if p.server != f.server && !slices.ContainsFunc(newest, func(r store.Rev) bool { return r.ID == p.ID }) {
			take(p)
		}
	}
	for _, r := range newest {
		take(probe{r, f.server})
	}
	for _, p := range f.probes {
		take(p)
	}
	f.probes = kept
}
