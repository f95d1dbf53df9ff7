package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shelfcast/api/problem"
	"shelfcast/store"
)

// A ledger is a database in which edits commit late, a few of them later than the overlap. Each has the version of its
// beginning, and becomes visible when the clock reaches its commit. Every read takes time, so that commits happen
// between two reads.
type ledger struct {
	clock    int64
	random   *rand.Rand
	pending  []commit
	over     bool // no new edits begin
	hidden   bool // open transactions cannot be seen
	threads  int64
	rows     map[int64]int64
	products int64
	rare     int // one of so many commits is later than the overlap
}

type commit struct {
	store.Rev
	at     int64
	thread int64
}

func (l *ledger) pass() {
	l.clock += l.random.Int64N(overlap / 20)
	for !l.over && l.random.IntN(3) > 0 {
		version := l.clock + l.random.Int64N(1000)
		takes := l.random.Int64N(overlap * 9 / 10) // it is seen at the next read, a twentieth later
		if !l.hidden && l.random.IntN(l.rare) == 0 {
			takes = l.random.Int64N(5 * overlap)
		}
		l.threads++
		l.pending = append(l.pending,
			commit{store.Rev{ID: l.random.Int64N(l.products), Version: version}, version + takes, l.threads % 1000})
	}
	l.pending = slices.DeleteFunc(l.pending, func(c commit) bool {
		if c.at > l.clock {
			return false
		}
		l.rows[c.ID] = max(l.rows[c.ID], c.Version)
		return true
	})
}

// snapshot returns the open transactions. Their starts are whole seconds, as the server reports them.
func (l *ledger) snapshot(context.Context) (m snapshot, err error) {
	l.pass()
	m.clock = l.clock
	l.pass()
	for _, c := range l.pending {
		if !l.hidden {
			m.open = append(m.open, store.Writer{Thread: c.thread, Started: c.Version - c.Version%1_000_000})
		}
	}
	return m, nil
}

func (l *ledger) ChangedSince(_ context.Context, after store.Rev, limit int) ([]store.Rev, error) {
	l.pass()
	var revs []store.Rev
	for id, version := range l.rows {
		if version > after.Version || version == after.Version && id > after.ID {
			revs = append(revs, store.Rev{ID: id, Version: version})
		}
	}
	slices.SortFunc(revs, func(a, b store.Rev) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return revs[:min(len(revs), limit)], nil
}

// Whoever continues from answer to answer gets the newest version of each product in the end, however late edits commit
// and however small the answers are. When nothing happens any more, nothing is delivered any more.
func TestChangeFeedMissesNoLateCommit(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		l := &ledger{clock: 1_000_000_000, random: random,
			hidden: seed%3 == 0, products: 60, rare: 20, rows: map[int64]int64{}}
		limit := []int{1, 3, 10, 40, 500}[seed%5]
		if limit > 10 { // few versions come late together
			l.products, l.rare = 5000, 300 // and the read for one late version seldom finds another
		}
		place, has := position{window: window{Clock: l.clock}}, map[int64]int64{}
		poll := func() int {
			revs, next, err := place.read(t.Context(), l, limit)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parsePosition(next.String())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range revs {
				has[r.ID] = max(has[r.ID], r.Version)
			}
			place = again
			return len(revs)
		}
		for range 200 {
			poll()
		}
		for l.over = true; len(l.pending) > 0; l.pass() {
			poll()
		}
		quiet := 0 // answers that had nothing
		for n := 0; n < 200 && quiet < 2; n++ {
			under := place.Next != nil
			if poll() > 0 || under || place.Next != nil {
				quiet = 0
				continue
			}
			quiet++
		}
		for id, version := range l.rows {
			if has[id] != version {
				t.Fatalf("seed %d, limit %d: product %d is at %d, and %d came last", seed, limit, id, version, has[id])
			}
		}
		if quiet < 2 {
			t.Errorf("seed %d, limit %d: nothing happens any more, and something still comes", seed, limit)
		}
	}
}

// One token has a fifth of the places, and a refused call is told why.
func TestOneTokenCannotTakeAllChangeFeedPlaces(t *testing.T) {
	var w waiters
	var leaves []func()
	enter := func(key string, want error) {
		t.Helper()
		leave, err := w.enter(key)
		if !errors.Is(err, want) || (leave == nil) == (err == nil) {
			t.Fatalf("%s: %v, want %v", key, err, want)
		}
		leaves = append(leaves, leave)
	}
	keys := []string{"root", "token:1", "token:2", "token:3", "jwt:x:ada"}
	for _, key := range keys {
		for range maxWaitingPerCaller {
			enter(key, nil)
		}
		enter(key, errTooManyWaitingOfToken)
	}
	enter("token:4", errTooManyWaiting)
	leaves[0]()
	enter("token:4", nil)
	enter("root", errTooManyWaiting)
	for _, leave := range leaves[1:] {
		if leave != nil {
			leave()
		}
	}
	if w.total != 0 || len(w.byCaller) != 0 {
		t.Errorf("%d places are taken when all have left, by %v", w.total, w.byCaller)
	}
	for err, want := range map[error]string{
		errTooManyWaiting:        "503 urn:shelfcast:problem:too-many-waiting-calls",
		errTooManyWaitingOfToken: "429 urn:shelfcast:problem:too-many-waiting-calls-of-token",
	} {
		p, headers, known := problem.Of(err)
		if got := fmt.Sprint(p.Status, " ", p.Type); got != want || !known ||
			headers.Get("Retry-After") == "" || strings.Contains(p.Detail, "database") {
			t.Errorf("%s, %s", got, p.Detail)
		}
	}
}
