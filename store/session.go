package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

// sqlMode is the sql_mode of each connection: MariaDB's default. What MySQL's default has
// in addition concerns statements that this package does not use.
const sqlMode = `STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION`

// A session holds the settings that the statements of this package rely on, whatever the
// defaults of the server, its init_connect and the DSN are.
type session struct {
	lockWait     time.Duration // for a row lock; negative: an embedded server, which knows only common settings
	metadataWait time.Duration // for a table whose definition is being changed
	statement    time.Duration // time limit of a statement on the server; 0: none
}

// set returns the statement that applies the settings to a new connection. /*M! is for
// MariaDB, /*!80000 for MySQL. On a Galera node a read waits for what other nodes have
// committed before.
func (s session) set() string {
	if s.lockWait < 0 {
		return `SET autocommit = 1, time_zone = '+00:00', sql_mode = '` + sqlMode + `'`
	}
	return fmt.Sprintf(`SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci,
		autocommit = 1, completion_type = 'NO_CHAIN', sql_mode = '%s', time_zone = '+00:00',
		innodb_lock_wait_timeout = %d, lock_wait_timeout = %d,
		foreign_key_checks = 1, unique_checks = 1, sql_auto_is_null = 0,
		sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615
		/*M! , tx_isolation = 'REPEATABLE-READ', tx_read_only = 0, max_statement_time = %g, `+
		`wsrep_sync_wait = IF(@@wsrep_on, 1, 0) */
		/*!80000 , transaction_isolation = 'REPEATABLE-READ', transaction_read_only = 0, max_execution_time = %d */`,
		sqlMode, seconds(s.lockWait), seconds(s.metadataWait), s.statement.Seconds(), s.statement.Milliseconds())
}

// verifiableSettings are session settings as SHOW VARIABLES reports them. Diagnostics
// compares them, to find out whether a proxy kept the settings from the server.
var verifiableSettings = map[string]string{
	"autocommit": "ON", "completion_type": "NO_CHAIN", "sql_mode": sqlMode, "time_zone": "+00:00",
	"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4", "character_set_results": "utf8mb4",
	"transaction_isolation": "REPEATABLE-READ", "tx_isolation": "REPEATABLE-READ",
}

// seconds returns d in whole seconds, at least one.
func seconds(d time.Duration) int { return int(math.Ceil(max(d, time.Second).Seconds())) }

// sessionOf returns the session of all connections except those of migrations. The server
// ends a statement at most a second after its deadline here.
func sessionOf(cfg Config) session {
	return session{lockWait: cfg.LockWait, metadataWait: cfg.Timeout, statement: cfg.Timeout + time.Second}
}

// maxLife is the lifetime of a connection. It limits how long changes go unnoticed that the
// server's answers do not show, such as a host name that leads to another server now.
const maxLife = 3 * time.Minute

// open returns a pool of connections with the settings s. p is nil for a server that need
// not accept writes.
func open(dsn string, cfg Config, s session, p *primary) (*sqlx.DB, error) {
	my, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if my.DBName == "" {
		return nil, errors.New("names no database")
	}
	my.ParseTime = true
	my.Loc = time.UTC
	my.Collation = "utf8mb4_unicode_ci"
	my.InterpolateParams = true // one round trip a query
	my.ClientFoundRows = false
	my.ColumnsWithAlias = false
	my.MultiStatements = false
	my.RejectReadOnly = false // see primary
	my.Timeout = cfg.Timeout
	my.Logger = &mysql.NopLogger{} // the same messages come back as errors
	if cfg.Roots != nil {
		host, _, err := net.SplitHostPort(my.Addr)
		if err != nil {
			return nil, fmt.Errorf("certificates are for a TCP address: %w", err)
		}
		my.TLS = &tls.Config{RootCAs: cfg.Roots, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	dialer, err := mysql.NewConnector(my)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(&connector{Connector: dialer, timeout: cfg.Timeout, set: s.set(), primary: p})
	pool.SetMaxOpenConns(cfg.MaxOpen)
	pool.SetMaxIdleConns(cfg.MaxOpen)
	pool.SetConnMaxIdleTime(time.Minute)
	pool.SetConnMaxLifetime(maxLife)
	if p != nil {
		p.closeIdle = func() {
			pool.SetMaxIdleConns(0)
			pool.SetMaxIdleConns(cfg.MaxOpen)
		}
	}
	return sqlx.NewDb(pool, "mysql"), nil
}

// A connector opens connections and applies the session settings.
type connector struct {
	driver.Connector
	timeout time.Duration // of the whole: database/sql dials without a deadline, too
	set     string
	primary *primary // nil: the server need not accept writes
}

// driverConn has the methods of a connection of github.com/go-sql-driver/mysql.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	dialled := time.Now()
	plain, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn := plain.(driverConn)
	if _, err := conn.ExecContext(ctx, c.set, nil); err != nil {
		conn.Close()
		return nil, fmt.Errorf("setting up the session: %w", err)
	}
	if c.primary == nil {
		return conn, nil
	}
	watched := &watchedConn{driverConn: conn, primary: c.primary, dialled: dialled}
	if err := watched.check(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return watched, nil
}
