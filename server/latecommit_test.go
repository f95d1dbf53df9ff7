package server_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A version is the time at which its statement began, and becomes visible with the
// commit. However long the transaction takes, each page has it soon after the COMMIT,
// and so do requests for products that no page shows. With SHELFCAST_TEST_LONG that is
// the two seconds of the promise; without, more, because other tests run at the same
// time.
func TestLateCommitReachesPageInTime(t *testing.T) {
	t.Parallel()
	soon := 8 * time.Second
	if os.Getenv("SHELFCAST_TEST_LONG") != "" {
		soon = 2 * time.Second
	}
	transaction := []string{"START TRANSACTION", "UPDATE products SET stock = stock + 1", "DO SLEEP(15)", "COMMIT"}
	for name, c := range map[string]struct {
		statements []string
		blind      bool          // the instances lack PROCESS
		unwatched  time.Duration // bound for products that nobody watches
	}{
		"a transaction of 15 s": {transaction, false, soon},
		// It has locks, but no modifications yet.
		"a statement of 15 s": {
			[]string{"UPDATE products SET stock = stock + 1 WHERE id > 0 AND SLEEP(7.5) = 0"}, false, soon},
		"a transaction that cannot be seen": {transaction, true, 10*time.Second + soon},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, plain := startTriggered(t, c.blind)
			lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
			a, b := f.shopper(t, 0, ""), f.shopper(t, 1, "")
			for n, s := range []*shopper{a, b} {
				s.watch("card", lamp.Rev)
				s.settled()
				if got := f.current(t, n, mug.ID); got != mug.Version {
					t.Errorf("instance %d has version %d, want %d", n, got, mug.Version)
				}
			}
			conn, err := plain.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := f.changes(t, 0, "wait=0").Next
			executed := make(chan error)
			go func() {
				for _, statement := range c.statements {
					if _, err := conn.ExecContext(t.Context(), statement); err != nil {
						executed <- err
					}
				}
				close(executed)
			}()
			place := f.followed(t, began, executed)
			committed := time.Now()
			for n, s := range []*shopper{a, b} {
				got := s.next().Fragments
				if late := time.Since(committed); late > soon {
					t.Errorf("page %d has it %v after the COMMIT", n, late)
				}
				if len(got) != 1 || got[0].ID != lamp.ID || got[0].Version <= lamp.Version || got[0].Reset {
					t.Errorf("page %d was sent %+v", n, got)
				}
			}
			if answer := f.changes(t, 1, "wait=0&since="+place); !c.blind && len(answer.Changes) != 2 {
				t.Errorf("who follows the changes had %+v after the COMMIT", answer.Changes)
			}
			for n := range f.instances {
				testkit.Eventually(t, "the product that nobody watches is current too",
					func() bool { return f.current(t, n, mug.ID) > mug.Version })
				if late := time.Since(committed); late > c.unwatched {
					t.Errorf("instance %d has what nobody watches %v after the COMMIT", n, late)
				}
			}
		})
	}
}

// followed reads the change feed until the statements are executed, and returns its
// cursor of a good second before. Until then there must be no changes.
func (f *fleet) followed(t testing.TB, place string, executed <-chan error) string {
	t.Helper()
	for n := 0; ; n++ {
		select {
		case err := <-executed:
			if err != nil {
				t.Fatal(err)
			}
			return place
		case <-time.After(1500 * time.Millisecond):
			answer := f.changes(t, n%2, "wait=0&since="+place)
			if len(answer.Changes) > 0 {
				return place // just committed
			}
			place = answer.Next
		}
	}
}

// startTriggered starts a fleet with triggers, and returns a database for plain SQL.
// blind: the instances lack PROCESS.
func startTriggered(t testing.TB, blind bool) (*fleet, *sql.DB) {
	t.Helper()
	dsn := testkit.DSN(t)
	plain := testkit.SQL(t, dsn)
	f := startFleetOn(t, dsn, func(s *server.Settings) {
		if !blind {
			return
		}
		_, name, _ := strings.Cut(dsn, "/")
		for _, statement := range []string{"DROP USER IF EXISTS blind@'127.0.0.1'", "CREATE USER blind@'127.0.0.1'",
			"GRANT ALL ON " + name + ".* TO blind@'127.0.0.1'"} {
			if _, err := plain.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		s.Database.MySQL = strings.Replace(dsn, "root@", "blind@", 1)
	})
	if err := f.db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, plain
}

// current returns the version of a product that instance n serves without a version in
// the URL.
func (f *fleet) current(t testing.TB, n int, id int64) int64 {
	t.Helper()
	status, _, body := call(t, http.MethodGet, f.public(n, fmt.Sprint("/fragments/card/", id)), "", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, strings.TrimSpace(body))
	}
	return parse[store.Rev](t, body).Version
}
