package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// tableWait is how long a migration waits for transactions that use the table; queries that
// come later queue behind it. Then it pauses for tablePause, and tries again.
const (
	tableWait  = 2 * time.Second
	tablePause = 5 * time.Second
)

// Migrate brings the schema up to date, gives the shop an id unless it has one, and returns
// how many migrations it ran. Any number of instances may call it at once: one works, the
// others wait, until ctx ends at the latest. The reason for waiting is logged.
func (db *DB) Migrate(ctx context.Context) (ran int, err error) {
	provider, err := db.provider(db.db)
	if err != nil {
		return 0, err
	}
	if pending, err := provider.HasPending(ctx); err == nil && !pending {
		if _, err := db.ShopID(ctx); err == nil {
			return 0, nil
		}
	}
	err = db.withMigrationLock(ctx, func(ctx context.Context, pool *sqlx.DB) error {
		provider, err := db.provider(pool)
		if err != nil {
			return err
		}
		for {
			var done *goose.MigrationResult
			err := db.retryContended(ctx, "migrate", func() (err error) {
				done, err = provider.UpByOne(ctx)
				return err
			})
			switch {
			case errors.Is(err, goose.ErrNoNextVersion):
				return db.makeShopID(ctx)
			case err != nil:
				return err
			}
			ran++
			db.cfg.Log.Info("migration applied", "version", done.Source.Version, "took", done.Duration.Round(time.Millisecond))
		}
	})
	return ran, err
}

// retryContended calls f until no other transaction locks its table.
func (db *DB) retryContended(ctx context.Context, operation string, f func() error) error {
	for {
		err := f()
		if !contended(err) {
			return err
		}
		db.cfg.Log.Warn("table is locked by a transaction; retrying",
			"operation", operation, "retry_in", tablePause, "error", err)
		select {
		case <-time.After(tablePause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// withMigrationLock runs f while no other instance changes the schema. The connections of f
// have a short lock wait, and no time limit for statements.
func (db *DB) withMigrationLock(ctx context.Context, f func(context.Context, *sqlx.DB) error) error {
	if db.cfg.LockWait < 0 { // an embedded server: one connection, no other instance
		return f(ctx, db.db)
	}
	pool, err := open(db.dsn, db.cfg, session{lockWait: db.cfg.LockWait, metadataWait: tableWait}, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	return db.holdMigrationLock(ctx, pool, func(ctx context.Context) error { return f(ctx, pool) })
}

// ErrSchema: the database lacks migrations of this release.
var ErrSchema = errors.New("the database's schema is older than this release: run shelfcast migrate")

// CheckSchema returns ErrSchema unless all migrations of this release have run.
func (db *DB) CheckSchema(ctx context.Context) error {
	provider, err := db.provider(db.db)
	if err != nil {
		return err
	}
	pending := false
	err = db.read(ctx, "check_schema", func(ctx context.Context) (err error) {
		pending, err = provider.HasPending(ctx)
		return err
	})
	if err == nil && pending {
		err = ErrSchema
	}
	return err
}

func (db *DB) provider(pool *sqlx.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectMySQL, pool.DB, files)
}
