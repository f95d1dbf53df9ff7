package store_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// hostile are defaults that a server may have and that Shelfcast's SQL is not
// written for, as flags. Each of them is pinned for Shelfcast's own connections.
var hostile = []struct{ name, flags string }{
	{"no autocommit", "--autocommit=0"},
	{"chained transactions", "--completion-type=CHAIN"},
	{"released connections", "--completion-type=RELEASE"},
	{"latin1, whatever the client says",
		"--character-set-server=latin1 --collation-server=latin1_swedish_ci --skip-character-set-client-handshake"},
	{"three bytes a character",
		"--character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci --skip-character-set-client-handshake"},
	{"an empty string is NULL", "--sql-mode=EMPTY_STRING_IS_NULL"},
	{"another dialect",
		"--sql-mode=ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE"},
	{"not strict", "--sql-mode="},
	{"dirty reads", "--transaction-isolation=READ-UNCOMMITTED"},
	{"serializable", "--transaction-isolation=SERIALIZABLE"},
	{"another time zone", "--default-time-zone=-11:00"},
}

// hostileGlobals are those that a server takes at runtime only, or that would end
// statements of the test's own.
var hostileGlobals = []string{
	"unique_checks=0", "foreign_key_checks=0", "sql_safe_updates=1", "max_join_size=1, sql_big_selects=0",
	"sql_select_limit=1", "sql_auto_is_null=1", "tx_read_only=1", "max_statement_time=0.000001", "lock_wait_timeout=86400",
}

// mysqlsName has the globals that MySQL calls otherwise than MariaDB.
var mysqlsName = map[string]string{
	"tx_read_only=1": "transaction_read_only=1", "max_statement_time=0.000001": "max_execution_time=1",
}

// Two instances on a server with such a default: text comes back as it was
// written, and what one of them commits the other reads.
func TestServerDefaultsDoNotMatter(t *testing.T) {
	for _, setting := range hostile {
		t.Run(setting.name, func(t *testing.T) {
			flags := testkit.SupportedFlags(t, strings.Fields(setting.flags))
			if len(flags) == 0 {
				t.Skip("MySQL has no such setting")
			}
			server := testkit.StartMySQL(t, flags...)
			dsn := server.Database(t)
			workTogether(t, testkit.SQL(t, dsn), open(t, dsn), open(t, dsn))
		})
	}
	for _, setting := range hostileGlobals {
		if testkit.MySQL(t) {
			setting = cmp.Or(mysqlsName[setting], setting)
		}
		t.Run(setting, func(t *testing.T) {
			server := testkit.StartMySQL(t)
			dsn := server.Database(t)
			open(t, dsn)
			plain := testkit.SQL(t, dsn)
			plain.SetMaxOpenConns(1)
			if _, err := plain.Exec("SET GLOBAL " + setting); err != nil { // its own session stays as it is
				t.Fatal(err)
			}
			var pair [2]*store.DB
			for i := range pair {
				db, err := store.Open(dsn, store.Config{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				pair[i] = db
			}
			workTogether(t, plain, pair[0], pair[1])
			unlimited := "max_statement_time=0"
			if testkit.MySQL(t) {
				unlimited = "max_execution_time=0"
			}
			if _, err := plain.Exec("SET GLOBAL " + unlimited); err != nil { // or the database is not dropped
				t.Fatal(err)
			}
		})
	}
}

func workTogether(t *testing.T, plain *sql.DB, a, b *store.DB) {
	t.Helper()
	ctx := t.Context()
	lamp, mug := create(t, a, "lamp"), create(t, a, "mug")
	for range 3 { // what is read now must not be what is read for ever
		if _, err := b.Product(ctx, lamp.ID); err != nil {
			t.Fatal(err)
		}
		if list, _, err := b.List(ctx, store.Filter{}, store.Page{Limit: 10}); err != nil || len(list) != 2 {
			t.Fatalf("%d products in the list, %v; want 2", len(list), err)
		}
		if _, err := b.Clock(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		title := fmt.Sprintf("Lampe № %d 💡 žluťoučký", n)
		edited, err := a.Update(ctx, lamp.Rev, store.Edit{Title: &title, Vendor: ptr("")})
		if err != nil {
			t.Fatal(err)
		}
		lamp = edited
		read, err := b.Product(ctx, lamp.ID)
		if err != nil || read.Rev != lamp.Rev || read.Title != title {
			t.Fatalf("the other instance reads %v %q, %v; want %v %q", read.Rev, read.Title, err, lamp.Rev, title)
		}
		news, err := b.ChangedWithVisibility(ctx, store.Rev{Version: lamp.Version}, 10)
		if err != nil || len(news) == 0 {
			t.Fatalf("the feed reads %v, %v; want %v", news, err, lamp.Rev)
		}
		var kept string
		err = plain.QueryRow("SELECT HEX(title) FROM products WHERE id = ?", lamp.ID).Scan(&kept)
		if err != nil || kept != fmt.Sprintf("%X", title) {
			t.Fatalf("the database keeps the title as %s, %v; want %X", kept, err, title)
		}
	}
	found, _, err := b.List(ctx, store.Filter{Text: "ŽLUŤOUČKÝ"}, store.Page{Limit: 10})
	if err != nil || len(found) != 1 {
		t.Errorf("a search finds %d products, %v; want 1", len(found), err)
	}
	if _, err := a.Create(ctx, newEdit("mug")); !errors.Is(err, store.ErrDuplicateSKU) {
		t.Errorf("a SKU twice: %v", err)
	}
	if _, err := a.Archive(ctx, mug.Rev); err != nil {
		t.Error(err)
	}
}

// ownServers matches the tests that start servers of their own, with other flags.
const ownServers = "ServerDefaultsDoNotMatter|Switchover|ReadOnlyServer|ServerRefusals|Killed|" +
	"ReplicaIsRead|SpeaksTLS|TriggerRefusal|Fuzz"

// The whole suite passes on a server that has many such defaults at once.
func TestSuitePassesWithHostileServerDefaults(t *testing.T) {
	if os.Getenv(testkit.Flags) != "" {
		t.Skip("this is that server")
	}
	atStart := filepath.Join(t.TempDir(), "init.sql")
	globals := "SET GLOBAL unique_checks=0, foreign_key_checks=0, sql_safe_updates=1, " +
		"max_join_size=1, sql_big_selects=0, sql_select_limit=1;\n"
	if err := os.WriteFile(atStart, []byte(globals), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := testkit.SupportedFlags(t, []string{
		"--autocommit=0", "--completion-type=CHAIN", "--transaction-isolation=SERIALIZABLE", "--default-time-zone=-11:00",
		"--character-set-server=latin1", "--collation-server=latin1_swedish_ci", "--skip-character-set-client-handshake",
		"--sql-mode=EMPTY_STRING_IS_NULL,ANSI,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE", "--init-file=" + atStart,
	})
	again := exec.Command(os.Args[0],
		"-test.run="+cmp.Or(os.Getenv("SHELFCAST_TEST_HOSTILE"), "."), "-test.skip="+ownServers)
	again.Env = append(os.Environ(), testkit.Flags+"="+strings.Join(flags, " "))
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
