package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"shelfcast/store/tracing"
)

// bump is the version of an edited row: the database's clock, and never less
// than the version before it + 1; and that the product was published, if it was.
// Whatever changes a row has it in the same UPDATE, before what it changes.
const bump = `version = GREATEST(version + 1, ` + clock + `), published_once = published_once OR published`

// Create makes a product of e, unpublished unless e says so. Errors:
// ErrInvalid, ErrDuplicateSKU, ErrDuplicateExternalID, ErrUnavailable.
func (db *DB) Create(ctx context.Context, e Edit) (Product, error) {
	p, err := e.first(db.cfg.Videos)
	if err != nil {
		return Product{}, err
	}
	err = db.write(ctx, "create", func(ctx context.Context, tx *sqlx.Tx) error {
		id, err := insert(ctx, tx, p)
		if err != nil {
			return err
		}
		if p, err = product(ctx, tx, id); err != nil {
			return err
		}
		return record(ctx, tx, deed{p.Rev, Created, birth(p)})
	})
	if err != nil {
		return Product{}, err
	}
	return p, nil
}

// first is the product that e makes.
func (e Edit) first(videos bool) (Product, error) {
	p, err := e.apply(Product{}, videos)
	if e.Price == nil { // zero is a price, and so must be said
		missing := FieldError{"price", "is required"}
		if invalid, ok := errors.AsType[*InvalidError](err); ok {
			return Product{}, &InvalidError{append(invalid.Fields, missing)}
		}
		return Product{}, &InvalidError{[]FieldError{missing}}
	}
	return p, err
}

func insert(ctx context.Context, tx *sqlx.Tx, p Product) (id int64, err error) {
	made, err := tx.NamedExecContext(ctx, `
		INSERT INTO products (version, sku, external_id, title, description, vendor, image_url, price,
			compare_at_price, currency, stock, published, published_once, created_at)
		VALUES (`+clock+`, :sku, NULLIF(:external_id, ''), :title, :description, :vendor, :image_url, :price,
			:compare_at_price, :currency, :stock, :published, :published, UTC_TIMESTAMP(6))`, p)
	if err != nil {
		return 0, fmt.Errorf("create %q: %w", p.SKU, err)
	}
	return made.LastInsertId()
}

// Update makes e of the product that seen names, if that is still its version.
// An edit that changes nothing makes no version and returns what is there.
// Errors: ErrNotFound, ErrConflict, ErrArchived, ErrInvalid, ErrDuplicateSKU,
// ErrDuplicateExternalID, ErrUnavailable.
func (db *DB) Update(ctx context.Context, seen Rev, e Edit) (Product, error) {
	return db.change(ctx, seen, Edited, e)
}

// Replace is Update with an edit that says all there is: what it leaves out is
// taken away.
func (db *DB) Replace(ctx context.Context, seen Rev, e Edit) (Product, error) {
	e, err := e.whole()
	if err != nil {
		return Product{}, err
	}
	return db.change(ctx, seen, Edited, e)
}

// Archive takes the product that seen names out of the shop, if that is still
// its version. It stays in the database: being archived is one more version.
// Errors: ErrNotFound, ErrConflict, ErrUnavailable.
func (db *DB) Archive(ctx context.Context, seen Rev) (Product, error) {
	return db.change(ctx, seen, Archived, Edit{})
}

// Restore is Archive taken back.
func (db *DB) Restore(ctx context.Context, seen Rev) (Product, error) {
	return db.change(ctx, seen, Restored, Edit{})
}

// change makes one edit in one transaction, and returns the product as it is
// then.
func (db *DB) change(ctx context.Context, seen Rev, action Action, e Edit) (Product, error) {
	var after Product
	err := db.write(ctx, string(action), func(ctx context.Context, tx *sqlx.Tx) error {
		before, err := product(ctx, tx, seen.ID)
		if err != nil {
			return err
		}
		plan, err := planOf(before, seen.Version, action, e, db.cfg.Videos)
		if err != nil {
			return err
		}
		if after = before; plan.nothing() {
			return nil
		}
		if err := plan.update(ctx, tx); err != nil {
			return err
		}
		if after, err = product(ctx, tx, seen.ID); err != nil {
			return err
		}
		return record(ctx, tx, plan.deed(after))
	})
	if err != nil {
		return Product{}, err
	}
	return after, nil
}

// A plan is a change of one product that may be made.
type plan struct {
	before, wanted Product
	action         Action
}

// planOf holds a change against the product as it is. Errors: ErrConflict,
// ErrArchived, ErrInvalid.
func planOf(before Product, seen int64, action Action, e Edit, videos bool) (plan, error) {
	if before.Version != seen {
		return plan{}, &ConflictError{before.Rev}
	}
	wanted := before
	switch action {
	case Archived, Restored:
		wanted.Archived = action == Archived
	default:
		if before.Archived {
			return plan{}, fmt.Errorf("product %d: %w", before.ID, ErrArchived)
		}
		var err error
		if wanted, err = e.apply(before, videos); err != nil {
			return plan{}, err
		}
	}
	return plan{before, wanted, action}, nil
}

// nothing: the product is as wanted.
func (p plan) nothing() bool { return len(diff(p.before, p.wanted)) == 0 }

func (p plan) deed(after Product) deed { return deed{after.Rev, p.action, diff(p.before, after)} }

// update names the version that the plan was made for, so it meets no row when
// somebody else was faster: that is an ErrConflict.
func (p plan) update(ctx context.Context, tx *sqlx.Tx) error {
	ctx, span := tracing.Start(ctx, "UPDATE products")
	defer span.End()
	result, err := tx.NamedExecContext(ctx, `
		UPDATE products
		SET `+bump+` OR :published, sku = :sku, external_id = NULLIF(:external_id, ''), title = :title, description = :description,
			vendor = :vendor, image_url = :image_url, price = :price,
			compare_at_price = :compare_at_price, currency = :currency,
			stock = :stock, published = :published,
			archived_at = IF(:archived, COALESCE(archived_at, UTC_TIMESTAMP(6)), NULL)
		WHERE id = :id AND version = :version`, p.wanted)
	if err != nil {
		return fmt.Errorf("product %d: %w", p.wanted.ID, err)
	}
	switch rows, err := result.RowsAffected(); {
	case err != nil:
		return err
	case rows == 0:
		return overtaken(ctx, tx, p.before.ID)
	}
	return nil
}

// overtaken is the ErrConflict with what is current now. The transaction reads
// from before the other edit, unless it asks for a lock.
func overtaken(ctx context.Context, tx *sqlx.Tx, id int64) error {
	var current Rev
	err := tx.GetContext(ctx, &current, `SELECT id, version FROM products WHERE id = ? LOCK IN SHARE MODE`, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("product %d: %w", id, err)
	}
	return &ConflictError{current}
}
