package store

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Config tunes a DB. The zero value means the defaults.
type Config struct {
	Timeout  time.Duration // of a query, or of one try of a transaction; 3s
	LockWait time.Duration // wait for a row lock, in whole seconds; 2s; negative: an embedded server, with few settings
	MaxOpen  int           // maximum number of connections; 16
	MaxTries int           // of a transaction, after deadlocks and lock waits; 8

	Replica        string         // DSN of a read replica, for rows to render; "": none
	ReplicaTimeout time.Duration  // after which the primary is read instead; 500ms
	Roots          *x509.CertPool // use TLS, and accept certificates of these authorities; nil: as the DSN says

	Videos bool // descriptions may have videos, and frames from FrameSources

	Metrics prometheus.Registerer
	Log     *slog.Logger // edits that fail and recover, changes of the primary, migrations; slog.Default()
}

// Overlap is how far before the clock of its last read a reader of ChangedSince starts
// again. A version is the time at which its statement starts, but it is visible only after
// the commit, which may be a lock wait and a round trip later. No transaction of this
// package takes longer than Overlap.
const Overlap = 10 * time.Second

// A DB is a pool of connections to the database of a shop. Its methods may be called
// concurrently.
type DB struct {
	db      *sqlx.DB
	primary *primary // nil if the server is embedded
	replica *replica // nil: none
	dsn     string
	cfg     Config
	retries prometheus.Counter
	measure measures
	edits   editHealth
}

// Open returns a DB for a MySQL or MariaDB server, which need not be reachable yet. dsn has
// the format of github.com/go-sql-driver/mysql; it need not set what this package relies on
// (see session).
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
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	var watch *primary
	if cfg.LockWait > 0 {
		watch = newPrimary(cfg.Metrics, cfg.Log)
	}
	primary, err := open(dsn, cfg, sessionOf(cfg), watch)
	if err != nil {
		return nil, fmt.Errorf("MySQL DSN: %w", err) // the driver's message does not contain the password
	}
	db := &DB{
		db:      primary,
		primary: watch,
		dsn:     dsn,
		cfg:     cfg,
		measure: newMeasures(cfg.Metrics),
		edits:   editHealth{log: cfg.Log},
		retries: promauto.With(cfg.Metrics).NewCounter(prometheus.CounterOpts{
			Name: "shelfcast_store_retries_total",
			Help: "Transactions retried after a deadlock or a lock wait timeout.",
		}),
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(collectors.NewDBStatsCollector(primary.DB, "primary"))
	}
	if cfg.Replica != "" {
		second, err := open(cfg.Replica, cfg, sessionOf(cfg), nil)
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

// Close closes all connections. Calls in progress fail.
func (db *DB) Close() error {
	if db.replica != nil {
		db.replica.db.Close()
	}
	return db.db.Close()
}

// Ping reads from the table products, and returns nil or an ErrUnavailable. A ping of the
// protocol is not enough: a proxy, or a node that has left its cluster, answers it too.
func (db *DB) Ping(ctx context.Context) error {
	return db.read(ctx, "ping", func(ctx context.Context) error {
		var ids []int64
		return db.db.SelectContext(ctx, &ids, `SELECT id FROM products LIMIT 1`)
	})
}

// ErrNotPrimary: the server answers, but accepts no edits.
var ErrNotPrimary = errors.New("the server is read-only or has left its cluster, so it rejects edits")

// CheckPrimary returns ErrNotPrimary if the server that answered last is known to reject
// edits. It makes no query.
func (db *DB) CheckPrimary() error {
	if db.primary == nil || db.primary.isPrimary() {
		return nil
	}
	return ErrNotPrimary
}

// read runs a query with the timeout; name is one of queryNames. If the server refuses it
// because it is not the primary, the query is tried once more on a new connection.
func (db *DB) read(ctx context.Context, name string, query func(context.Context) error) (err error) {
	ctx, end := db.measure.begin(ctx, name)
	defer func() { end(err) }()
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Timeout)
	defer cancel()
	err = query(ctx)
	db.measure.countRefusal(err)
	if db.primary != nil && db.primary.refusedRead(err) && db.primary.noteRefusal() {
		err = query(ctx)
	}
	return classify(err)
}

// redialled reports whether err is from a server that is not the primary, and the next try
// of the transaction will use a new connection.
func (db *DB) redialled(err error) bool {
	db.measure.countRefusal(err)
	return db.primary != nil && notPrimary(err) && db.primary.noteRefusal()
}

// txKey is the context key of a transaction that writes join.
type txKey struct{}

// write runs change in a transaction, and retries it with back-off after deadlocks and lock
// waits. Each try has the timeout. If ctx has a transaction (see RunIdempotent) change joins
// it, and the owner of that transaction retries. name is one of queryNames.
func (db *DB) write(ctx context.Context, name string, change func(context.Context, *sqlx.Tx) error) (err error) {
	ctx, end := db.measure.begin(ctx, name)
	defer func() { end(err) }()
	if tx, ok := ctx.Value(txKey{}).(*sqlx.Tx); ok {
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
	err = classify(err)
	db.edits.observe(ctx, name, err)
	if err == nil && db.primary != nil {
		db.primary.noteWrite()
	}
	return err
}

// transact makes one try of a write. The error is an errRedialled if the server refused to
// start the transaction and the next try uses a new connection.
func (db *DB) transact(ctx context.Context, change func(context.Context, *sqlx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Timeout)
	defer cancel()
	tx, err := db.db.BeginTxx(ctx, nil)
	if err == nil {
		defer tx.Rollback() // after a commit this does nothing
		err = change(ctx, tx)
	}
	if err != nil {
		if db.redialled(err) {
			err = fmt.Errorf("%w: %w", errRedialled, err)
		}
		return err
	}
	err = tx.Commit()
	db.redialled(err) // not retried: after some refusals the transaction may have committed
	return err
}
