package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Config tunes a DB. The zero value means the defaults.
type Config struct {
	Timeout  time.Duration // of each query or transaction, one try; 3s
	LockWait time.Duration // for a row that another transaction holds, in whole seconds; 2s; negative: as the server has it
	MaxOpen  int           // connections; 16
	MaxTries int           // of a transaction that met a deadlock or a lock wait; 8

	Replica        string         // DSN of a server that has what the primary had a moment ago: rows to render are read there; "": none
	ReplicaTimeout time.Duration  // after which the primary is asked instead; 500ms
	Roots          *x509.CertPool // speak TLS, to servers with a certificate from these; nil: as the DSN says

	Videos bool // descriptions may have videos, and frames of FrameSources

	Metrics prometheus.Registerer
}

// Overlap is how far a reader of ChangedSince goes back behind the clock of
// its last read. A version is taken when its statement starts, and is seen
// when its transaction commits, which may be a lock wait and a round trip
// later; no transaction of this package takes longer than this.
const Overlap = 10 * time.Second

// A DB has the products. Its methods may be called concurrently.
type DB struct {
	db      *sqlx.DB
	replica *replica // nil if there is none
	cfg     Config
	retries prometheus.Counter
	measure measures
}

// Open makes a DB for a MySQL or MariaDB server, which need not be reachable
// yet. dsn is in the form of github.com/go-sql-driver/mysql; what this package
// relies on (UTC, utf8mb4, parsed times) is set here and need not be in it.
func Open(dsn string, cfg Config) (*DB, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 3 * time.Second
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 2 * time.Second
	}
	if cfg.MaxOpen <= 0 {
		cfg.MaxOpen = 16
	}
	if cfg.MaxTries <= 0 {
		cfg.MaxTries = 8
	}
	if cfg.ReplicaTimeout <= 0 {
		cfg.ReplicaTimeout = 500 * time.Millisecond
	}
	primary, err := open(dsn, cfg)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err) // the driver's words have no password in them
	}
	db := &DB{
		db:      primary,
		cfg:     cfg,
		measure: newMeasures(cfg.Metrics),
		retries: promauto.With(cfg.Metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_store_retries_total",
			Help: "Transactions tried again after a deadlock or a lock wait.",
		}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(collectors.NewDBStatsCollector(primary.DB, "primary"))
	}
	if cfg.Replica != "" {
		second, err := open(cfg.Replica, cfg)
		if err != nil {
			primary.Close()
			return nil, fmt.Errorf("MySQL DSN of the replica: %w", err)
		}
		db.replica = newReplica(second, cfg, db.measure)
		if cfg.Metrics != nil {
			cfg.Metrics.MustRegister(collectors.NewDBStatsCollector(second.DB, "replica"))
		}
	}
	return db, nil
}

// open makes a pool for one server.
func open(dsn string, cfg Config) (*sqlx.DB, error) {
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
	my.Timeout = cfg.Timeout
	my.Logger = &mysql.NopLogger{} // what it has to say comes back as an error too
	if my.Params == nil {
		my.Params = map[string]string{}
	}
	my.Params["time_zone"] = "'+00:00'"
	if cfg.LockWait > 0 {
		my.Params["innodb_lock_wait_timeout"] = fmt.Sprint(int(max(cfg.LockWait, time.Second).Seconds()))
	}
	if cfg.Roots != nil {
		host, _, err := net.SplitHostPort(my.Addr)
		if err != nil {
			return nil, fmt.Errorf("certificates are for a TCP address: %w", err)
		}
		my.TLS = &tls.Config{RootCAs: cfg.Roots, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	connector, err := mysql.NewConnector(my)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(cfg.MaxOpen)
	pool.SetMaxIdleConns(cfg.MaxOpen)
	pool.SetConnMaxIdleTime(time.Minute)
	pool.SetConnMaxLifetime(30 * time.Minute) // so that a new primary behind the same name is found
	return sqlx.NewDb(pool, "mysql"), nil
}

// Close closes the connections. Calls under way fail.
func (db *DB) Close() error {
	if db.replica != nil {
		db.replica.db.Close()
	}
	return db.db.Close()
}

// Ping asks the server whether it answers: nil or an ErrUnavailable.
func (db *DB) Ping(ctx context.Context) error {
	return db.read(ctx, "ping", func(ctx context.Context) error { return db.db.PingContext(ctx) })
}

// read runs a query, of that name in queries, under the deadline.
func (db *DB) read(ctx context.Context, name string, query func(context.Context) error) (err error) {
	ctx, end := db.measure.begin(ctx, name)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Timeout)
	defer cancel()
	return classify(query(ctx))
}

// joinKey is where a context has the transaction that all writes are to be part
// of.
type joinKey struct{}

// write runs change in a transaction, again with back-off when others were in
// its way, each try under the deadline. If ctx has a transaction (see Once)
// change is a part of that, and whoever has begun it tries again. name is one of
// queries.
func (db *DB) write(ctx context.Context, name string, change func(context.Context, *sqlx.Tx) error) (err error) {
	ctx, end := db.measure.begin(ctx, name)
	defer func() { end(err) }()
	if tx, ok := ctx.Value(joinKey{}).(*sqlx.Tx); ok {
		return classify(change(ctx, tx))
	}
	try := func() (struct{}, error) {
		err := db.transact(ctx, change)
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval = 5 * time.Millisecond
	pace.MaxInterval = 200 * time.Millisecond
	_, err = backoff.Retry(ctx, try,
		backoff.WithBackOff(pace),
		backoff.WithMaxTries(uint(db.cfg.MaxTries)),
		backoff.WithNotify(func(error, time.Duration) { db.retries.Inc() }))
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Unwrap()
	}
	return classify(err)
}

func (db *DB) transact(ctx context.Context, change func(context.Context, *sqlx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Timeout)
	defer cancel()
	tx, err := db.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit this does nothing
	if err := change(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}
