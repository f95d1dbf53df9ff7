package render

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"shelfcast/store"
)

// MaxReplicaLag is how far behind the primary a server may be that is read: more than a
// replica or a node of Galera is that anybody reads from. A version that was observed and
// is not there may still arrive for as long.
const MaxReplicaLag = time.Minute

// Lagging reports whether that version was observed, and the database was read without it
// but may still get it.
func (v *Versions) Lagging(r store.Rev) bool {
	n, _ := v.newest.GetIfPresent(r.ID)
	return n.version == r.Version && n.absentAt != 0
}

// recordRead records a version read from the database. before is the newest version known
// before the read. It returns the newest known version after it. bound says that the read
// accepted any version, and so may be of a replica that is behind.
func (v *Versions) recordRead(ctx context.Context, before int64, r store.Rev, bound bool) (version int64) {
	if before > r.Version {
		version, lost := v.recordOlder(r.ID, before, r.Version)
		if lost {
			v.metrics.lost.Inc()
			v.log.Warn("the database rolled back a product version", "product", r.ID, "lost", before, "current", r.Version)
			v.shared.lowerCurrent(ctx, r)
		}
		return version
	}
	at := time.Duration(0)
	if !bound {
		at = v.sinceStart(time.Now())
	}
	v.record(r, at, false)
	return r.Version
}

// recordMissing records that the database has no such product. before is the newest version
// known before the read. If there was one, it returns the version that says that
// it was deleted, or the newest one as long as that is Lagging; else 0.
func (v *Versions) recordMissing(id, before int64) (version int64) {
	if before == 0 {
		return 0
	}
	version, lost := v.recordOlder(id, before, 0)
	if lost {
		v.metrics.deleted.Inc()
	}
	return version
}

// recordOlder records that the database has version has of the product, 0 if it has no such
// product, although the newer version before was known before the read. It returns the
// version that counts from now on, and reports whether before is lost.
//
// A server that had a version and has it no more has lost it: it was restored from a
// backup, or the row was deleted. One that never had it may be behind, and for as long as
// MaxReplicaLag nothing is lost. What was observed since then stays. The deletion of a row
// is one more version.
func (v *Versions) recordOlder(id, before, has int64) (counts int64, lost bool) {
	now := v.sinceStart(time.Now())
	v.newest.Compute(id, func(old observed, found bool) (observed, otter.ComputeOp) {
		counts, lost = max(old.version, has), false
		elsewhere := !old.deleted && old.server != v.server.Load() // this server never had it
		switch {
		case !found || old.version != before || before <= has:
			return old, otter.CancelOp
		case old.deleted && has == 0:
			old.at = now
			return old, otter.WriteOp
		case elsewhere && old.absentAt == 0:
			old.absentAt = int32(now/time.Second) + 1
			return old, otter.WriteOp
		case elsewhere && now < time.Duration(old.absentAt)*time.Second+MaxReplicaLag:
			return old, otter.CancelOp
		}
		lost = true
		after := observed{version: has, at: now, announced: true, server: v.server.Load()}
		if has == 0 {
			after.version, after.deleted = before+1, true
		}
		counts = after.version
		return after, otter.WriteOp
	})
	return counts, lost
}
