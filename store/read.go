package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// isPublic: the product is published, or was once. To shoppers any other product does not
// exist, on any path.
const isPublic = `(published OR published_once)`

// columns are those of a Product.
var columns = `id, version, ` + selectList + `, ` + isPublic +
	` AS public, created_at, archived_at, archived_at IS NOT NULL AS archived`

// clock is the database's time in microseconds since 1970, in any time zone of the
// connection.
const clock = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`

// Product returns the product with this id, or ErrNotFound. It is for staff;
// shoppers may see what ProductAtLeast returns.
func (db *DB) Product(ctx context.Context, id int64) (Product, error) {
	var p Product
	err := db.read(ctx, "product", func(ctx context.Context) (err error) {
		p, err = product(ctx, db.db, id)
		return err
	})
	return p, err
}

// ProductAtLeast returns the product at the wanted version or a newer one, as shoppers may
// see it; version 0 wants the current one. It is older than wanted only if the database
// does not have the wanted version. It reads the replica if that is new enough.
//
// Of an unpublished or archived product it returns only the Rev, whether it is archived,
// and the external id, by which the pages of another system know it. ErrNotFound if the
// product does not exist or was never published.
func (db *DB) ProductAtLeast(ctx context.Context, want Rev) (Product, error) {
	p, found, err := db.productFromReplica(ctx, want)
	if err == nil && !found {
		p, err = db.Product(ctx, want.ID)
	}
	if err == nil && !p.Public {
		return Product{}, fmt.Errorf("product %d: %w", want.ID, ErrNotFound)
	}
	return p.forShoppers(), err
}

// ProductsAtLeast is ProductAtLeast for many products, in one query. The result is in no
// order, and leaves out products that do not exist.
func (db *DB) ProductsAtLeast(ctx context.Context, wants []Rev) ([]Product, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	found, missing := db.productsFromReplica(ctx, wants)
	if len(missing) > 0 {
		var more []Product
		err := db.read(ctx, "products", func(ctx context.Context) (err error) {
			more, err = productsOf(ctx, db.db, missing)
			return err
		})
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	found = slices.DeleteFunc(found, func(p Product) bool { return !p.Public })
	for i, p := range found {
		found[i] = p.forShoppers()
	}
	return found, nil
}

// forShoppers returns what shoppers may see of p.
func (p Product) forShoppers() Product {
	if p.Available() {
		return p
	}
	return Product{Rev: p.Rev, ExternalID: p.ExternalID, Archived: p.Archived}
}

// productsOf reads the products with these ids.
func productsOf(ctx context.Context, q sqlx.QueryerContext, revs []Rev) ([]Product, error) {
	ids := make([]int64, len(revs))
	for i, r := range revs {
		ids[i] = r.ID
	}
	query, args, err := sqlx.In(`SELECT `+columns+` FROM products WHERE id IN (?)`, ids)
	if err != nil {
		return nil, err
	}
	var found []Product
	if err := sqlx.SelectContext(ctx, q, &found, query, args...); err != nil {
		return nil, fmt.Errorf("%d products: %w", len(revs), err)
	}
	for i := range found {
		found[i].normalise()
	}
	return found, nil
}

func product(ctx context.Context, q sqlx.QueryerContext, id int64) (Product, error) {
	var p Product
	err := sqlx.GetContext(ctx, q, &p, `SELECT `+columns+` FROM products WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Product{}, fmt.Errorf("product %d: %w", id, err)
	}
	p.normalise()
	return p, nil
}

// ProductBySKU returns the product with this SKU, archived or not, or ErrNotFound.
func (db *DB) ProductBySKU(ctx context.Context, sku string) (Product, error) {
	var p Product
	err := db.read(ctx, "product_by_sku", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &p, `SELECT `+columns+` FROM products WHERE sku = ?`, sku)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Product{}, fmt.Errorf("SKU %q: %w", sku, err)
	}
	p.normalise()
	return p, nil
}

// Versions returns the current Rev of each id that shoppers may know of, in no order. It
// queries a thousand at a time, each with the full timeout.
func (db *DB) Versions(ctx context.Context, ids []int64) ([]Rev, error) {
	revs := make([]Rev, 0, len(ids))
	for len(ids) > 0 {
		chunk := ids[:min(len(ids), 1000)]
		ids = ids[len(chunk):]
		query, args, err := sqlx.In(`SELECT id, version FROM products WHERE id IN (?) AND `+isPublic, chunk)
		if err != nil {
			return nil, err
		}
		var found []Rev
		err = db.read(ctx, "versions", func(ctx context.Context) error {
			return db.db.SelectContext(ctx, &found, query, args...)
		})
		if err != nil {
			return nil, err
		}
		revs = append(revs, found...)
	}
	return revs, nil
}

// ChangedSince returns up to limit Revs after the given one, in the order of version and
// id. To continue, pass the last one. To start at a time, pass that version with ID 0; see
// Clock for the current time, and Overlap for how far before it to start.
func (db *DB) ChangedSince(ctx context.Context, after Rev, limit int) ([]Rev, error) {
	var revs []Rev
	err := db.read(ctx, "changed_since", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &revs, `
			SELECT id, version
			FROM products
			WHERE version >= ? AND (version > ? OR id > ?)
			ORDER BY version, id
			LIMIT ?`, after.Version, after.Version, after.ID, limit)
	})
	return revs, err
}

// A ChangedProduct is a product that has changed. Hidden: it was never published, so its
// existence must not be visible to shoppers.
type ChangedProduct struct {
	Rev
	Hidden bool `db:"hidden"`
}

// ChangedWithVisibility is ChangedSince for callers that notify shoppers: it also reports
// which products are hidden from them.
func (db *DB) ChangedWithVisibility(ctx context.Context, after Rev, limit int) ([]ChangedProduct, error) {
	var rows []struct {
		ChangedProduct
		Unmarked bool `db:"unmarked"` // published, but published_once is not set
	}
	err := db.read(ctx, "changed_since", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &rows, `
			SELECT id, version, NOT `+isPublic+` AS hidden, published AND NOT published_once AS unmarked
			FROM products
			WHERE version >= ? AND (version > ? OR id > ?)
			ORDER BY version, id
			LIMIT ?`, after.Version, after.Version, after.ID, limit)
	})
	changed := make([]ChangedProduct, len(rows))
	var unmarked []int64
	for i, row := range rows {
		if changed[i] = row.ChangedProduct; row.Unmarked {
			unmarked = append(unmarked, row.ID)
		}
	}
	if len(unmarked) > 0 {
		_ = db.markPublished(ctx, unmarked) // on failure the next read tries again: it returns the same rows
	}
	return changed, err
}

// markPublished sets published_once where another writer did not, such as an older release.
// When the product is unpublished later, the pages that show it must be updated.
func (db *DB) markPublished(ctx context.Context, ids []int64) error {
	query, args, err := sqlx.In(`UPDATE products SET published_once = TRUE WHERE published AND id IN (?)`, ids)
	if err != nil {
		return err
	}
	return db.write(ctx, "mark_published", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// LatestRevs returns the Revs of the products that changed last, newest first, of those
// that shoppers may know of.
func (db *DB) LatestRevs(ctx context.Context, limit int) ([]Rev, error) {
	var revs []Rev
	err := db.read(ctx, "latest_revs", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &revs,
			`SELECT id, version FROM products WHERE `+isPublic+` ORDER BY version DESC, id DESC LIMIT ?`, limit)
	})
	return revs, err
}

// MaxID returns the greatest id of a product, or 0 if there is none.
func (db *DB) MaxID(ctx context.Context) (int64, error) {
	var id int64
	err := db.read(ctx, "max_id", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &id, `SELECT COALESCE(MAX(id), 0) FROM products`)
	})
	return id, err
}

// Clock returns the database's time as a version, in microseconds since 1970. The same
// query identifies the server: if it is not the primary, all connections are replaced and
// the query is repeated once.
func (db *DB) Clock(ctx context.Context) (int64, error) {
	var row struct {
		Now int64 `db:"now"`
		server
	}
	query := `SELECT ` + clock + ` AS now`
	if db.primary != nil {
		query += `, ` + serverColumns
	}
	for {
		err := db.read(ctx, "clock", func(ctx context.Context) error { return db.db.GetContext(ctx, &row, query) })
		if err != nil || db.primary == nil || !db.primary.observe(row.server) {
			return row.Now, err
		}
	}
}
