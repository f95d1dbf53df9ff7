package store_test

import (
	"cmp"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
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
	t.Parallel()
	for _, setting := range hostile {
		t.Run(setting.name, func(t *testing.T) {
			t.Parallel()
			flags := testkit.SupportedFlags(t, strings.Fields(setting.flags))
			if len(flags) == 0 {
				t.Skip("MySQL has no such setting")
			}
			server := testkit.StartMySQL(t, flags...)
			dsn := server.Database(t)
			workTogether(t, testkit.SQL(t, dsn), open(t, dsn), open(t, dsn))
		})
	}
	server := testkit.StartMySQL(t)
	plain := testkit.SQL(t, server.DSN(""))
	plain.SetMaxOpenConns(1) // whose session keeps the settings that it has
	for _, setting := range hostileGlobals {
		if testkit.MySQL(t) {
			setting = cmp.Or(mysqlsName[setting], setting)
		}
		t.Run(setting, func(t *testing.T) {
			dsn := server.Database(t)
			open(t, dsn)
			set := func(to string) {
				t.Helper()
				if _, err := plain.Exec("SET GLOBAL " + to); err != nil {
					t.Fatal(err)
				}
			}
			set(setting)
			defer set(assignment.ReplaceAllString(setting, "$1=DEFAULT"))
			var pair [2]*store.DB
			for i := range pair {
				db, err := store.Open(dsn, store.Config{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				pair[i] = db
			}
			if _, err := plain.Exec("USE " + dsn[strings.LastIndex(dsn, "/")+1:]); err != nil {
				t.Fatal(err)
			}
			workTogether(t, plain, pair[0], pair[1])
		})
	}
}

// assignment matches one of the settings of hostileGlobals.
var assignment = regexp.MustCompile(`(\w+)=[\w.]+`)

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

// shared are such defaults of the server that all tests of this package share, except for
// benchmarks. make mysql-test runs the same tests with a server's own defaults.
var shared = []string{
	"--autocommit=0", "--completion-type=CHAIN", "--transaction-isolation=SERIALIZABLE", "--default-time-zone=-11:00",
	"--character-set-server=latin1", "--collation-server=latin1_swedish_ci", "--skip-character-set-client-handshake",
	"--sql-mode=EMPTY_STRING_IS_NULL,ANSI,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE",
}

const sharedGlobals = "SET GLOBAL unique_checks=0, foreign_key_checks=0, sql_safe_updates=1, " +
	"max_join_size=1, sql_big_selects=0, sql_select_limit=1;\n"

func TestMain(m *testing.M) {
	flag.Parse()
	if _, set := os.LookupEnv(testkit.Flags); !set && flag.Lookup("test.bench").Value.String() == "" {
		file, err := os.CreateTemp("", "shelfcast-globals-")
		if err == nil {
			_, err = file.WriteString(sharedGlobals)
		}
		if err := errors.Join(err, file.Close()); err != nil {
			panic(err)
		}
		os.Setenv(testkit.Flags, strings.Join(append(shared, "--init-file="+file.Name()), " "))
		testkit.Main(m, func() { os.Remove(file.Name()) })
	}
	testkit.Main(m)
}

// The shared server has the defaults that it is said to have.
func TestSharedServerHasHostileDefaults(t *testing.T) {
	db := testkit.SQL(t, testkit.DSN(t))
	if os.Getenv(testkit.Flags) == "" {
		t.Skip("it runs with its own defaults")
	}
	for name, want := range map[string]string{
		"autocommit": "0", "completion_type": "CHAIN", "sql_safe_updates": "1", "sql_select_limit": "1",
		"character_set_server": "latin1", "time_zone": "-11:00",
	} {
		var got string
		if err := db.QueryRow("SELECT @@GLOBAL." + name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", name, got, want, err)
		}
	}
}
