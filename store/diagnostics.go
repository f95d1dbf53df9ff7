package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Diagnostics is what a server reports about itself and about the database user. Reading it
// changes and locks nothing.
type Diagnostics struct {
	Version       string            // VERSION()
	Variables     map[string]string // those that matter here, as this connection has them, if the server knows them
	Grants        []string          // as SHOW GRANTS has them
	LostSettings  []string          // session settings that were set but did not take effect, such as "autocommit=OFF"
	MissingRights []string          // privileges that an instance needs and the user lacks, such as "INSERT on tokens"
	Migration     int64             // the newest migration that has run; 0: none
	HasTriggers   bool              // the triggers exist, and the user may see them
	HasProcess    bool              // the user may see the transactions of others: see DB.Writers
	EventCount    int               // scheduled events of the database that the user may see
	Definers      []Definer         // whose privileges the triggers run with
	LatestVersion int64             // the newest version of a product; 0: no products, or no table

	ClockOffset time.Duration // the server's clock minus this machine's
	ClockError  time.Duration // the error of ClockOffset: half of a round trip
}

// A Definer is the user whose privileges a trigger runs with.
type Definer struct {
	Name   string // user@host
	Known  bool   // the other fields could be read
	Exists bool
	Grants []string // as SHOW GRANTS has them
}

// variables are the server variables of Diagnostics, besides verifiableSettings. Not every server knows all of them.
var variables = []string{
	"event_scheduler", "innodb_read_only", "log_bin",
	"log_bin_trust_function_creators", "max_allowed_packet", "max_connections",
	"max_user_connections", "read_only", "super_read_only", "version_comment", "wait_timeout",
	"wsrep_on", "wsrep_sync_wait",
}

// needs are the privileges that an instance needs, each with a statement that requires it.
// EXPLAIN requires the privileges of the statement without running it, so privileges from
// roles and for single columns count too.
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

// Diagnose reads the diagnostics of the primary. The error is the driver's or ctx's.
func (db *DB) Diagnose(ctx context.Context) (Diagnostics, error) {
	return db.diagnose(ctx, db.db)
}

// DiagnoseReplica reads the diagnostics of the replica. ok is false if there is none.
func (db *DB) DiagnoseReplica(ctx context.Context) (s Diagnostics, ok bool, err error) {
	if db.replica == nil {
		return Diagnostics{}, false, nil
	}
	s, err = db.diagnose(ctx, db.replica.db)
	return s, true, err
}

// NewestMigration returns the number of the newest migration of this program.
func (db *DB) NewestMigration() (int64, error) {
	provider, err := db.provider(db.db)
	if err != nil {
		return 0, err
	}
	newest := int64(0)
	for _, source := range provider.ListSources() {
		newest = max(newest, source.Version)
	}
	return newest, nil
}

func (db *DB) diagnose(ctx context.Context, server *sqlx.DB) (s Diagnostics, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*db.cfg.Timeout)
	defer cancel()
	if err := server.GetContext(ctx, &s.Version, `SELECT VERSION()`); err != nil {
		return s, err
	}
	if s.Variables, err = variablesOf(ctx, server); err != nil {
		return s, err
	}
	for name, want := range verifiableSettings {
		if is, known := s.Variables[name]; known && is != want {
			s.LostSettings = append(s.LostSettings, name+"="+is)
		}
	}
	slices.Sort(s.LostSettings)
	if err := server.SelectContext(ctx, &s.Grants, `SHOW GRANTS`); err != nil {
		return s, err
	}
	for _, need := range needs {
		denied, err := denies(ctx, server, need.statement)
		if err != nil {
			return s, err
		}
		if denied {
			s.MissingRights = append(s.MissingRights, need.right+" on "+need.table)
		}
	}
	if err := optional(server.GetContext(ctx, &s.Migration,
		`SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`)); err != nil {
		return s, err
	}
	if err := optional(server.GetContext(ctx, &s.LatestVersion,
		`SELECT COALESCE(MAX(version), 0) FROM products`)); err != nil {
		return s, err
	}
	if err := s.readTriggers(ctx, server); err != nil {
		return s, err
	}
	if err := server.GetContext(ctx, &s.EventCount,
		`SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()`); err != nil {
		return s, err
	}
	var open int
	err = server.GetContext(ctx, &open, `SELECT COUNT(*) FROM information_schema.innodb_trx`)
	if err != nil && number(err) != erNoRight {
		return s, err
	}
	s.HasProcess = err == nil
	s.ClockOffset, s.ClockError, err = clockOf(ctx, server)
	return s, err
}

// readTriggers reads the triggers and their definers.
func (s *Diagnostics) readTriggers(ctx context.Context, server *sqlx.DB) error {
	var found []struct {
		Name    string `db:"TRIGGER_NAME"`
		Definer string `db:"DEFINER"`
		Own     bool   `db:"own"`
	}
	err := server.SelectContext(ctx, &found, `
		SELECT TRIGGER_NAME, DEFINER, DEFINER = CURRENT_USER() AS own FROM information_schema.TRIGGERS
		WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'products'`)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, t := range found {
		names[t.Name] = true
		if slices.ContainsFunc(s.Definers, func(d Definer) bool { return d.Name == t.Definer }) {
			continue
		}
		d := Definer{Name: t.Definer, Known: true, Exists: true, Grants: s.Grants}
		if !t.Own {
			if d, err = definerOf(ctx, server, t.Definer); err != nil {
				return err
			}
		}
		s.Definers = append(s.Definers, d)
	}
	s.HasTriggers = true
	for _, t := range triggers {
		s.HasTriggers = s.HasTriggers && names[t.name]
	}
	return nil
}

// definerOf reads the privileges of another user.
func definerOf(ctx context.Context, server *sqlx.DB, name string) (Definer, error) {
	at := max(strings.LastIndex(name, "@"), 0)
	quote := strings.NewReplacer(`'`, `''`, `\`, `\\`)
	d := Definer{Name: name}
	err := server.SelectContext(ctx, &d.Grants,
		`SHOW GRANTS FOR '`+quote.Replace(name[:at])+`'@'`+quote.Replace(strings.TrimPrefix(name[at:], "@"))+`'`)
	switch number(err) {
	case erNoDatabaseRight, erNoTableRight, erNoRight:
		return d, nil
	case erNoSuchGrant:
		d.Known = true
		return d, nil
	}
	d.Known, d.Exists = true, true
	return d, err
}

func variablesOf(ctx context.Context, server *sqlx.DB) (map[string]string, error) {
	var rows []struct {
		Name  string `db:"Variable_name"`
		Value string `db:"Value"`
	}
	names := slices.AppendSeq(slices.Clone(variables), maps.Keys(verifiableSettings))
	err := server.SelectContext(ctx, &rows, `SHOW VARIABLES WHERE Variable_name IN ('`+strings.Join(names, "','")+`')`)
	all := make(map[string]string, len(rows))
	for _, row := range rows {
		all[strings.ToLower(row.Name)] = row.Value
	}
	return all, err
}

// denies reports whether the user lacks the privilege for a statement. Other errors do not
// matter: a table or a value may be missing.
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

// optional ignores the errors of a table that is missing or may not be read.
func optional(err error) error {
	switch number(err) {
	case erNoTable, erNoTableRight, erNoColumnRight, erNoColumn:
		return nil
	}
	return err
}

// clockOf compares the clocks several times, and returns the fastest comparison.
func clockOf(ctx context.Context, server *sqlx.DB) (offset, uncertainty time.Duration, err error) {
	for try := range 5 {
		var there int64
		before := time.Now()
		if err := server.GetContext(ctx, &there, `SELECT `+clock); err != nil {
			return 0, 0, err
		}
		half := time.Since(before) / 2
		if try == 0 || half < uncertainty {
			offset, uncertainty = time.UnixMicro(there).Sub(before.Add(half)), half
		}
	}
	return offset, uncertainty, nil
}
