package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// looked is what is found on that database, and of MySQL only.
func looked(t *testing.T, d server.Database, o Options) Report {
	t.Helper()
	s := settled()
	d.MaxOpen, d.Timeout = 16, 3*time.Second
	s.Database = d
	if o.Instances == 0 {
		o.Instances = 2
	}
	o.Limit = 5 * time.Second
	var r Report
	r.mysql(t.Context(), s, o)
	return r
}

// as is the DSN for another user, with these options.
func as(t *testing.T, dsn, user, password, options string) string {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%s@tcp(%s)/%s%s", user, password, c.Addr, c.DBName, options)
}

func run(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	db := testkit.SQL(t, dsn)
	defer db.Close() // some are run when the test is over
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// name is the database's.
func name(t *testing.T, dsn string) string {
	t.Helper()
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return c.DBName
}

const password = "Zr8kQ1vN"

// person makes a user with these rights, and is his DSN. Users are of the whole
// server: the name has the database's. Whoever has any may see transactions too,
// if the last is not "".
func person(t *testing.T, dsn string, grants ...string) string {
	t.Helper()
	user := "u" + name(t, dsn)
	statements := []string{fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", user, password)}
	if len(grants) > 0 && grants[len(grants)-1] == "" {
		grants = grants[:len(grants)-1]
	} else if len(grants) > 0 {
		grants = append(slices.Clone(grants), "GRANT PROCESS ON *.* TO USER")
	}
	for _, grant := range grants {
		statements = append(statements, strings.NewReplacer("DB", name(t, dsn), "USER", "'"+user+"'@'%'").Replace(grant))
	}
	run(t, dsn, statements...)
	t.Cleanup(func() { run(t, dsn, "DROP USER '"+user+"'@'%'") })
	return as(t, dsn, user, password, "")
}

func TestMySQLPrivilegeFindings(t *testing.T) {
	for what, c := range map[string]struct {
		grants []string
		want   map[string]Severity
		says   []string
	}{
		"all":                    {[]string{"GRANT ALL ON DB.* TO USER"}, nil, nil},
		"what an instance needs": {[]string{"GRANT SELECT, INSERT, UPDATE, DELETE ON DB.* TO USER"}, nil, nil},
		"by a role":              {byRole(t), nil, nil},
		"table by table": {[]string{
			"GRANT SELECT, INSERT, UPDATE ON DB.products TO USER", "GRANT SELECT, INSERT ON DB.product_history TO USER",
			"GRANT SELECT, INSERT, UPDATE ON DB.tokens TO USER",
			"GRANT SELECT, INSERT, UPDATE, DELETE ON DB.answers TO USER", "GRANT SELECT ON DB.goose_db_version TO USER",
			"GRANT SELECT ON DB.shop TO USER",
		}, nil, nil},
		"not to see transactions": {[]string{"GRANT ALL ON DB.* TO USER", ""}, one("mysql.process", Warning),
			[]string{"lacks PROCESS"}},
		"only to read": {[]string{"GRANT SELECT ON DB.* TO USER"}, one("mysql.rights", Error),
			[]string{"INSERT on products", "UPDATE on tokens", "DELETE on answers"}},
		"all but one": {[]string{"GRANT SELECT, INSERT, UPDATE ON DB.* TO USER"}, one("mysql.rights", Error),
			[]string{"the user lacks DELETE on answers\n"}},
		"none": {nil, one("mysql.login", Error), []string{"no privilege on the database"}},
	} {
		t.Run(what, func(t *testing.T) {
			dsn := migrated(t, testkit.DSN(t))
			wrong(t, looked(t, server.Database{MySQL: person(t, dsn, c.grants...)}, Options{}), c.want, c.says...)
		})
	}
}

// byRole gives a user rights by a role, as this server wants to be told.
func byRole(t *testing.T) []string {
	t.Helper()
	create, set := "CREATE OR REPLACE ROLE rDB", "SET DEFAULT ROLE rDB FOR USER"
	if testkit.MySQL(t) {
		create, set = "CREATE ROLE IF NOT EXISTS rDB", "SET DEFAULT ROLE rDB TO USER"
	}
	return []string{create, "GRANT SELECT, INSERT, UPDATE, DELETE ON DB.* TO rDB", "GRANT rDB TO USER", set}
}

func TestSchemaFindings(t *testing.T) {
	for what, c := range map[string]struct {
		change string // of a schema that is right; "": there is none
		want   map[string]Severity
		says   string
	}{
		"none": {"", one("mysql.schema", Error), "not have the schema of Shelfcast"},
		"old": {"DELETE FROM goose_db_version ORDER BY version_id DESC LIMIT 1", one("mysql.schema", Error),
			"and this release needs"},
		"no id": {"DELETE FROM shop", one("mysql.shop", Error), "has no id"},
		"newer": {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)",
			one("mysql.schema_newer", Warning), "at 999"},
	} {
		t.Run(what, func(t *testing.T) {
			dsn := testkit.DSN(t)
			if c.change != "" {
				run(t, migrated(t, dsn), c.change)
			}
			wrong(t, looked(t, server.Database{MySQL: dsn}, Options{}), c.want, c.says)
			if c.change == "" {
				tables := 0
				row := testkit.SQL(t, dsn).QueryRow(`SELECT COUNT(*) FROM information_schema.TABLES
					WHERE TABLE_SCHEMA = DATABASE()`)
				if err := row.Scan(&tables); err != nil || tables != 0 {
					t.Errorf("it made %d tables (%v)", tables, err)
				}
			}
		})
	}
	t.Run("old, and the user may not mend it", func(t *testing.T) {
		dsn := migrated(t, testkit.DSN(t))
		run(t, dsn, "DELETE FROM goose_db_version ORDER BY version_id DESC LIMIT 1")
		creator := person(t, dsn, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON DB.* TO USER")
		wrong(t, looked(t, server.Database{MySQL: creator}, Options{}),
			map[string]Severity{"mysql.schema": Error, "mysql.migrate": Error}, "the user lacks ALTER, INDEX")
	})
	t.Run("events", func(t *testing.T) {
		mysqld := testkit.StartMySQL(t, "--event-scheduler=ON")
		dsn := migrated(t, mysqld.Database(t))
		run(t, dsn, "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO UPDATE products SET price = price")
		wrong(t, looked(t, server.Database{MySQL: dsn}, Options{}), one("mysql.events", Warning), "has 1 events")
	})
	t.Run("triggers", func(t *testing.T) {
		dsn := migrated(t, testkit.DSN(t))
		if err := opened(t, dsn).InstallTriggers(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := looked(t, server.Database{MySQL: dsn}, Options{})
		wrong(t, r, nil)
		for _, f := range r.Findings {
			if f.Code == "mysql.triggers" && !strings.HasPrefix(f.What, "installed") {
				t.Error(f.What)
			}
		}
	})
}

// A trigger runs with the rights of the user that made it.
func TestTriggerDefinerFindings(t *testing.T) {
	for what, c := range map[string]struct {
		change []string
		grants string // of the user that looks; "": anybody
		want   map[string]Severity
		says   string
	}{
		"with their rights": {nil, "", nil, ""},
		"gone":              {[]string{"DROP USER USER"}, "", one("mysql.definer", Error), "does not exist"},
		"without a right": {[]string{"REVOKE TRIGGER ON DB.* FROM USER"}, "", one("mysql.definer", Error),
			"which lacks TRIGGER"},
		"not to be seen": {[]string{"DROP USER USER"}, "GRANT ALL ON DB.* TO", nil, ""},
	} {
		t.Run(what, func(t *testing.T) {
			mysqld := testkit.StartMySQL(t)
			dsn := migrated(t, mysqld.Database(t))
			run(t, dsn, "CREATE USER deployer IDENTIFIED BY '"+password+"'", "GRANT ALL ON "+name(t, dsn)+".* TO deployer")
			if err := opened(t, as(t, dsn, "deployer", password, "")).InstallTriggers(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, statement := range c.change {
				names := strings.NewReplacer("DB", name(t, dsn), "USER USER", "USER deployer", "FROM USER", "FROM deployer")
				run(t, dsn, names.Replace(statement))
			}
			looks := dsn
			if c.grants != "" {
				looks = person(t, dsn, c.grants+" USER")
			}
			wrong(t, looked(t, server.Database{MySQL: looks}, Options{}), c.want, c.says)
		})
	}
}

// A server for each flag that is wrong.
func TestMySQLServerFindings(t *testing.T) {
	const all = "GRANT ALL ON DB.* TO USER"
	for what, c := range map[string]struct {
		flags     []string
		instances int
		want      map[string]Severity
		says      string
	}{
		"defaults that do not matter": {[]string{"--transaction-isolation=SERIALIZABLE", "--sql-mode=EMPTY_STRING_IS_NULL",
			"--autocommit=0", "--completion-type=CHAIN", "--character-set-server=latin1", "--collation-server=latin1_swedish_ci",
			"--skip-character-set-client-handshake", "--default-time-zone=+05:30"}, 0, nil, ""},
		"packets for little": {[]string{"--max-allowed-packet=1M"}, 0, one("mysql.packet", Error),
			"max_allowed_packet is 1048576"},
		"packets for most": {[]string{"--max-allowed-packet=8M"}, 0, one("mysql.packet", Warning),
			"max_allowed_packet is 8388608"},
		"connections for none": {[]string{"--max-connections=16"}, 0, one("mysql.connections", Error),
			"one instance may open 16"},
		"connections for two": {[]string{"--max-connections=47"}, 0, one("mysql.connections", Warning),
			"2 instances, with one more for a deploy, may open 48"},
		"connections for all": {[]string{"--max-connections=48"}, 0, nil, ""},
		"connections for a fleet": {[]string{"--max-connections=48"}, 9,
			one("mysql.connections", Warning), "may open 160"},
		"connections of a user": {[]string{"--max-user-connections=20"}, 0, one("mysql.connections", Warning),
			"max_user_connections is 20"},
		"a binary log without trust": {[]string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW"}, 0,
			one("mysql.binlog", Warning), "no log_bin_trust_function_creators"},
		"a binary log with trust": {[]string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW",
			"--log-bin-trust-function-creators=1"}, 0, nil, ""},
		"a replica for the primary": {[]string{"--read-only=ON"}, 0, one("mysql.primary", Error), "read-only"},
		"connections that end":      {[]string{"--wait-timeout=30"}, 0, one("mysql.idle", Warning), "30 s"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			mysqld := testkit.StartMySQL(t, testkit.SupportedFlags(t, c.flags)...)
			dsn := migrated(t, mysqld.Database(t))
			wrong(t, looked(t, server.Database{MySQL: person(t, dsn, all)}, Options{Instances: c.instances}), c.want, c.says)
		})
	}
	t.Run("a binary log, and somebody who may do anything", func(t *testing.T) {
		mysqld := testkit.StartMySQL(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
		wrong(t, looked(t, server.Database{MySQL: migrated(t, mysqld.Database(t))}, Options{}), nil)
	})
}

// No connection is made, and the reason is said without the password.
func TestMySQLConnectionFindings(t *testing.T) {
	dsn := migrated(t, testkit.DSN(t))
	user := person(t, dsn, "GRANT ALL ON DB.* TO USER")
	full := testkit.StartMySQL(t, "--max-connections=10")
	crowded := person(t, migrated(t, full.Database(t)), "GRANT ALL ON DB.* TO USER")
	for held := testkit.SQL(t, crowded); ; {
		conn, err := held.Conn(context.Background())
		if err != nil {
			break // that was the last one
		}
		t.Cleanup(func() { conn.Close() })
	}
	secure, ca := testkit.StartMySQLTLS(t)
	encrypted := secure.DSN("mysql")
	otherCA, _, _ := testkit.Certificates(t)
	free := fmt.Sprintf("shop:%s@tcp(127.0.0.1:%d)/shop", password, testkit.FreePort(t))
	unencrypted, said := one("mysql.login", Error), "Access denied"
	var version string
	if err := testkit.SQL(t, dsn).QueryRow("SELECT VERSION()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version, "10.") { // MySQL and newer MariaDBs say what they want
		unencrypted, said = one("mysql.tls", Error), "the server requires TLS"
	}
	for what, c := range map[string]struct {
		database server.Database
		want     map[string]Severity
		says     string
	}{
		"a DSN that is none": {server.Database{MySQL: "shop:" + password + "@db"}, one("mysql.dsn", Error), "DSN"},
		"nobody there":       {server.Database{MySQL: free}, one("mysql.reach", Error), "refused"},
		"a name that is none": {server.Database{MySQL: "shop:" + password + "@tcp(no-such-host.invalid:3306)/shop"},
			one("mysql.reach", Error), "no-such-host.invalid"},
		"another password": {server.Database{MySQL: strings.Replace(user, password, password+"x", 1)},
			one("mysql.login", Error), "Access denied"},
		"no such database": {server.Database{MySQL: strings.Replace(dsn, name(t, dsn), "nothing", 1)},
			one("mysql.database", Error), "nothing"},
		"a server that is full":   {server.Database{MySQL: crowded}, one("mysql.connections", Error), "refused this one"},
		"TLS, and none is spoken": {server.Database{MySQL: encrypted}, unencrypted, said},
		"TLS of somebody else":    {server.Database{MySQL: encrypted, CA: otherCA}, one("mysql.tls", Error), "certificate"},
		"TLS where there is none": {server.Database{MySQL: dsn + "?tls=true"}, one("mysql.tls", Error), "TLS"},
		"TLS": {server.Database{MySQL: encrypted, CA: ca}, one("mysql.schema", Error),
			"not have the schema"},
	} {
		t.Run(what, func(t *testing.T) {
			r := looked(t, c.database, Options{})
			wrong(t, r, c.want, c.says)
			if text := fmt.Sprint(r); strings.Contains(text, password) {
				t.Errorf("it shows the password: %s", text)
			}
		})
	}
}

func TestReplicaFindings(t *testing.T) {
	primary, replica := testkit.StartMySQLPair(t)
	dsn := migrated(t, primary.Database(t))
	there := replica.DSN(name(t, dsn))
	copied := opened(t, there)
	testkit.Eventually(t, "the replica has the schema", func() bool { return copied.CheckSchema(t.Context()) == nil })
	wrong(t, looked(t, server.Database{MySQL: dsn, Replica: there}, Options{}), nil)

	run(t, there, "CREATE USER 'blind'@'%'",
		fmt.Sprintf("GRANT SELECT ON %s.goose_db_version TO 'blind'@'%%'", name(t, dsn)))
	wrong(t, looked(t, server.Database{MySQL: dsn, Replica: as(t, there, "blind", "", "")}, Options{}),
		one("replica.rights", Error), "SELECT on products")

	replica.Exec("STOP REPLICA")
	sku, currency, price := "lamp", "EUR", store.Price{}
	if _, err := opened(t, dsn).Create(t.Context(),
		store.Edit{SKU: &sku, Title: &sku, Currency: &currency, Price: &price}); err != nil {
		t.Fatal(err)
	}
	run(t, dsn, "UPDATE products SET version = version - 60000000") // a minute ago
	wrong(t, looked(t, server.Database{MySQL: dsn, Replica: there}, Options{}),
		one("replica.lag", Warning), "an edit of 1m")
	run(t, dsn, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)")
	wrong(t, looked(t, server.Database{MySQL: dsn, Replica: there}, Options{}),
		map[string]Severity{"replica.lag": Warning, "replica.schema": Warning, "mysql.schema_newer": Warning},
		"the primary's at 999")
	replica.Kill()
	run(t, dsn, "DELETE FROM goose_db_version WHERE version_id = 999")
	wrong(t, looked(t, server.Database{MySQL: dsn, Replica: there}, Options{}), one("replica.reach", Error), "refused")
}

// Clocks, versions and what else no server can be made to have.
func TestMySQLErrorsAreClassified(t *testing.T) {
	sane := store.Diagnostics{
		Version: "8.4.3", Migration: 7, HasProcess: true, Grants: []string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"},
		Variables: map[string]string{"transaction_isolation": "REPEATABLE-READ", "max_connections": "151",
			"max_allowed_packet": "67108864", "wait_timeout": "28800", "read_only": "OFF"},
	}
	for what, c := range map[string]struct {
		change func(*store.Diagnostics)
		want   map[string]Severity
		says   string
	}{
		"nothing wrong": {func(*store.Diagnostics) {}, nil, ""},
		"a clock that is ahead": {
			func(s *store.Diagnostics) { s.ClockOffset, s.ClockError = 3*time.Second, time.Millisecond },
			one("mysql.clock", Warning), "3s ahead"},
		"a clock that is behind": {
			func(s *store.Diagnostics) { s.ClockOffset, s.ClockError = -time.Minute, time.Millisecond },
			one("mysql.clock", Warning), "1m0s behind"},
		"a clock that is nearly right": {
			func(s *store.Diagnostics) { s.ClockOffset, s.ClockError = 200*time.Millisecond, time.Millisecond }, nil, ""},
		"a network too slow to tell": {
			func(s *store.Diagnostics) { s.ClockOffset, s.ClockError = time.Second, 900*time.Millisecond }, nil, ""},
		"an old MySQL": {
			func(s *store.Diagnostics) { s.Version = "5.7.44-log" }, one("mysql.version", Error),
			"MySQL 5.7.44-log is older than 8.0"},
		"an old MariaDB": {
			func(s *store.Diagnostics) { s.Version = "10.5.23-MariaDB" }, one("mysql.version", Error), "older than 10.6"},
		"MariaDB": {func(s *store.Diagnostics) { s.Version = "11.8.2-MariaDB-log" }, nil, ""},
		"something that speaks as MySQL": {
			func(s *store.Diagnostics) { s.Version = "8.0.11-TiDB-v8.5.0" }, one("mysql.version", Warning), "TiDB"},
		"a reader of Aurora": {
			func(s *store.Diagnostics) { s.Variables["innodb_read_only"] = "ON" }, one("mysql.primary", Error), "read-only"},
		"a proxy that drops settings": {
			func(s *store.Diagnostics) { s.LostSettings = []string{"autocommit=OFF"} },
			one("mysql.session", Error), "autocommit=OFF"},
		"super_read_only": {
			func(s *store.Diagnostics) { s.Variables["super_read_only"] = "ON" }, one("mysql.primary", Error), "read-only"},
		"Galera": {
			func(s *store.Diagnostics) { s.Variables["wsrep_on"], s.Variables["wsrep_sync_wait"] = "ON", "0" },
			one("mysql.galera", Warning), "do not wait"},
		"Galera whose reads wait": {
			func(s *store.Diagnostics) { s.Variables["wsrep_on"], s.Variables["wsrep_sync_wait"] = "ON", "7" }, nil, ""},
		"roles of MySQL": {func(s *store.Diagnostics) {
			s.Migration, s.Grants = 6, []string{"GRANT USAGE ON *.* TO `shop`@`%`", "GRANT `writer`@`%` TO `shop`@`%`"}
		}, one("mysql.schema", Error), "at 6"},
		"no right to migrate": {func(s *store.Diagnostics) {
			s.Migration = 6
			s.Grants = []string{"GRANT USAGE ON *.* TO `shop`@`%`",
				"GRANT SELECT, CREATE, INSERT (`sku`), INDEX ON `shop`.* TO `shop`@`%`"}
		}, map[string]Severity{"mysql.schema": Error, "mysql.migrate": Error}, "the user lacks ALTER"},
	} {
		t.Run(what, func(t *testing.T) {
			s := sane
			s.Variables = map[string]string{}
			for name, value := range sane.Variables {
				s.Variables[name] = value
			}
			c.change(&s)
			var r Report
			r.primary(s, facts{release: 7, pool: 16, instances: 2})
			wrong(t, r, c.want, c.says)
		})
	}
	t.Run("a replica whose clock is behind", func(t *testing.T) {
		var r Report
		now := time.Now()
		r.replica(store.Diagnostics{Migration: 7, ClockOffset: time.Second},
			store.Diagnostics{Migration: 7, ClockOffset: -19 * time.Second}, now)
		wrong(t, r, one("replica.clock", Warning), "20s behind the primary's")
	})
}
