package admin

import (
	"context"

	"shelfcast/store"
)

// Commit, then publish.
//
// Every operation that writes goes through commitThenPublish, or, as an import does for its many transactions, through
// publishCommitted. The order is what the promises of the product rest on:
//
//  1. The edit and its new version are committed in MySQL, in one transaction. From then on the edit is acknowledged
//     and cannot be lost. Nothing is published before: a rollback would leave pages with a version that never was.
//  2. The committed versions are published on the bus. Every instance hears of them within milliseconds, and sends
//     its pages the new fragments.
//
// The call succeeds once the commit does. If publishing fails, or the process dies between the two steps, each
// instance's feed finds the versions in MySQL, and pages show them within two seconds of the commit. So there is no
// outbox, and publishing is never retried.
//
// With an Idempotency-Key the answer is stored in the transaction of the edit. A retry gets the stored answer and
// writes and publishes nothing. If the commit failed, nothing was stored, and the retry commits and publishes anew.

// A write makes one change in the database, in one transaction. It returns the answer and the versions that the
// change has made, if any. It may run several times for one call, and must have no effect besides the database.
type write[I, O any] func(context.Context, *I) (out *O, committed []store.Rev, err error)

// commitThenPublish returns the handler of an operation that writes.
func commitThenPublish[I, O any](a *App, w write[I, O]) func(context.Context, *I) (*O, error) {
	return withProblems(a, func(ctx context.Context, in *I) (*O, error) {
		out, committed, err := runOnce(ctx, a.DB, func(ctx context.Context) (*O, []store.Rev, error) { return w(ctx, in) })
		if err != nil {
			return nil, err
		}
		a.publishCommitted(ctx, committed)
		return out, nil
	})
}

// publishCommitted publishes versions that were committed together. They reach pages in one frame. Versions of
// products that shoppers must not see are published only to the change feed of the API. It does not fail: what
// cannot be published is found by the feeds.
func (a *App) publishCommitted(ctx context.Context, committed []store.Rev) {
	if len(committed) == 0 {
		return
	}
	visible, err := a.DB.Versions(context.WithoutCancel(ctx), idsOf(committed))
	if err != nil {
		a.Log.WarnContext(ctx, "reading which committed products are public failed, so nothing is published; "+
			"the feed will deliver them within 2s",
			"versions", len(committed), "error", err)
		return
	}
	isVisible := make(map[int64]bool, len(visible))
	for _, r := range visible {
		isVisible[r.ID] = true
	}
	var public []store.Rev
	var newestHidden store.Rev
	for _, r := range committed {
		switch {
		case isVisible[r.ID]:
			public = append(public, r)
		case r.Version > newestHidden.Version:
			newestHidden = r
		}
	}
	a.Fleet.Publish(ctx, public...)
	if newestHidden.Version > 0 {
		a.Fleet.PublishHidden(ctx, newestHidden)
	}
}
