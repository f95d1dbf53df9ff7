package testkit_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/redis/go-redis/v9"

	"shelfcast/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func must(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func TestDatabasesAreSeparate(t *testing.T) {
	a, b := testkit.SQL(t, testkit.DSN(t)), testkit.SQL(t, testkit.DSN(t))
	must(t, a, "CREATE TABLE t (n INT)")
	must(t, b, "CREATE TABLE t (n INT)")
	must(t, a, "INSERT INTO t VALUES (1)")
	var n int
	if err := b.QueryRow("SELECT COUNT(*) FROM t").Scan(&n); err != nil || n != 0 {
		t.Errorf("the other database has %d rows, %v", n, err)
	}
}

func TestRestartKeepsAddressAndData(t *testing.T) {
	server := testkit.StartMySQL(t)
	db := testkit.SQL(t, server.Database(t))
	must(t, db, "CREATE TABLE t (n INT)")
	must(t, db, "INSERT INTO t VALUES (7)")
	server.Kill()
	if err := db.Ping(); err == nil {
		t.Error("a killed server answers")
	}
	server.Start()
	var n int
	if err := db.QueryRow("SELECT n FROM t").Scan(&n); err != nil || n != 7 {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestRedisServersAreSeparate(t *testing.T) {
	ctx := t.Context()
	a, b := testkit.StartRedis(t), testkit.StartRedis(t)
	clients := map[*testkit.RedisServer]*redis.Client{}
	for _, s := range []*testkit.RedisServer{a, b} {
		clients[s] = redis.NewClient(&redis.Options{Addr: s.Addr()})
		t.Cleanup(func() { clients[s].Close() })
	}
	if err := clients[a].Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := clients[b].Get(ctx, "k").Err(); err != redis.Nil {
		t.Errorf("the other one has it: %v", err)
	}
	a.Kill()
	if err := clients[a].Ping(ctx).Err(); err == nil {
		t.Error("a killed Redis answers")
	}
	a.Start()
	if err := clients[a].Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
}

func TestMissingProgramSkipsTest(t *testing.T) {
	var skipped bool
	t.Setenv("SHELFCAST_TEST_REQUIRE", "")
	t.Run("probe", func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		testkit.Program(t, "nothing", "no-such-program")
	})
	if !skipped {
		t.Error("a missing program did not skip the test")
	}
}
