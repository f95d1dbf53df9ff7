package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
)

// RevsByExternalID returns the Rev of each product that has one of these external ids, by
// external id. It queries a thousand at a time, each with the full timeout.
func (db *DB) RevsByExternalID(ctx context.Context, externalIDs []string) (map[string]Rev, error) {
	found := make(map[string]Rev, len(externalIDs))
	for some := range slices.Chunk(externalIDs, 1000) {
		query, args, err := sqlx.In(`SELECT id, version, external_id FROM products WHERE external_id IN (?)`, some)
		if err != nil {
			return nil, err
		}
		var rows []RecentChange
		err = db.read(ctx, "external_ids", func(ctx context.Context) error {
			return sqlx.SelectContext(ctx, db.queryer(ctx), &rows, query, args...)
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

// queryer returns the transaction of ctx, so that its own writes are seen, or else the pool.
func (db *DB) queryer(ctx context.Context) sqlx.QueryerContext {
	if tx, ok := ctx.Value(txKey{}).(*sqlx.Tx); ok {
		return tx
	}
	return db.db
}

// A RecentChange is a product that has changed, with its external id; "": none.
type RecentChange struct {
	Rev
	ExternalID string `db:"external_id"`
}

// RecentChanges returns up to limit products with a version above after, newest first, of
// those that shoppers may know of. See Overlap for how far back after should be.
func (db *DB) RecentChanges(ctx context.Context, after int64, limit int) ([]RecentChange, error) {
	var found []RecentChange
	err := db.read(ctx, "recent_changes", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `
			SELECT id, version, COALESCE(external_id, '') AS external_id
			FROM products
			WHERE version > ? AND `+isPublic+`
			ORDER BY version DESC, id DESC
			LIMIT ?`, after, limit)
	})
	return found, err
}

// odooTemplate is the prefix of external ids from Odoo; the id of the product.template
// follows.
const odooTemplate = "odoo:product.template:"

// OdooID returns the id by which Odoo knows the product: that of its external id, or the
// product's own if the external id is not from Odoo.
func OdooID(id int64, externalID string) int64 {
	if n, ok := odooNumber(externalID); ok {
		return n
	}
	return id
}

// OdooExternalID returns the external id of the product with that id in Odoo.
func OdooExternalID(number int64) string { return odooTemplate + strconv.FormatInt(number, 10) }

func odooNumber(externalID string) (int64, bool) {
	text, ok := strings.CutPrefix(externalID, odooTemplate)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0 && externalID == OdooExternalID(n)
}
