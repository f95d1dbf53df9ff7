package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// A Survey is what a server says of itself, and of the user that asks it. All of
// it is read: nothing is made, changed or locked.
type Survey struct {
	Version   string            // as VERSION() has it
	Variables map[string]string // those that matter here, as this connection has them; those that the server does not know are missing
	Grants    []string          // as SHOW GRANTS has them
	Denied    []string          // what this user may not do though an instance does it, as "INSERT on tokens"
	Schema    int64             // the newest migration that was run; 0: none
	Triggers  bool              // the triggers are there, and this user may see them
	Latest    int64             // the newest version of a product; 0: there is none, or no table

	Clock     time.Duration // the server's clock less ours
	Uncertain time.Duration // by how much Clock may be wrong: half of a round trip
}

// variables are those of a Survey. Servers differ in which of them they know.
var variables = []string{
	"binlog_format", "innodb_snapshot_isolation", "log_bin", "log_bin_trust_function_creators", "max_connections", "max_user_connections",
	"read_only", "sql_mode", "super_read_only", "transaction_isolation", "tx_isolation", "version_comment", "wait_timeout",
}

// needs is what an instance does with each table, as a statement that needs the
// right. EXPLAIN asks for the rights of what it explains, and does not do it; so
// rights that come by a role, or for single columns, count as they do in truth.
var needs = []struct{ right, table, statement string }{
	{"SELECT", "products", `SELECT id FROM products WHERE FALSE`},
	{"INSERT", "products", `INSERT INTO products (sku) VALUES ('')`},
	{"UPDATE", "products", `UPDATE products SET stock = 0 WHERE FALSE`},
	{"SELECT", "product_history", `SELECT product_id FROM product_history WHERE FALSE`},
	{"INSERT", "product_history", `INSERT INTO product_history (product_id) VALUES (0)`},
	{"SELECT", "tokens", `SELECT id FROM tokens WHERE FALSE`},
	{"INSERT", "tokens", `INSERT INTO tokens (name) VALUES ('')`},
	{"UPDATE", "tokens", `UPDATE tokens SET name = '' WHERE FALSE`},
	{"SELECT", "answers", `SELECT caller FROM answers WHERE FALSE`},
	{"INSERT", "answers", `INSERT INTO answers (caller) VALUES ('')`},
	{"UPDATE", "answers", `UPDATE answers SET answer = '' WHERE FALSE`},
	{"DELETE", "answers", `DELETE FROM answers WHERE FALSE`},
	{"SELECT", "shop", `SELECT id FROM shop WHERE FALSE`},
	{"SELECT", "goose_db_version", `SELECT version_id FROM goose_db_version WHERE FALSE`},
}

// Survey asks the primary. The error is the driver's, or a context's.
func (db *DB) Survey(ctx context.Context) (Survey, error) {
	return db.survey(ctx, db.db)
}

// SurveyReplica asks the replica. ok is false if there is none.
func (db *DB) SurveyReplica(ctx context.Context) (s Survey, ok bool, err error) {
	if db.replica == nil {
		return Survey{}, false, nil
	}
	s, err = db.survey(ctx, db.replica.db)
	return s, true, err
}

// Release is the newest migration of this program.
func (db *DB) Release() (int64, error) {
	provider, err := db.provider()
	if err != nil {
		return 0, err
	}
	newest := int64(0)
	for _, source := range provider.ListSources() {
		newest = max(newest, source.Version)
	}
	return newest, nil
}

func (db *DB) survey(ctx context.Context, server *sqlx.DB) (s Survey, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*db.cfg.Timeout)
	defer cancel()
	if err := server.GetContext(ctx, &s.Version, `SELECT VERSION()`); err != nil {
		return s, err
	}
	if s.Variables, err = variablesOf(ctx, server); err != nil {
		return s, err
	}
	if err := server.SelectContext(ctx, &s.Grants, `SHOW GRANTS`); err != nil {
		return s, err
	}
	for _, need := range needs {
		denied, err := denies(ctx, server, need.statement)
		if err != nil {
			return s, err
		}
		if denied {
			s.Denied = append(s.Denied, need.right+" on "+need.table)
		}
	}
	if err := optional(server.GetContext(ctx, &s.Schema, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`)); err != nil {
		return s, err
	}
	if err := optional(server.GetContext(ctx, &s.Latest, `SELECT COALESCE(MAX(version), 0) FROM products`)); err != nil {
		return s, err
	}
	var triggers []string
	if err := server.SelectContext(ctx, &triggers, `
		SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'products'`); err != nil {
		return s, err
	}
	s.Triggers = slices.Contains(triggers, "products_version_insert") && slices.Contains(triggers, "products_version_update")
	s.Clock, s.Uncertain, err = clockOf(ctx, server)
	return s, err
}

func variablesOf(ctx context.Context, server *sqlx.DB) (map[string]string, error) {
	var rows []struct {
		Name  string `db:"Variable_name"`
		Value string `db:"Value"`
	}
	err := server.SelectContext(ctx, &rows, `SHOW VARIABLES WHERE Variable_name IN ('`+strings.Join(variables, "','")+`')`)
	all := make(map[string]string, len(rows))
	for _, row := range rows {
		all[strings.ToLower(row.Name)] = row.Value
	}
	return all, err
}

// denies says whether the user lacks the right to make that statement. What else
// is wrong with it does not matter: a table may be missing, and a value.
func denies(ctx context.Context, server *sqlx.DB, statement string) (bool, error) {
	rows, err := server.QueryxContext(ctx, `EXPLAIN `+statement)
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	switch number(err) {
	case erNoTableRight, erNoColumnRight, erNoDatabaseRight, erNoRight:
		return true, nil
	case 0:
		return false, err
	}
	return false, nil
}

// optional takes a table that is missing, or may not be read, for an empty one.
func optional(err error) error {
	switch number(err) {
	case erNoTable, erNoTableRight, erNoColumnRight, erNoColumn:
		return nil
	}
	return err
}

// clockOf compares the clocks some times, and keeps the comparison that took the
// least.
func clockOf(ctx context.Context, server *sqlx.DB) (ahead, uncertain time.Duration, err error) {
	for try := range 5 {
		var there int64
		before := time.Now()
		if err := server.GetContext(ctx, &there, `SELECT `+clock); err != nil {
			return 0, 0, err
		}
		half := time.Since(before) / 2
		if try == 0 || half < uncertain {
			ahead, uncertain = time.UnixMicro(there).Sub(before.Add(half)), half
		}
	}
	return ahead, uncertain, nil
}

// MySQL's and MariaDB's numbers for what a user may not do, and for what is not
// there.
const (
	erNoDatabaseRight = 1044
	erNoColumn        = 1054
	erNoTableRight    = 1142
	erNoColumnRight   = 1143
	erNoTable         = 1146
	erNoRight         = 1227
)
