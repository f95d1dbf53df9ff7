package store

import (
	"context"
	"errors"
)

// A Writer is a connection with an open transaction or statement that may write versions. They become visible when it
// commits. None of them is older than Started, except those of a statement that waited for a lock on the whole table.
type Writer struct {
	Thread  int64 `db:"thread"`  // the server's number for the connection
	Started int64 `db:"started"` // by the database's clock, as a version; to the second
}

// WriterGranularity is the maximum difference between the starts that two calls of Writers report for one transaction,
// in microseconds: some starts are known to the second only.
const WriterGranularity = 2_000_000

// WriterStarts returns when each connection began to write, by thread: the earlier time if it is listed twice.
func WriterStarts(all []Writer) map[int64]int64 {
	starts := make(map[int64]int64, len(all))
	for _, w := range all {
		if started, found := starts[w.Thread]; !found || w.Started < started {
			starts[w.Thread] = w.Started
		}
	}
	return starts
}

// OldestEnded returns when the oldest of the transactions began that were open before and have ended by now, and none
// if none has. Both maps are by thread, as WriterStarts returns them. A connection whose start is later by more than
// WriterGranularity has another transaction open.
func OldestEnded(before, now map[int64]int64, none int64) int64 {
	oldest := none
	for thread, started := range before {
		if still, found := now[thread]; !found || still > started+WriterGranularity {
			oldest = min(oldest, started)
		}
	}
	return oldest
}

// ErrWritersHidden: the database user lacks the PROCESS privilege.
var ErrWritersHidden = errors.New("the transactions of other users are hidden: " +
	"the database user lacks the PROCESS privilege")

// started is the start of a transaction, as a version. InnoDB reports it in the time zone of the server's system. An
// hour that occurs twice, when clocks are set back, is taken for the first: going back an hour too far does no harm.
const started = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', LEAST(
	CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'),
	CONVERT_TZ(trx_started - INTERVAL 1 HOUR, 'SYSTEM', '+00:00') + INTERVAL 1 HOUR))`

// Writers returns the connections that may write on the primary: transactions that have modified rows or hold locks,
// and statements other than plain reads, which may not hold a lock yet. Connections that only read are left out.
// Errors: ErrWritersHidden, ErrUnavailable.
func (db *DB) Writers(ctx context.Context) ([]Writer, error) {
	var all []Writer
	hidden := false
	err := db.read(ctx, "writers", func(ctx context.Context) error {
		err := db.db.SelectContext(ctx, &all, `
			SELECT trx_mysql_thread_id AS thread, `+started+` AS started
			FROM information_schema.innodb_trx
			WHERE (trx_rows_modified > 0 OR trx_lock_structs > 0) AND trx_mysql_thread_id <> CONNECTION_ID()
			UNION ALL
			SELECT id, `+clock+` - 1000000 * (time + 1)
			FROM information_schema.processlist
			WHERE command IN ('Query', 'Execute') AND time > 0 AND id <> CONNECTION_ID()
				AND user NOT IN ('system user', 'event_scheduler')
				AND COALESCE(info, '') NOT REGEXP '^[[:space:](]*(SELECT|SHOW)'`)
		if hidden = number(err) == erNoRight; hidden {
			return nil // not a failure of the database
		}
		return err
	})
	if hidden {
		return nil, ErrWritersHidden
	}
	return all, err
}

// ServerName returns the server that answered the last call of Clock, or "" if none has.
func (db *DB) ServerName() string {
	if db.primary == nil {
		return ""
	}
	db.primary.mu.Lock()
	defer db.primary.mu.Unlock()
	return db.primary.last.Name
}

// RemoteWriters returns why transactions may commit on another server, where Writers does not see them, or "" if
// nothing suggests so.
func (db *DB) RemoteWriters(ctx context.Context) (reason string, err error) {
	var found []struct {
		Name  string `db:"Variable_name"`
		Value string `db:"Value"`
	}
	err = db.read(ctx, "remote_writers", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'wsrep_on')`)
	})
	for _, v := range found {
		switch {
		case v.Value != "ON" && v.Value != "1":
		case v.Name == "wsrep_on":
			return "the server is a node of Galera", err
		default:
			reason = "the server is a replica (read_only)"
		}
	}
	return reason, err
}
