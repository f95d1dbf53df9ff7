package doctor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// looked is what is found on that database, and of MySQL only.
func looked(t *testing.T, d serve.Database, o Options) Report {
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
	db := storetest.SQL(t, dsn)
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
// server: the name has the database's.
func person(t *testing.T, dsn string, grants ...string) string {
	t.Helper()
	user := "u" + name(t, dsn)
	statements := []string{fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", user, password)}
	for _, grant := range grants {
		statements = append(statements, strings.NewReplacer("DB", name(t, dsn), "USER", "'"+user+"'@'%'").Replace(grant))
	}
	run(t, dsn, statements...)
	t.Cleanup(func() { run(t, dsn, "DROP USER '"+user+"'@'%'") })
	return as(t, dsn, user, password, "")
}

func TestRightsOneByOne(t *testing.T) {
	for what, c := range map[string]struct {
		grants []string
		want   map[string]Severity
		says   []string
	}{
		"all":                    {[]string{"GRANT ALL ON DB.* TO USER"}, nil, nil},
		"what an instance needs": {[]string{"GRANT SELECT, INSERT, UPDATE, DELETE ON DB.* TO USER"}, nil, nil},
		"by a role":              {[]string{"CREATE OR REPLACE ROLE rDB", "GRANT SELECT, INSERT, UPDATE, DELETE ON DB.* TO rDB", "GRANT rDB TO USER", "SET DEFAULT ROLE rDB FOR USER"}, nil, nil},
		"table by table": {[]string{
			"GRANT SELECT, INSERT, UPDATE ON DB.products TO USER", "GRANT SELECT, INSERT ON DB.product_history TO USER", "GRANT SELECT, INSERT, UPDATE ON DB.tokens TO USER",
			"GRANT SELECT, INSERT, UPDATE, DELETE ON DB.answers TO USER", "GRANT SELECT ON DB.goose_db_version TO USER", "GRANT SELECT ON DB.shop TO USER",
		}, nil, nil},
		"only to read": {[]string{"GRANT SELECT ON DB.* TO USER"}, one("mysql.rights", Error), []string{"INSERT on products", "UPDATE on tokens", "DELETE on answers"}},
		"all but one":  {[]string{"GRANT SELECT, INSERT, UPDATE ON DB.* TO USER"}, one("mysql.rights", Error), []string{"the user lacks DELETE on answers\n"}},
		"none":         {nil, one("mysql.login", Error), []string{"no right on the database"}},
	} {
		t.Run(what, func(t *testing.T) {
			dsn := migrated(t, storetest.DSN(t))
			wrong(t, looked(t, serve.Database{MySQL: person(t, dsn, c.grants...)}, Options{}), c.want, c.says...)
		})
	}
}

func TestSchemasOneByOne(t *testing.T) {
	for what, c := range map[string]struct {
		change string // of a schema that is right; "": there is none
		want   map[string]Severity
		says   string
	}{
		"none":  {"", one("mysql.schema", Error), "no schema of Shelfcast"},
		"old":   {"DELETE FROM goose_db_version ORDER BY version_id DESC LIMIT 1", one("mysql.schema", Error), "and this release needs"},
		"no id": {"DELETE FROM shop", one("mysql.shop", Error), "has no id"},
		"newer": {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)", one("mysql.schema_newer", Warning), "at 999"},
	} {
		t.Run(what, func(t *testing.T) {
			dsn := storetest.DSN(t)
			if c.change != "" {
				run(t, migrated(t, dsn), c.change)
			}
			wrong(t, looked(t, serve.Database{MySQL: dsn}, Options{}), c.want, c.says)
			if c.change == "" {
				tables := 0
				if err := storetest.SQL(t, dsn).QueryRow(`SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()`).Scan(&tables); err != nil || tables != 0 {
					t.Errorf("it made %d tables (%v)", tables, err)
				}
			}
		})
	}
	t.Run("old, and the user may not mend it", func(t *testing.T) {
		dsn := migrated(t, storetest.DSN(t))
		run(t, dsn, "DELETE FROM goose_db_version ORDER BY version_id DESC LIMIT 1")
		wrong(t, looked(t, serve.Database{MySQL: person(t, dsn, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON DB.* TO USER")}, Options{}),
			map[string]Severity{"mysql.schema": Error, "mysql.migrate": Error}, "the user lacks ALTER, INDEX")
	})
	t.Run("triggers", func(t *testing.T) {
		dsn := migrated(t, storetest.DSN(t))
		if err := opened(t, dsn).InstallTriggers(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := looked(t, serve.Database{MySQL: dsn}, Options{})
		wrong(t, r, nil)
		for _, f := range r.Findings {
			if f.Code == "mysql.triggers" && !strings.HasPrefix(f.What, "installed") {
				t.Error(f.What)
			}
		}
	})
}

// A server for each flag that is wrong.
func TestServersOneByOne(t *testing.T) {
	const all = "GRANT ALL ON DB.* TO USER"
	for what, c := range map[string]struct {
		flags     []string
		instances int
		want      map[string]Severity
		says      string
	}{
		"dirty reads":                {[]string{"--transaction-isolation=READ-UNCOMMITTED"}, 0, one("mysql.isolation", Error), "READ-UNCOMMITTED"},
		"serialisable":               {[]string{"--transaction-isolation=SERIALIZABLE"}, 0, one("mysql.isolation", Warning), "SERIALIZABLE"},
		"read committed":             {[]string{"--transaction-isolation=READ-COMMITTED"}, 0, nil, ""},
		"connections for none":       {[]string{"--max-connections=16"}, 0, one("mysql.connections", Error), "one instance may open 16"},
		"connections for two":        {[]string{"--max-connections=47"}, 0, one("mysql.connections", Warning), "2 instances, with one more for a deploy, may open 48"},
		"connections for all":        {[]string{"--max-connections=48"}, 0, nil, ""},
		"connections for a fleet":    {[]string{"--max-connections=48"}, 9, one("mysql.connections", Warning), "may open 160"},
		"connections of a user":      {[]string{"--max-user-connections=20"}, 0, one("mysql.connections", Warning), "max_user_connections is 20"},
		"a binary log without trust": {[]string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW"}, 0, one("mysql.binlog", Warning), "does not trust the makers of triggers"},
		"a binary log with trust":    {[]string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--log-bin-trust-function-creators=1"}, 0, nil, ""},
		"a binary log of statements": {[]string{"--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--log-bin-trust-function-creators=1", "--transaction-isolation=READ-COMMITTED"}, 0,
			one("mysql.binlog_format", Error), "STATEMENT"},
		"a replica for the primary": {[]string{"--read-only=ON"}, 0, one("mysql.primary", Error), "only reads"},
		"values that are cut":       {[]string{"--sql-mode="}, 0, one("mysql.strict", Warning), "not strict"},
		"connections that end":      {[]string{"--wait-timeout=30"}, 0, one("mysql.idle", Warning), "30 s"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			server := storetest.StartMySQL(t, c.flags...)
			dsn := migrated(t, server.Database(t))
			_, statements := c.want["mysql.binlog_format"]
			if statements { // a server that is so from the start takes no schema
				run(t, dsn, "SET GLOBAL binlog_format = 'STATEMENT'")
			}
			wrong(t, looked(t, serve.Database{MySQL: person(t, dsn, all)}, Options{Instances: c.instances}), c.want, c.says)
			if statements {
				sku, currency, price := "lamp", "EUR", store.Price{}
				if _, err := opened(t, dsn).Create(t.Context(), store.Edit{SKU: &sku, Title: &sku, Currency: &currency, Price: &price}); err == nil || !strings.Contains(err.Error(), "1665") {
					t.Errorf("it leads to %v", err)
				}
			}
		})
	}
	t.Run("a binary log, and somebody who may do anything", func(t *testing.T) {
		server := storetest.StartMySQL(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
		wrong(t, looked(t, serve.Database{MySQL: migrated(t, server.Database(t))}, Options{}), nil)
	})
}

// No connection is made, and the reason is said without the password.
func TestNoConnection(t *testing.T) {
	dsn := migrated(t, storetest.DSN(t))
	user := person(t, dsn, "GRANT ALL ON DB.* TO USER")
	full := storetest.StartMySQL(t, "--max-connections=10")
	crowded := person(t, migrated(t, full.Database(t)), "GRANT ALL ON DB.* TO USER")
	for held := storetest.SQL(t, crowded); ; {
		conn, err := held.Conn(context.Background())
		if err != nil {
			break // that was the last one
		}
		t.Cleanup(func() { conn.Close() })
	}
	secure, ca := storetest.StartMySQLTLS(t)
	encrypted := secure.DSN("mysql")
	otherCA, _, _ := storetest.Certificates(t)
	free := fmt.Sprintf("shop:%s@tcp(127.0.0.1:%d)/shop", password, storetest.FreePort(t))
	for what, c := range map[string]struct {
		database serve.Database
		want     map[string]Severity
		says     string
	}{
		"a DSN that is none":      {serve.Database{MySQL: "shop:" + password + "@db"}, one("mysql.dsn", Error), "DSN"},
		"nobody there":            {serve.Database{MySQL: free}, one("mysql.reach", Error), "refused"},
		"a name that is none":     {serve.Database{MySQL: "shop:" + password + "@tcp(no-such-host.invalid:3306)/shop"}, one("mysql.reach", Error), "no-such-host.invalid"},
		"another password":        {serve.Database{MySQL: strings.Replace(user, password, password+"x", 1)}, one("mysql.login", Error), "Access denied"},
		"no such database":        {serve.Database{MySQL: strings.Replace(dsn, name(t, dsn), "nothing", 1)}, one("mysql.database", Error), "nothing"},
		"a server that is full":   {serve.Database{MySQL: crowded}, one("mysql.connections", Error), "refused this very connection"},
		"TLS, and none is spoken": {serve.Database{MySQL: encrypted}, one("mysql.login", Error), "Access denied"},
		"TLS of somebody else":    {serve.Database{MySQL: encrypted, CA: otherCA}, one("mysql.tls", Error), "certificate"},
		"TLS where there is none": {serve.Database{MySQL: dsn + "?tls=true"}, one("mysql.tls", Error), "TLS"},
		"TLS":                     {serve.Database{MySQL: encrypted, CA: ca}, one("mysql.schema", Error), "no schema"},
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

func TestReplicas(t *testing.T) {
	primary, replica := storetest.StartMySQLPair(t)
	dsn := migrated(t, primary.Database(t))
	there := replica.DSN(name(t, dsn))
	copied := opened(t, there)
	storetest.Eventually(t, "the replica has the schema", func() bool { return copied.CheckSchema(t.Context()) == nil })
	wrong(t, looked(t, serve.Database{MySQL: dsn, Replica: there}, Options{}), nil)

	run(t, there, "CREATE USER 'blind'@'%'", fmt.Sprintf("GRANT SELECT ON %s.goose_db_version TO 'blind'@'%%'", name(t, dsn)))
	wrong(t, looked(t, serve.Database{MySQL: dsn, Replica: as(t, there, "blind", "", "")}, Options{}), one("replica.rights", Error), "SELECT on products")

	replica.Exec("STOP SLAVE")
	sku, currency, price := "lamp", "EUR", store.Price{}
	if _, err := opened(t, dsn).Create(t.Context(), store.Edit{SKU: &sku, Title: &sku, Currency: &currency, Price: &price}); err != nil {
		t.Fatal(err)
	}
	run(t, dsn, "UPDATE products SET version = version - 60000000") // a minute ago
	wrong(t, looked(t, serve.Database{MySQL: dsn, Replica: there}, Options{}), one("replica.lag", Warning), "an edit of 1m")
	run(t, dsn, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)")
	wrong(t, looked(t, serve.Database{MySQL: dsn, Replica: there}, Options{}),
		map[string]Severity{"replica.lag": Warning, "replica.schema": Warning, "mysql.schema_newer": Warning}, "the primary's at 999")
	replica.Kill()
	run(t, dsn, "DELETE FROM goose_db_version WHERE version_id = 999")
	wrong(t, looked(t, serve.Database{MySQL: dsn, Replica: there}, Options{}), one("replica.reach", Error), "refused")
}

// Clocks, versions and what else no server can be made to have.
func TestWhatAServerMaySay(t *testing.T) {
	sane := store.Survey{
		Version: "8.4.3", Schema: 7, Grants: []string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"},
		Variables: map[string]string{"transaction_isolation": "REPEATABLE-READ", "max_connections": "151", "sql_mode": "STRICT_TRANS_TABLES", "wait_timeout": "28800", "read_only": "OFF"},
	}
	for what, c := range map[string]struct {
		change func(*store.Survey)
		want   map[string]Severity
		says   string
	}{
		"nothing wrong":                  {func(*store.Survey) {}, nil, ""},
		"a clock that is ahead":          {func(s *store.Survey) { s.Clock, s.Uncertain = 3*time.Second, time.Millisecond }, one("mysql.clock", Warning), "3s ahead"},
		"a clock that is behind":         {func(s *store.Survey) { s.Clock, s.Uncertain = -time.Minute, time.Millisecond }, one("mysql.clock", Warning), "1m0s behind"},
		"a clock that is nearly right":   {func(s *store.Survey) { s.Clock, s.Uncertain = 200*time.Millisecond, time.Millisecond }, nil, ""},
		"a network too slow to tell":     {func(s *store.Survey) { s.Clock, s.Uncertain = time.Second, 900*time.Millisecond }, nil, ""},
		"an old MySQL":                   {func(s *store.Survey) { s.Version = "5.7.44-log" }, one("mysql.version", Error), "MySQL 5.7.44-log is older than 8.0"},
		"an old MariaDB":                 {func(s *store.Survey) { s.Version = "10.5.23-MariaDB" }, one("mysql.version", Error), "older than 10.6"},
		"MariaDB":                        {func(s *store.Survey) { s.Version = "11.8.2-MariaDB-log" }, nil, ""},
		"something that speaks as MySQL": {func(s *store.Survey) { s.Version = "8.0.11-TiDB-v8.5.0" }, one("mysql.version", Warning), "TiDB"},
		"super_read_only":                {func(s *store.Survey) { s.Variables["super_read_only"] = "ON" }, one("mysql.primary", Error), "only reads"},
		"roles of MySQL": {func(s *store.Survey) {
			s.Schema, s.Grants = 6, []string{"GRANT USAGE ON *.* TO `shop`@`%`", "GRANT `writer`@`%` TO `shop`@`%`"}
		}, one("mysql.schema", Error), "at 6"},
		"no right to migrate": {func(s *store.Survey) {
			s.Schema, s.Grants = 6, []string{"GRANT USAGE ON *.* TO `shop`@`%`", "GRANT SELECT, CREATE, INSERT (`sku`), INDEX ON `shop`.* TO `shop`@`%`"}
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
		r.replica(store.Survey{Schema: 7, Clock: time.Second}, store.Survey{Schema: 7, Clock: -19 * time.Second}, now)
		wrong(t, r, one("replica.clock", Warning), "20s behind the primary's")
	})
}
