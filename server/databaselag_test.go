package server_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A row that another program deletes is a deleted product: on each page that shows it
// within two seconds, for requests, and for a page that reconnects. It is not taken
// for a restore.
func TestDeletedRowLeavesPages(t *testing.T) {
	t.Parallel()
	dsn := testkit.DSN(t)
	f := startFleetOn(t, dsn, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	pages := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, ""), f.shopper(t, 1, "?mode=notify")}
	for _, s := range pages {
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
	}
	time.Sleep(2 * time.Second) // until each feed has read them
	if _, err := testkit.SQL(t, dsn).Exec("DELETE FROM products WHERE id = ?", lamp.ID); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	gone := store.Rev{ID: lamp.ID, Version: lamp.Version + 1}
	for n, s := range pages {
		got := s.next()
		if late := time.Since(deleted); late > 2*time.Second {
			t.Errorf("page %d heard of it after %v", n, late)
		}
		switch {
		case n == 2:
			if len(got.Changed) != 1 || got.Changed[0].Rev != gone {
				t.Errorf("page %d was told %+v", n, got)
			}
		case len(got.Fragments) != 1 || got.Fragments[0].Rev != gone || !got.Fragments[0].Unavailable ||
			strings.Contains(got.Fragments[0].HTML, "19.90"):
			t.Errorf("page %d was told %+v", n, got)
		}
	}
	away := f.shopper(t, 1, "")
	away.watch("card", lamp.Rev, mug.Rev)
	if got := away.next().Fragments; len(got) != 1 || got[0].Rev != gone || !got[0].Unavailable {
		t.Errorf("a page that was away was told %+v", got)
	}
	for n := range f.instances {
		for _, path := range []string{"/fragments/card/%d", "/fragments/detail/%d"} {
			if _, _, body := call(t, "GET", f.public(n, fmt.Sprintf(path, lamp.ID)), "", nil); strings.Contains(body, "19.90") {
				t.Errorf("instance %d has it for sale: %s", n, body)
			}
		}
		time.Sleep(1100 * time.Millisecond) // the feed has read again
		if n := metric(t, f.instances[n], "shelfcast_database_rollbacks_total"); n != 0 {
			t.Errorf("%v alarms that the database was restored", n)
		}
	}
	for _, s := range append(pages, away) {
		if more := s.settled(); len(more) > 0 {
			t.Errorf("and then %+v", more)
		}
	}
}

// An instance whose database lags waits for versions it was told of: no page goes
// back, no version is reported lost, and pages are correct within two seconds of the
// database.
func TestLaggingDatabaseIsNotRestore(t *testing.T) {
	t.Parallel()
	primary, replica := testkit.StartMySQLPair(t)
	dsn := primary.Database(t)
	_, name, _ := strings.Cut(dsn, "/")
	f := startFleetOf(t, 1, dsn, server.Options{Log: slog.New(slog.DiscardHandler)}, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	second := startFleetOf(t, 1, dsn, server.Options{Log: slog.New(slog.DiscardHandler)}, func(s *server.Settings) {
		s.Database.MySQL, s.Redis = replica.DSN(name), f.redis.URL()
	})
	s := second.shopper(t, 0, "")
	testkit.Eventually(t, "the replica has the products", func() bool {
		status, _, _ := call(t, "GET", second.public(0, fmt.Sprint("/fragments/card/", mug.ID)), "", nil)
		return status == 200
	})
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	replica.Exec("STOP REPLICA SQL_THREAD")
	edited := f.edit(t, 0, lamp.Rev, `{"price":"17.50"}`)
	edited = f.edit(t, 0, edited.Rev, `{"price":"16.50"}`)
	made := f.product(t, "cup")
	s.watch("card", edited.Rev, made.Rev) // like a page loaded from another instance
	time.Sleep(6 * time.Second)           // several comparisons
	for _, got := range s.settled() {
		t.Errorf("while the database is behind the page was told %+v", got)
	}
	again := f.edit(t, 0, edited.Rev, `{"stock":1}`)
	time.Sleep(2 * time.Second)
	replica.Exec("START REPLICA SQL_THREAD")
	caughtUp := time.Now()
	if got := s.next().Fragments; len(got) != 1 || got[0].Rev != again.Rev || got[0].Reset {
		t.Errorf("got %+v, want %v", got, again.Rev)
	}
	if late := time.Since(caughtUp); late > 3*time.Second {
		t.Errorf("%v after the database had caught up", late)
	}
	for _, name := range []string{"shelfcast_database_rollbacks_total", "shelfcast_lost_versions_total",
		"shelfcast_deleted_products_total"} {
		if n := metric(t, second.instances[0], name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
}

// metric returns the sum of an instance's counters or gauges with that name.
func metric(t testing.TB, i *server.Instance, name string) (sum float64) {
	t.Helper()
	families, err := i.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
