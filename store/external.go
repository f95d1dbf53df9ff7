package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
)

// External has the Rev of each product that has one of these external ids, by
// that id. It asks for a thousand at a time, each under the deadline.
func (db *DB) External(ctx context.Context, externalIDs []string) (map[string]Rev, error) {
	found := make(map[string]Rev, len(externalIDs))
	for some := range slices.Chunk(externalIDs, 1000) {
		query, args, err := sqlx.In(`SELECT id, version, external_id FROM products WHERE external_id IN (?)`, some)
		if err != nil {
			return nil, err
		}
		var rows []Recent
		err = db.read(ctx, "external", func(ctx context.Context) error {
			return sqlx.SelectContext(ctx, db.inTurn(ctx), &rows, query, args...)
		})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[r.ExternalID] = r.Rev
		}
	}
	return found, nil
}

// inTurn reads in the transaction that ctx has, if it has one: what that has
// written is seen.
func (db *DB) inTurn(ctx context.Context) sqlx.QueryerContext {
	if tx, ok := ctx.Value(joinKey{}).(*sqlx.Tx); ok {
		return tx
	}
	return db.db
}

// A Recent is a product that has changed, with its external id; "": none.
type Recent struct {
	Rev
	ExternalID string `db:"external_id"`
}

// ChangedLast has at most limit of the products of which shoppers may know and whose
// version is above after, those that changed last, newest first. See Overlap for how far back that has
// to be.
func (db *DB) ChangedLast(ctx context.Context, after int64, limit int) ([]Recent, error) {
	var found []Recent
	err := db.read(ctx, "changed_last", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT id, version, COALESCE(external_id, '') AS external_id
			FROM products
			WHERE version > ? AND `+public+`
			ORDER BY version DESC, id DESC
			LIMIT ?`, after, limit)
	})
	return found, err
}

// odooTemplate begins the external id of a product that is Odoo's
// product.template of the number behind it.
const odooTemplate = "odoo:product.template:"

// OdooID is the number by which a shop's Odoo knows the product: that of its
// external id, or, if that is none of Odoo's, our own.
func OdooID(id int64, externalID string) int64 {
	if n, ok := odooNumber(externalID); ok {
		return n
	}
	return id
}

// FromOdoo is the external id of the product that Odoo knows by that number.
func FromOdoo(number int64) string { return odooTemplate + strconv.FormatInt(number, 10) }

func odooNumber(externalID string) (int64, bool) {
	text, ok := strings.CutPrefix(externalID, odooTemplate)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0 && externalID == FromOdoo(n)
}
