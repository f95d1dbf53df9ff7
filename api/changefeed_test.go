package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"shelfcast/store"
)

// A ledger is a database in which edits commit late: each has its version from
// when it began, and is seen when the clock has come to its commit. Every read
// takes time, so that something commits between two.
type ledger struct {
	clock   int64
	random  *rand.Rand
	pending []commit
	over    bool // nothing new begins
	rows    map[int64]int64
}

type commit struct {
	store.Rev
	at int64
}

func (l *ledger) pass() {
	l.clock += l.random.Int64N(overlap / 20)
	for !l.over && l.random.IntN(3) > 0 {
		version := l.clock + l.random.Int64N(1000)
		l.pending = append(l.pending, commit{store.Rev{ID: l.random.Int64N(60), Version: version}, version + l.random.Int64N(overlap*9/10)}) // and seen at the next read, a twentieth later
	}
	l.pending = slices.DeleteFunc(l.pending, func(c commit) bool {
		if c.at > l.clock {
			return false
		}
		l.rows[c.ID] = max(l.rows[c.ID], c.Version)
		return true
	})
}

func (l *ledger) Clock(context.Context) (int64, error) { l.pass(); return l.clock, nil }

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

// Whoever goes on from answer to answer has in the end the newest version of
// each product, however late edits commit and however small the answers are; and
// when nothing happens any more nothing comes any more.
func TestNoChangeIsMissed(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		l := &ledger{clock: 1_000_000_000, random: random, rows: map[int64]int64{}}
		limit := []int{1, 3, 10, 40, 500}[seed%5]
		place, has := tail{window: window{Clock: l.clock}}, map[int64]int64{}
		poll := func() int {
			revs, next, err := place.read(t.Context(), l, limit)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseTail(next.String())
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
		quiet := 0 // answers of one read that had nothing
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

// One token has a fifth of the places, and whoever is refused is told why.
func TestOneTokenCannotTakeAllWaitingPlaces(t *testing.T) {
	var w waiting
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
		for range maxShare {
			enter(key, nil)
		}
		enter(key, ErrWaitingShare)
	}
	enter("token:4", ErrWaiting)
	leaves[0]()
	enter("token:4", nil)
	enter("root", ErrWaiting)
	for _, leave := range leaves[1:] {
		if leave != nil {
			leave()
		}
	}
	if w.all != 0 || len(w.of) != 0 {
		t.Errorf("%d places are taken when all have left, by %v", w.all, w.of)
	}
	for err, want := range map[error]string{
		ErrWaiting: "503 urn:shelfcast:problem:too-many-waiting-calls", ErrWaitingShare: "429 urn:shelfcast:problem:too-many-waiting-calls-of-token",
	} {
		p, headers, known := problem(err)
		if got := fmt.Sprint(p.Status, " ", p.Type); got != want || !known || headers.Get("Retry-After") == "" || strings.Contains(p.Detail, "database") {
			t.Errorf("%s, %s", got, p.Detail)
		}
	}
}
