package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// public: shoppers may know of the product, as it is published, or was once. What
// they may not know of is to them as if it were not there, on every way.
const public = `(published OR published_once)`

const columns = `id, version, sku, COALESCE(external_id, '') AS external_id, title, description, vendor, image_url, price, compare_at_price,
	currency, stock, published, ` + public + ` AS public, created_at, archived_at, archived_at IS NOT NULL AS archived`

// clock is the database's time in microseconds since 1970, whatever time zone
// the connection has.
const clock = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`

// Product is the product with this id, or ErrNotFound. It is for those who may
// see everything; what shoppers see comes from Shown.
func (db *DB) Product(ctx context.Context, id int64) (Product, error) {
	var p Product
	err := db.read(ctx, "product", func(ctx context.Context) (err error) {
		p, err = product(ctx, db.db, id)
		return err
	})
	return p, err
}

// Shown is the product as shoppers may see it, at the version wanted or a newer
// one; version 0 wants the current one. It is older than wanted only if the
// database has no such version. Of a product that is unpublished or archived the
// Rev alone leaves this package, that it is archived, and the external id: a page
// of another system's that shows it knows it by that. ErrNotFound if there is none,
// or none that was ever published.
//
// It is read from the replica if that has it.
func (db *DB) Shown(ctx context.Context, want Rev) (Product, error) {
	p, found, err := db.fromReplica(ctx, want)
	if err == nil && !found {
		p, err = db.Product(ctx, want.ID)
	}
	if err == nil && !p.Public {
		return Product{}, fmt.Errorf("product %d: %w", want.ID, ErrNotFound)
	}
	return p.shown(), err
}

// ShownAll is Shown for many products, in one query. It has them in no order,
// and nothing of those that are not there.
func (db *DB) ShownAll(ctx context.Context, wants []Rev) ([]Product, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	found, lacking := db.allFromReplica(ctx, wants)
	if len(lacking) > 0 {
		var more []Product
		err := db.read(ctx, "products", func(ctx context.Context) (err error) {
			more, err = productsOf(ctx, db.db, lacking)
			return err
		})
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	found = slices.DeleteFunc(found, func(p Product) bool { return !p.Public })
	for i, p := range found {
		found[i] = p.shown()
	}
	return found, nil
}

// shown is p as shoppers may see it.
func (p Product) shown() Product {
	if p.Available() {
		return p
	}
	return Product{Rev: p.Rev, ExternalID: p.ExternalID, Archived: p.Archived}
}

// productsOf reads rows by their ids.
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

// BySKU is the product with this SKU, archived or not, or ErrNotFound.
func (db *DB) BySKU(ctx context.Context, sku string) (Product, error) {
	var p Product
	err := db.read(ctx, "by_sku", func(ctx context.Context) error {
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

// Versions has the Rev of each of the ids of which shoppers may know, in no order. It asks for
// a thousand at a time, each under the deadline.
func (db *DB) Versions(ctx context.Context, ids []int64) ([]Rev, error) {
	revs := make([]Rev, 0, len(ids))
	for len(ids) > 0 {
		some := ids[:min(len(ids), 1000)]
		ids = ids[len(some):]
		query, args, err := sqlx.In(`SELECT id, version FROM products WHERE id IN (?) AND `+public, some)
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

// ChangedSince has, oldest first, at most limit Revs that come after the given
// one in the order of version and then id: to read on, pass the last. To begin
// at a time, pass a Rev of that version with ID 0; see Overlap for how far back
// that has to be, and Clock for the time.
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

// A News is a product that has changed. Hidden: shoppers may not know of it.
type News struct {
	Rev
	Hidden bool `db:"hidden"`
}

// News is ChangedSince for those who tell shoppers: each says whether they may.
func (db *DB) News(ctx context.Context, after Rev, limit int) ([]News, error) {
	var rows []struct {
		News
		Unnoted bool `db:"unnoted"` // it is published, and its row does not say so for later
	}
	err := db.read(ctx, "changed_since", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &rows, `
			SELECT id, version, NOT `+public+` AS hidden, published AND NOT published_once AS unnoted
			FROM products
			WHERE version >= ? AND (version > ? OR id > ?)
			ORDER BY version, id
			LIMIT ?`, after.Version, after.Version, after.ID, limit)
	})
	news := make([]News, len(rows))
	var unnoted []int64
	for i, row := range rows {
		if news[i] = row.News; row.Unnoted {
			unnoted = append(unnoted, row.ID)
		}
	}
	if len(unnoted) > 0 {
		_ = db.notePublished(ctx, unnoted) // or the next read does: it has these rows again
	}
	return news, err
}

// notePublished notes what somebody has published who knows nothing of the note,
// as the release before: once it is published no more, pages that show it are to
// hear of that.
func (db *DB) notePublished(ctx context.Context, ids []int64) error {
	query, args, err := sqlx.In(`UPDATE products SET published_once = TRUE WHERE published AND id IN (?)`, ids)
	if err != nil {
		return err
	}
	return db.write(ctx, "note_published", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// Latest has the Revs of the products that changed last, of those of which shoppers
// may know, newest first.
func (db *DB) Latest(ctx context.Context, limit int) ([]Rev, error) {
	var revs []Rev
	err := db.read(ctx, "latest", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &revs, `SELECT id, version FROM products WHERE `+public+` ORDER BY version DESC, id DESC LIMIT ?`, limit)
	})
	return revs, err
}

// Highest is the greatest id that a product has, 0 if there is none.
func (db *DB) Highest(ctx context.Context) (int64, error) {
	var id int64
	err := db.read(ctx, "highest", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &id, `SELECT COALESCE(MAX(id), 0) FROM products`)
	})
	return id, err
}

// Clock is the database's time as a version: microseconds since 1970.
func (db *DB) Clock(ctx context.Context) (int64, error) {
	var now int64
	err := db.read(ctx, "clock", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &now, `SELECT `+clock)
	})
	return now, err
}
