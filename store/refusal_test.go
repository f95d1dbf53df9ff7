package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// What a server answers in the states that it gets into is no fault of the call:
// it is unavailable, counted by its number, and over when somebody has mended it.
func TestServerRefusalsAreUnavailable(t *testing.T) {
	t.Parallel()
	locked := "4151"
	if testkit.MySQL(t) {
		locked = "3118"
	}
	server := testkit.StartMySQL(t, "--max-heap-table-size=16384")
	for name, c := range map[string]struct {
		number      string
		begin, end  []string // by somebody who may do anything; DB is the database
		edits       bool     // it is edits alone that fail
		connections bool     // it is new connections alone that fail
	}{
		"the password was changed": {number: "1045", connections: true,
			begin: []string{"ALTER USER shop IDENTIFIED BY 'another'"}, end: []string{"ALTER USER shop IDENTIFIED BY 'secret'"}},
		"the account is locked": {number: locked, connections: true,
			begin: []string{"ALTER USER shop ACCOUNT LOCK"}, end: []string{"ALTER USER shop ACCOUNT UNLOCK"}},
		"too many queries": {number: "1226", begin: []string{"ALTER USER shop WITH MAX_QUERIES_PER_HOUR 1", "KILL USER shop"},
			end: []string{"ALTER USER shop WITH MAX_QUERIES_PER_HOUR 0", "FLUSH USER_RESOURCES"}},
		"a right is missing": {number: "1142", begin: []string{"REVOKE SELECT ON DB.products FROM shop"},
			end: []string{"GRANT SELECT ON DB.products TO shop"}},
		"a right to write is": {number: "1142", edits: true, begin: []string{"REVOKE UPDATE ON DB.products FROM shop"},
			end: []string{"GRANT UPDATE ON DB.products TO shop"}},
		"the table is gone": {number: "1146", begin: []string{"RENAME TABLE DB.products TO DB.away"},
			end: []string{"RENAME TABLE DB.away TO DB.products"}},
		"a column is gone": {number: "1054", begin: []string{"ALTER TABLE DB.products RENAME COLUMN title TO away"},
			end: []string{"ALTER TABLE DB.products RENAME COLUMN away TO title"}},
		"the trigger's definer is gone": {number: "1449", edits: true,
			begin: []string{"CREATE USER deployer", "GRANT ALL ON DB.* TO deployer",
				"CREATE DEFINER=deployer TRIGGER DB.hers BEFORE UPDATE ON DB.products FOR EACH ROW SET NEW.vendor = NEW.vendor",
				"DROP USER deployer"},
			end: []string{"DROP TRIGGER DB.hers"}},
		"the table is full": {number: "1114", edits: true,
			begin: []string{"CREATE TABLE DB.tiny (id INT, text CHAR(250)) ENGINE=MEMORY MAX_ROWS=1",
				"SET GLOBAL max_heap_table_size=16384", "CREATE TRIGGER DB.fills BEFORE UPDATE ON DB.products " +
					"FOR EACH ROW INSERT INTO DB.tiny SELECT 1, 'x' FROM information_schema.COLLATIONS"},
			end: []string{"DROP TRIGGER DB.fills"}},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := server.Database(t)
			admin := open(t, dsn)
			_, database, _ := strings.Cut(dsn, "/")
			run := func(statements ...string) {
				t.Helper()
				for _, statement := range statements {
					if statement == "KILL USER shop" { // which MySQL does not know
						server.KillUser("shop")
						continue
					}
					server.Exec(strings.ReplaceAll(statement, "DB", database))
				}
			}
			run("CREATE USER shop IDENTIFIED BY 'secret'")
			t.Cleanup(func() { server.Exec("DROP USER shop") })
			for _, table := range []string{"products", "product_history", "shop"} {
				run("GRANT SELECT, INSERT, UPDATE, TRIGGER ON DB." + table + " TO shop")
			}
			lamp := create(t, admin, "lamp")
			i := instanceOf(t, "shop:secret@tcp("+server.Addr()+")/"+database)
			if _, err := i.Product(t.Context(), lamp.ID); err != nil {
				t.Fatal(err)
			}
			run(c.begin...)
			if c.connections {
				if _, err := i.Product(t.Context(), lamp.ID); err != nil {
					t.Errorf("a connection that is there fails too: %v", err)
				}
				server.KillUser("shop")
			}
			_, err := i.Product(t.Context(), lamp.ID)
			if !c.edits && !errors.Is(err, store.ErrUnavailable) || c.edits && err != nil {
				t.Errorf("a read: %v", err)
			}
			for range 2 {
				_, err := i.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(100))})
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("an edit: %v", err)
				}
			}
			if n := i.value(t, "shelfcast_store_server_errors_total", c.number); n < 2 {
				t.Errorf("error %s was counted %v times", c.number, n)
			}
			run(c.end...)
			if _, err := i.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(100))}); err != nil {
				t.Errorf("an edit after it was mended: %v", err)
			}
			for _, line := range []string{"edits are failing", "edits work again"} {
				if n := i.log.count(line); n != 1 {
					t.Errorf("the log has %d lines of %q, want 1\n%s", n, line, i.log)
				}
			}
		})
	}
}

// A connection that is killed at its work.
func TestKilledConnectionIsUnavailable(t *testing.T) {
	t.Parallel()
	server := testkit.StartMySQL(t)
	dsn := server.Database(t)
	i := instanceOf(t, dsn)
	lamp := create(t, open(t, dsn), "lamp")
	held, err := testkit.SQL(t, dsn).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback()
	if _, err := held.Exec("UPDATE products SET vendor = 'held'"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := i.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(1))})
		done <- err
	}()
	plain := testkit.SQL(t, dsn)
	testkit.Eventually(t, "the edit waits, and is killed", func() bool {
		select {
		case err := <-done:
			t.Fatalf("the edit does not wait: %v", err)
		default:
		}
		var id int64
		if plain.QueryRow("SELECT id FROM information_schema.processlist "+
			"WHERE info LIKE 'UPDATE products%' AND time >= 1 AND id != CONNECTION_ID()").Scan(&id) != nil {
			return false
		}
		_, err := plain.Exec(fmt.Sprint("KILL ", id))
		return err == nil
	})
	if err := <-done; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an edit whose connection was killed: %v", err)
	}
}

// An edit that somebody's own trigger refuses is no fault of the server.
func TestTriggerRefusalIsNoOutage(t *testing.T) {
	t.Parallel()
	server := testkit.StartMySQL(t)
	dsn := server.Database(t)
	i := instanceOf(t, dsn)
	lamp := create(t, open(t, dsn), "lamp")
	_, database, _ := strings.Cut(dsn, "/")
	server.Exec("CREATE TRIGGER " + database + ".no BEFORE UPDATE ON " + database + ".products " +
		"FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not on Sundays'")
	if _, err := i.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(int64(1))}); err == nil ||
		errors.Is(err, store.ErrUnavailable) {
		t.Errorf("refused by a trigger: %v", err)
	}
	if n := i.value(t, "shelfcast_store_server_errors_total", "1644"); n != 0 || i.log.count("edits are failing") != 0 {
		t.Error("it counts as a fault of the server")
	}
}
