package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

// Who may yet write is known, and since when, whatever the system's time zone is; who only reads is not among them.
func TestWritersListsOpenWriteTransactions(t *testing.T) {
	t.Setenv("TZ", "America/New_York")
	server := testkit.StartMySQL(t)
	dsn := server.Database(t)
	db := open(t, dsn)
	if err := db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	lamp, mug, cup := create(t, db, "lamp"), create(t, db, "mug"), create(t, db, "cup")
	plain := testkit.SQL(t, dsn)
	// begin makes statements on a connection of their own, the last of which may wait.
	begin := func(waits bool, statements ...string) (thread int64) {
		t.Helper()
		conn, err := plain.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&thread); err != nil {
			t.Fatal(err)
		}
		for n, statement := range statements {
			if waits && n == len(statements)-1 {
				go conn.ExecContext(t.Context(), statement)
			} else if _, err := conn.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		return thread
	}
	before := clockOf(t, db)
	begin(false, "CREATE TABLE other (a INT)", "LOCK TABLES other WRITE")
	update := fmt.Sprintf("UPDATE products SET stock = stock + 1 WHERE id = %d", lamp.ID)
	writers := map[string]int64{
		"has written": begin(false, "START TRANSACTION", update),
		"holds locks": begin(false, "START TRANSACTION",
			fmt.Sprintf("SELECT * FROM products WHERE id = %d FOR UPDATE", cup.ID)),
		"scans": begin(true,
			fmt.Sprintf("UPDATE products SET stock = 1 WHERE id = %d AND SLEEP(60) = 0", mug.ID)),
		"prepares to write": begin(true, "UPDATE products JOIN (SELECT SLEEP(60) AS slept) AS slow SET stock = slept"),
		"waits for a table": begin(true, "SET SESSION lock_wait_timeout = 60", "UPDATE other SET a = 1"),
	}
	readers := map[string]int64{
		"has a snapshot": begin(false, "START TRANSACTION WITH CONSISTENT SNAPSHOT", "SELECT COUNT(*) FROM products"),
		"reads":          begin(true, "\n (SELECT SLEEP(60))"),
	}
	var all []store.Writer
	is := func(thread int64) (since int64, found bool) {
		for _, w := range all {
			if w.Thread == thread && (!found || w.Started < since) {
				since, found = w.Started, true
			}
		}
		return since, found
	}
	testkit.Eventually(t, "all who may write are named", func() bool {
		var err error
		if all, err = db.Writers(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, thread := range writers {
			if _, found := is(thread); !found {
				return false
			}
		}
		return true
	})
	for name, thread := range writers {
		if since, _ := is(thread); since < before-3e6 || since > clockOf(t, db) {
			t.Errorf("who %s began %v after we looked", name, time.Duration(since-before)*time.Microsecond)
		}
	}
	for name, thread := range readers {
		if _, found := is(thread); found {
			t.Errorf("who %s is among those who write", name)
		}
	}
}

func clockOf(t testing.TB, db *store.DB) int64 {
	t.Helper()
	now, err := db.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func TestWritersNeedProcessPrivilege(t *testing.T) {
	t.Parallel()
	server := testkit.StartMySQL(t)
	dsn := server.Database(t)
	open(t, dsn)
	_, name, _ := strings.Cut(dsn, "/")
	server.Exec("CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'secret'")
	server.Exec("GRANT SELECT, INSERT, UPDATE, DELETE ON " + name + ".* TO shop@'127.0.0.1'")
	db, err := store.Open(strings.Replace(dsn, "root@", "shop:secret@", 1), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Writers(t.Context()); !errors.Is(err, store.ErrWritersHidden) {
		t.Errorf("got %v", err)
	}
	if why, err := db.RemoteWriters(t.Context()); err != nil || why != "" {
		t.Errorf("got %q, %v", why, err)
	}
	server.Exec("GRANT PROCESS ON *.* TO shop@'127.0.0.1'")
	db.Close()
	if db, err = store.Open(strings.Replace(dsn, "root@", "shop:secret@", 1), store.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Writers(t.Context()); err != nil {
		t.Error(err)
	}
	server.Exec("SET GLOBAL read_only = 1")
	if why, err := db.RemoteWriters(t.Context()); err != nil || !strings.Contains(why, "read_only") {
		t.Errorf("got %q, %v", why, err)
	}
}
