package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the server-wide name of the lock that one migrating
// instance holds; the others wait for it.
const migrationLock = "shelfcast.migrate"

// Migrate brings the schema up to date, gives the shop its id unless it has one,
// and says how many migrations it ran. Any number of instances may call it at
// once: one works, the others wait.
func (db *DB) Migrate(ctx context.Context) (ran int, err error) {
	provider, err := db.provider()
	if err != nil {
		return 0, err
	}
	err = db.locked(ctx, func() error {
		results, err := provider.Up(ctx)
		ran = len(results)
		if err != nil {
			return err
		}
		return db.makeShopID(ctx)
	})
	return ran, err
}

// ErrSchema: the database is not at the schema of this release.
var ErrSchema = errors.New("the database's schema is not that of this release: run shelfcast migrate")

// CheckSchema returns ErrSchema unless the migrations of this release, or
// newer ones, have been run.
func (db *DB) CheckSchema(ctx context.Context) error {
	provider, err := db.provider()
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

func (db *DB) provider() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectMySQL, db.db.DB, files)
}

// locked runs f while no other instance changes the schema.
func (db *DB) locked(ctx context.Context, f func() error) (err error) {
	if db.cfg.MaxOpen == 1 {
		return f() // the lock would take the one connection that there is
	}
	conn, err := db.db.DB.Conn(ctx) // a named lock belongs to its connection
	if err != nil {
		return classify(err)
	}
	defer conn.Close()
	if err := lock(ctx, conn); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.cfg.Timeout)
		defer cancel()
		_, unlock := conn.ExecContext(ctx, `DO RELEASE_LOCK(?)`, migrationLock)
		err = errors.Join(err, unlock)
	}()
	return f()
}

// lock waits for the migration lock for as long as ctx lasts.
func lock(ctx context.Context, conn *sql.Conn) error {
	for {
		var got sql.NullInt64
		query, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := conn.QueryRowContext(query, `SELECT GET_LOCK(?, 10)`, migrationLock).Scan(&got)
		cancel()
		if err != nil {
			return fmt.Errorf("migration lock: %w", classify(err))
		}
		if got.Int64 == 1 {
			return nil
		}
	}
}

// triggers give a version, and the note that it was published, to whatever another program writes to products with
// plain SQL, so that its edits reach the pages too.
var triggers = []string{
	`DROP TRIGGER IF EXISTS products_version_insert`,
	`CREATE TRIGGER products_version_insert BEFORE INSERT ON products FOR EACH ROW
		SET NEW.version = GREATEST(NEW.version, ` + clock + `), NEW.published_once = NEW.published_once OR NEW.published`,
	`DROP TRIGGER IF EXISTS products_version_update`,
	`CREATE TRIGGER products_version_update BEFORE UPDATE ON products FOR EACH ROW
		SET NEW.version = GREATEST(OLD.version + 1, ` + clock + `),
			NEW.published_once = OLD.published_once OR OLD.published OR NEW.published`,
}

// InstallTriggers makes the database set the version of every row that changes,
// whoever changes it. It needs the TRIGGER right and, on a server with a binary
// log, log_bin_trust_function_creators.
func (db *DB) InstallTriggers(ctx context.Context) error {
	return db.locked(ctx, func() error {
		for _, statement := range triggers {
			err := db.read(ctx, "install_triggers", func(ctx context.Context) error {
				_, err := db.db.ExecContext(ctx, statement)
				return err
			})
			switch number(err) {
			case erNoTriggerRight:
				return fmt.Errorf("the database user lacks the TRIGGER right on products: %w", err)
			case erBinlogTrigger:
				return fmt.Errorf("the server keeps a binary log: set log_bin_trust_function_creators=1 on it, or migrate as a user with the SUPER right: %w", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
