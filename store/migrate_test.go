package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"shelfcast/store"
	"shelfcast/testkit"
)

// before is the migration to which asBefore goes back. The next one changes products.
const before = 10

// asBefore takes all migrations after before back, so that there is something to do, and
// returns how many these are: the tables and columns go that a database at that version lacks.
func asBefore(t *testing.T, dsn string) (taken int) {
	t.Helper()
	then := testkit.SQL(t, testkit.DSN(t))
	migrations, err := goose.NewProvider(goose.DialectMySQL, then, os.DirFS("migrations"))
	if err == nil {
		_, err = migrations.UpTo(t.Context(), before)
	}
	if err != nil {
		t.Fatal(err)
	}
	columns := func(db *sql.DB) map[string]bool {
		found := map[string]bool{}
		rows, err := db.Query("SELECT CONCAT(TABLE_NAME, '.', COLUMN_NAME) FROM information_schema.COLUMNS " +
			"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME != 'migrate_lock'")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			table, _, _ := strings.Cut(name, ".")
			found[name], found[table] = true, true
		}
		return found
	}
	had := columns(then)
	for name := range columns(testkit.SQL(t, dsn)) {
		table, column, isColumn := strings.Cut(name, ".")
		switch {
		case had[name] || isColumn && !had[table]:
		case isColumn:
			plain(t, dsn, "ALTER TABLE "+table+" DROP COLUMN "+column)
		default:
			plain(t, dsn, "DROP TABLE "+table)
		}
	}
	plain(t, dsn, fmt.Sprint("DELETE FROM goose_db_version WHERE version_id > ", before))
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) <= before {
		t.Fatal(len(files), err)
	}
	return len(files) - before
}

// openReader is a transaction that has read the products, until end is called.
func openReader(t *testing.T, dsn string) (end func()) {
	t.Helper()
	tx, err := testkit.SQL(t, dsn).BeginTx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT COUNT(*) FROM products").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return func() { tx.Rollback() }
}

// traffic reads and writes the products, as instances of the release before do,
// until the test ends. made returns how many statements there were, and how those
// failed that did.
func traffic(t *testing.T, dsn string) (made func() (int, []error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	count, failed := 0, []error(nil)
	var all sync.WaitGroup
	for _, statement := range []string{"SELECT id, version FROM products", "UPDATE products SET stock = stock + 1"} {
		db := testkit.SQL(t, dsn+"?lock_wait_timeout=3")
		all.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				_, err := db.Exec(statement)
				mu.Lock()
				count++
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	return func() (int, []error) {
		mu.Lock()
		defer mu.Unlock()
		return count, failed
	}
}

// A transaction that has read the products stays open. Migrate lets others
// through between its tries, says what it waits for, and is done when it may.
func TestMigrateGivesWayToTrafficWhileTableIsLocked(t *testing.T) {
	for name, change := range map[string]func(context.Context, *store.DB) error{
		"migrations": func(ctx context.Context, db *store.DB) error { _, err := db.Migrate(ctx); return err },
		"triggers":   func(ctx context.Context, db *store.DB) error { return db.InstallTriggers(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testkit.DSN(t)
			create(t, open(t, dsn), "lamp")
			if name == "migrations" {
				asBefore(t, dsn)
			}
			i := instanceOf(t, dsn)
			end := openReader(t, dsn)
			made := traffic(t, dsn)
			done := make(chan error, 1)
			go func() { done <- change(t.Context(), i.DB) }()
			for try := range 2 {
				testkit.Eventually(t, "the lock is logged",
					func() bool { return i.log.count("table is locked by a transaction") > try })
				before, _ := made()
				testkit.Eventually(t, "others go on", func() bool { n, _ := made(); return n > before+10 })
			}
			end()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if n, failed := made(); len(failed) > 0 {
				t.Errorf("%d of %d reads and writes failed: %v", len(failed), n, failed[0])
			}
			if err := i.CheckSchema(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The triggers are left alone where they are as they are to be, so that nobody
// waits, and made anew where another user is their definer.
func TestTriggersAreReplacedOnlyForAnotherDefiner(t *testing.T) {
	dsn := testkit.DSN(t)
	db := open(t, dsn)
	_, database, _ := strings.Cut(dsn, "/")
	plainDB := testkit.SQL(t, dsn)
	made := func() (definer, at string) {
		t.Helper()
		if err := plainDB.QueryRow("SELECT DEFINER, CREATED FROM information_schema.TRIGGERS "+
			"WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = 'products_version_update'").
			Scan(&definer, &at); err != nil {
			t.Fatal(err)
		}
		return definer, at
	}
	plain(t, dsn, "DROP USER IF EXISTS deployer@'%'")
	plain(t, dsn, "CREATE USER deployer@'%' IDENTIFIED BY 'secret'")
	t.Cleanup(func() { plain(t, dsn, "DROP USER IF EXISTS deployer@'%'") })
	plain(t, dsn, "GRANT ALL ON "+database+".* TO deployer@'%'")
	other := instanceOf(t, strings.Replace(dsn, "root@", "deployer:secret@", 1))
	if err := other.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if definer, _ := made(); definer != "deployer@%" {
		t.Errorf("the definer is %s", definer)
	}
	lamp := create(t, db, "lamp")
	plain(t, dsn, "DROP USER deployer@'%'")
	if _, err := db.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(100))}); err == nil {
		t.Error("an edit succeeds though the definer is gone")
	}
	if err := db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(100))}); err != nil {
		t.Error(err)
	}
	definer, at := made()
	end := openReader(t, dsn)
	defer end()
	if err := db.InstallTriggers(t.Context()); err != nil { // it would wait for the reader
		t.Error(err)
	}
	if again, then := made(); again != definer || then != at {
		t.Error("triggers that are right were made anew")
	}
}

// The lock of those who migrate is a row: a name that another has locked on this
// node is no matter, nor is a holder that has died.
func TestMigrationLockIsARow(t *testing.T) {
	dsn := testkit.DSN(t)
	conn, err := testkit.SQL(t, dsn).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var got sql.NullInt64
	err = conn.QueryRowContext(t.Context(), "SELECT GET_LOCK('shelfcast.migrate', 0)").Scan(&got)
	if err != nil || got.Int64 != 1 {
		t.Fatal(got, err)
	}
	open(t, dsn)
	want := asBefore(t, dsn)
	plain(t, dsn, "UPDATE migrate_lock SET holder = 'dead', until = TIMESTAMPADD(SECOND, 2, UTC_TIMESTAMP(6))")
	log := &record{}
	db, err := store.Open(dsn, store.Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if ran, err := db.Migrate(t.Context()); err != nil || ran != want {
		t.Errorf("%d migrations, %v; want %d", ran, err, want)
	}
	if log.count("another instance is migrating the schema") != 1 || log.count("migration applied") != want {
		t.Errorf("the log:\n%s", log)
	}
}
