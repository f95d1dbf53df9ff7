package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
)

// triggers set version and published_once for rows that another program writes with plain
// SQL, so that its edits reach the pages too.
var triggers = []struct{ name, when, body string }{
	{"products_version_insert", `BEFORE INSERT`,
		`SET NEW.version = GREATEST(NEW.version, ` + clock + `), NEW.published_once = NEW.published_once OR NEW.published`},
	{"products_version_update", `BEFORE UPDATE`,
		`SET NEW.version = GREATEST(OLD.version + 1, ` + clock + `),
			NEW.published_once = OLD.published_once OR OLD.published OR NEW.published`},
}

// InstallTriggers makes the database set the version of every row that changes, whichever
// program changes it. The triggers run with the privileges of the user that installs them:
// before that user is deleted, call it again as another user. It needs the TRIGGER privilege
// and, on a server with a binary log, log_bin_trust_function_creators.
func (db *DB) InstallTriggers(ctx context.Context) error {
	return db.withMigrationLock(ctx, func(ctx context.Context, pool *sqlx.DB) error {
		var existing []struct {
			Name string `db:"TRIGGER_NAME"`
			Body string `db:"ACTION_STATEMENT"`
		}
		err := pool.SelectContext(ctx, &existing, `
			SELECT TRIGGER_NAME, ACTION_STATEMENT
			FROM information_schema.TRIGGERS
			WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'products' AND DEFINER = CURRENT_USER()`)
		if err != nil {
			return classify(err)
		}
		installed := map[string]string{}
		for _, t := range existing {
			installed[t.Name] = t.Body
		}
		for _, t := range triggers {
			if installed[t.name] == t.body {
				continue // replacing it would block the table for nothing
			}
			err := db.retryContended(ctx, "install the trigger "+t.name,
				func() error { return install(ctx, pool, t.name, t.when+` ON products FOR EACH ROW `+t.body) })
			switch number(err) {
			case erNoTableRight:
				return fmt.Errorf("the database user lacks the TRIGGER privilege on products: %w", err)
			case erBinlogTrigger:
				return fmt.Errorf("the server has a binary log: set log_bin_trust_function_creators=1 "+
					"on it, or migrate as a user with the SUPER privilege: %w", err)
			}
			if err != nil {
				return classify(err)
			}
		}
		return nil
	})
}

// install creates or replaces a trigger. MySQL needs two statements for it: rows that are
// written between them get no version.
func install(ctx context.Context, pool *sqlx.DB, name, trigger string) error {
	var version string
	if err := pool.GetContext(ctx, &version, `SELECT VERSION()`); err != nil {
		return err
	}
	create := `CREATE TRIGGER `
	if strings.Contains(version, "MariaDB") {
		create = `CREATE OR REPLACE TRIGGER `
	} else if _, err := pool.ExecContext(ctx, `DROP TRIGGER IF EXISTS `+name); err != nil {
		return err
	}
	_, err := pool.ExecContext(ctx, create+name+` `+trigger)
	return err
}
