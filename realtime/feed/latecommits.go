package feed

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"shelfcast/store"
)

// A version is the time when its statement began, and becomes visible when its transaction
// commits. lateScan finds versions that became visible more than store.Overlap after that.
//
// The feed asks the database which transactions are open. When one of them has ended, the
// feed reads again from the time that transaction began: a pass. A pass is made once,
// however long the transaction took, and reads a bounded number of rows a second.
//
// Where open transactions cannot be seen (the user lacks a right, or they run on another
// server and arrive by replication) passes follow each other, and each goes back by lookback.
// The first read makes such a pass too: transactions that had ended by then were never seen.
//
// Owned by Feed.Run, except cannotSee.
type lateScan struct {
	open  map[int64]int64 // transactions open at the last read: when they began, by thread
	first int64           // the database's clock at the first read; 0: there was none

	nextFrom   int64     // start of the next pass; 0: none is needed
	position   store.Rev // of the pass under way; zero: there is none
	end        int64     // of that pass
	notifyFrom int64     // the firehose gets only versions from this one on
	began      time.Time // when the feed noticed late commits that it has not found yet; zero: there are none

	cannotSee atomic.Bool // open transactions cannot be listed
	reason    string      // why they cannot; "": they can
	asked     time.Time   // when the feed last asked whether transactions run on other servers
	notBefore time.Time   // no pass begins before this while they cannot
}

const (
	// lookback is how far back a pass goes for transactions that could not be seen.
	lookback = 15 * time.Minute
	// passEvery is how often such a pass begins, if the last one has ended.
	passEvery = 10 * time.Second
	// passRows is how many rows a second a pass reads; unseenRows if passes follow each other.
	passRows, unseenRows = 20_000, 2_000
	// certainFor is how long a version counts as current for a product that nobody watches.
	// No version tells of a deleted row, and where open transactions cannot be seen a commit may be late by
	// more than lookback.
	certainFor, certainForUnseen = time.Minute, 10 * time.Second
	// elsewhereEvery is how often the feed asks whether transactions run on other servers.
	elsewhereEvery = 10 * time.Second
)

// lookForLate finds out whether a pass is needed. began is when the read of the feed began,
// and now is the database's clock.
func (f *Feed) lookForLate(ctx context.Context, began time.Time, now int64) error {
	l := &f.late
	all, err := f.changes.Writers(ctx)
	if errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	reason := ""
	if err != nil {
		reason = err.Error()
	} else if reason = l.reason; began.Sub(l.asked) >= elsewhereEvery {
		if reason, err = f.changes.RemoteWriters(ctx); err != nil {
			return err
		}
		l.asked = began
	}
	f.setVisibility(reason)
	from := l.ended(all, now)
	switch {
	case l.first == 0:
		l.first = now
		l.request(now-lookback.Microseconds(), now)
		l.began = began
	case from < now-overlap:
		l.request(from, 0)
		l.began = began
	case l.reason != "" && l.idle() && !began.Before(l.notBefore):
		l.request(now-lookback.Microseconds(), l.first) // what was there before is news to nobody
		l.notBefore = began.Add(passEvery)
	}
	l.end = max(l.end, now)
	return nil
}

// setVisibility records why open transactions cannot be listed ("": they can), and logs a change.
func (f *Feed) setVisibility(reason string) {
	if reason == f.late.reason {
		return
	}
	if f.late.reason = reason; reason == "" {
		f.log.Info("open transactions can be listed again; late commits reach pages in time")
	} else {
		f.log.Warn("cannot list open transactions; "+
			"commits of transactions over 10s reach pages late (see the staleness bound metric)", "reason", reason)
	}
	f.late.cannotSee.Store(reason != "")
}

// ended takes the transactions that are open now. It returns when the oldest began of those
// that have ended since the last call, and now if none has.
func (l *lateScan) ended(all []store.Writer, now int64) (from int64) {
	open := store.WriterStarts(all)
	from = store.OldestEnded(l.open, open, now)
	l.open = open
	return from
}

// request requests a pass that starts at from: now, or after the pass under way. The firehose
// gets what it finds from the version notifyFrom on.
func (l *lateScan) request(from, notifyFrom int64) {
	if l.idle() {
		l.notifyFrom = notifyFrom
	}
	l.notifyFrom = min(l.notifyFrom, notifyFrom)
	if from -= overlap; l.nextFrom == 0 || from < l.nextFrom {
		l.nextFrom = from
	}
}

// idle reports whether no pass is under way or needed.
func (l *lateScan) idle() bool { return l.nextFrom == 0 && l.position == store.Rev{} }

// pass continues the pass under way, or begins one that is needed.
func (f *Feed) pass(ctx context.Context) error {
	l := &f.late
	rows := passRows
	if !l.urgent() {
		rows = unseenRows
	}
	late := func(revs []store.Rev) []store.Rev {
		news := f.hub.ApplyLate(revs, l.notifyFrom)
		for _, r := range news {
			if r.Version >= l.first { // before that this instance may not have been running
				f.tardy.Inc()
			}
		}
		return news
	}
	for rows > 0 && !l.idle() {
		if (l.position == store.Rev{}) {
			l.position, l.nextFrom = store.Rev{Version: l.nextFrom}, 0
		}
		some := min(rows, page)
		last, more, err := f.apply(ctx, l.position, some, late)
		if err != nil {
			return err
		}
		l.position = last
		rows -= some
		if !more || last.Version >= l.end {
			if l.position = (store.Rev{}); l.idle() {
				l.began, l.end = time.Time{}, 0
			}
		}
	}
	return nil
}

// urgent reports whether the feed knows of late commits that it has not found yet.
func (l *lateScan) urgent() bool { return !l.began.IsZero() }

// trustedSince returns since when a version must have been seen to be current to be trusted,
// after a read of the feed that began at began.
func (l *lateScan) trustedSince(began time.Time) time.Time {
	switch {
	case l.urgent():
		return l.began
	case l.reason != "":
		return began.Add(-certainForUnseen)
	}
	return began.Add(-certainFor)
}
