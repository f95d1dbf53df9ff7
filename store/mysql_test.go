package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"shelfcast/store"
	"shelfcast/testkit"
)

// mysqlsWays are what MySQL has, or has by default, and MariaDB has not.
var mysqlsWays = map[string]string{
	"its default collation":                "--collation-server=utf8mb4_0900_ai_ci",
	"every table has a primary key":        "--sql-require-primary-key=ON",
	"an invisible key where there is none": "--sql-generate-invisible-primary-key=ON",
	"compressed transactions in its binary log": "--log-bin=binlog --binlog-transaction-compression=ON " +
		"--log-bin-trust-function-creators=ON",
	"GTIDs": "--log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON --log-bin-trust-function-creators=ON",
	"its own defaults of SQL and of information": "--sql-mode=STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE," +
		"ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY --information-schema-stats-expiry=86400",
}

// Migrations, triggers and the work of two instances, in each of MySQL's own ways.
func TestMySQLSpecificSettings(t *testing.T) {
	t.Parallel()
	if !testkit.MySQL(t) {
		t.Skip("this is MariaDB: make mysql-test runs it on MySQL")
	}
	for name, flags := range mysqlsWays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testkit.StartMySQL(t, strings.Fields(flags)...)
			dsn := server.Database(t)
			a, b := open(t, dsn), open(t, dsn)
			if err := a.InstallTriggers(t.Context()); err != nil {
				t.Fatal(err)
			}
			plain := testkit.SQL(t, dsn)
			workTogether(t, plain, a, b)
			before, err := a.Clock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plain.Exec("UPDATE products SET title = 'by hand'"); err != nil {
				t.Fatal(err)
			}
			news, err := b.ChangedWithVisibility(t.Context(), store.Rev{Version: before}, 10)
			if err != nil || len(news) != 2 {
				t.Errorf("of two products that were changed by plain SQL the feed reads %v, %v", news, err)
			}
		})
	}
}

// A user whose password goes by caching_sha2_password, MySQL's default: the first
// login asks for the server's key, or goes by TLS, and the next is from the server's cache.
func TestMySQLCachingSHA2Password(t *testing.T) {
	t.Parallel()
	if !testkit.MySQL(t) {
		t.Skip("this is MariaDB: make mysql-test runs it on MySQL")
	}
	server := testkit.StartMySQL(t)
	for n, tls := range []string{"false", "skip-verify"} {
		dsn := server.Database(t)
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		config.User, config.Passwd, config.TLSConfig = fmt.Sprint("shop", n), "p@ss:w/ord", tls
		for _, statement := range []string{
			fmt.Sprintf("CREATE USER '%s'@'127.0.0.1' IDENTIFIED WITH caching_sha2_password BY '%s'",
				config.User, config.Passwd),
			fmt.Sprintf("GRANT ALL ON %s.* TO '%s'@'127.0.0.1'", config.DBName, config.User),
		} {
			server.Exec(statement)
		}
		workTogether(t, testkit.SQL(t, dsn), open(t, config.FormatDSN()), open(t, config.FormatDSN()))
	}
}

// No name in the schema is a word that this server keeps for itself: all of the schema
// can be asked for without quotes.
func TestSchemaUsesNoReservedWords(t *testing.T) {
	dsn := testkit.DSN(t)
	open(t, dsn)
	plain := testkit.SQL(t, dsn)
	rows, err := plain.Query(
		`SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	asked := map[string]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		asked[table+"."+column] = fmt.Sprintf("SELECT %s FROM %s LIMIT 1", column, table)
	}
	if err := rows.Err(); err != nil || len(asked) < 20 {
		t.Fatalf("%d columns, %v", len(asked), err)
	}
	for name, query := range asked {
		if found, err := plain.Query(query); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := found.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The primary of a group is another one, and the old one stays up: edits go on at the new one, and an instance that
// only reads has them.
func TestGroupReplicationSwitchover(t *testing.T) {
	t.Parallel()
	if !testkit.MySQL(t) {
		t.Skip("this is MariaDB: make mysql-test runs it on MySQL")
	}
	group := testkit.StartGroup(t)
	dsn := group.Primary.Database(t)
	open(t, dsn)
	address := testkit.NewSwitch(t, group.Primary.Addr())
	dsn = strings.Replace(dsn, group.Primary.Addr(), address.Addr, 1)
	writer, reader := instanceOf(t, dsn), instanceOf(t, dsn)
	lamp, mug := create(t, writer.DB, "lamp"), create(t, writer.DB, "mug")
	if err := writer.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy(t, writer, mug.ID)
	busy(t, reader, lamp.ID)
	for _, i := range []*instance{writer, reader} {
		if _, err := i.Clock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	group.Switchover(t)
	address.SetTarget(group.Primary.Addr())
	for n := range 20 {
		edited, err := writer.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(lamp.Stock + 1)})
		if err != nil {
			t.Fatalf("edit %d after the switchover: %v", n, err)
		}
		lamp = edited
		if _, err := reader.Clock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if read, err := reader.Product(t.Context(), lamp.ID); err != nil || read.Rev != lamp.Rev {
			t.Fatalf("after edit %d the reader has %v, %v; want %v", n, read.Rev, err, lamp.Rev)
		}
	}
	for name, i := range map[string]*instance{"writer": writer, "reader": reader} {
		if err := i.CheckPrimary(); err != nil {
			t.Errorf("the %s: %v", name, err)
		}
	}
}
