package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// The migration lock is a row, because GET_LOCK is local to each node of a cluster, and some
// clusters lack it. It is a lease of lockLife, so that it does not outlive its holder for
// long.
const (
	lockTable = `
		CREATE TABLE IF NOT EXISTS migrate_lock (
			one    TINYINT     NOT NULL PRIMARY KEY,
			holder VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
			until  DATETIME(6) NOT NULL
		) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci`
	free = `'1970-01-02'`

	lockLife  = 30 * time.Second
	lockRenew = 5 * time.Second
	lockPause = 500 * time.Millisecond // between two attempts to take it
)

// errLockLost: the lock was not renewed in time.
var errLockLost = errors.New("the migration lock was lost: renewing it took too long")

// A migrateLock is the lock as this process sees it.
type migrateLock struct {
	pool   *sqlx.DB
	holder string
	limit  time.Duration // of each statement
}

// holdMigrationLock runs f while it holds the lock. The context of f ends if it is lost.
func (db *DB) holdMigrationLock(ctx context.Context, pool *sqlx.DB, f func(context.Context) error) (err error) {
	l := &migrateLock{pool: pool, holder: rand.Text(), limit: db.cfg.Timeout + tableWait}
	waits := false
	for {
		taken, err := l.take(ctx)
		if err != nil && !contended(err) {
			return fmt.Errorf("migration lock: %w", classify(err))
		}
		if taken {
			break
		}
		if !waits {
			waits = true
			db.cfg.Log.Info("another instance is migrating the schema; waiting for it")
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		l.renew(ctx, cancel)
	}()
	defer func() {
		cancel(nil)
		<-renewing
		_, unlock := l.exec(context.WithoutCancel(ctx), `UPDATE migrate_lock SET until = `+free+` WHERE holder = ?`, l.holder)
		err = errors.Join(err, unlock)
	}()
	if err := f(ctx); err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errLockLost) {
			return errors.Join(cause, err)
		}
		return err
	}
	return nil
}

// take tries to take the lock, and reports whether it did.
func (l *migrateLock) take(ctx context.Context) (bool, error) {
	_, err := l.exec(ctx, `INSERT IGNORE INTO migrate_lock (one, holder, until) VALUES (1, '', `+free+`)`)
	if number(err) == erNoTable {
		if _, err = l.exec(ctx, lockTable); err != nil {
			return false, err
		}
		return l.take(ctx)
	}
	if err != nil {
		return false, err
	}
	rows, err := l.exec(ctx, `
		UPDATE migrate_lock
		SET holder = ?, until = TIMESTAMPADD(SECOND, ?, UTC_TIMESTAMP(6))
		WHERE one = 1 AND until < UTC_TIMESTAMP(6)`, l.holder, seconds(lockLife))
	return rows == 1, err
}

// renew renews the lock until ctx ends, and cancels ctx if the lock is lost.
func (l *migrateLock) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(lockRenew)
	defer tick.Stop()
	kept := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		rows, err := l.exec(ctx, `
			UPDATE migrate_lock
			SET until = TIMESTAMPADD(SECOND, ?, UTC_TIMESTAMP(6))
			WHERE holder = ?`, seconds(lockLife), l.holder)
		switch {
		case err == nil && rows == 1:
			kept = now
		case err == nil || now.Sub(kept) > lockLife:
			cancel(errLockLost)
			return
		}
	}
}

func (l *migrateLock) exec(ctx context.Context, statement string, args ...any) (rows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	result, err := l.pool.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
