package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"shelfcast/internal/tracing"
)

// nextVersion assigns the version of an edited row: the database's clock, or the previous
// version + 1 if that is greater. It also remembers that the product was published. Every
// UPDATE of products starts with it, before the columns that it changes.
const nextVersion = `version = GREATEST(version + 1, ` + clock + `), published_once = published_once OR published`

// Create creates a product, unpublished unless e says otherwise. Errors: ErrInvalid,
// ErrDuplicateSKU, ErrDuplicateExternalID, ErrUnavailable.
func (db *DB) Create(ctx context.Context, e Edit) (Product, error) {
	p, err := e.newProduct(db.cfg.Videos)
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
		return writeHistory(ctx, tx, historyRow{p.Rev, Created, creationChanges(p)})
	})
	if err != nil {
		return Product{}, err
	}
	return p, nil
}

func insert(ctx context.Context, tx *sqlx.Tx, p Product) (id int64, err error) {
	made, err := tx.NamedExecContext(ctx, `
		INSERT INTO products (version, `+insertList+`, published_once, created_at)
		VALUES (`+clock+`, `+insertSet+`, :published, UTC_TIMESTAMP(6))`, p)
	if err != nil {
		return 0, fmt.Errorf("create %q: %w", p.SKU, err)
	}
	return made.LastInsertId()
}

// Update applies e to the product if seen is still its version. An edit that changes
// nothing makes no new version and returns the product as it is.
// Errors: ErrNotFound, ErrConflict, ErrArchived, ErrInvalid, ErrDuplicateSKU,
// ErrDuplicateExternalID, ErrUnavailable.
func (db *DB) Update(ctx context.Context, seen Rev, e Edit) (Product, error) {
	return db.change(ctx, seen, Edited, e)
}

// Replace is Update, except that fields which e leaves out get the value of a new product.
func (db *DB) Replace(ctx context.Context, seen Rev, e Edit) (Product, error) {
	e, err := e.complete()
	if err != nil {
		return Product{}, err
	}
	return db.change(ctx, seen, Edited, e)
}

// Archive removes the product from the shop if seen is still its version. The row stays:
// being archived is one more version.
// Errors: ErrNotFound, ErrConflict, ErrUnavailable.
func (db *DB) Archive(ctx context.Context, seen Rev) (Product, error) {
	return db.change(ctx, seen, Archived, Edit{})
}

// Restore undoes Archive. Errors: those of Archive.
func (db *DB) Restore(ctx context.Context, seen Rev) (Product, error) {
	return db.change(ctx, seen, Restored, Edit{})
}

// change makes one change in a transaction, and returns the product after it.
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
		if after = before; plan.isNoop() {
			return nil
		}
		if err := plan.update(ctx, tx); err != nil {
			return err
		}
		if after, err = product(ctx, tx, seen.ID); err != nil {
			return err
		}
		return writeHistory(ctx, tx, plan.historyRow(after))
	})
	if err != nil {
		return Product{}, err
	}
	return after, nil
}

// A plan is a validated change of one product.
type plan struct {
	before, wanted Product
	action         Action
}

// planOf checks a change against the current product. Errors: ErrConflict, ErrArchived,
// ErrInvalid.
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

// isNoop reports whether the product is already as wanted.
func (p plan) isNoop() bool { return len(diff(p.before, p.wanted)) == 0 }

func (p plan) historyRow(after Product) historyRow {
	return historyRow{after.Rev, p.action, diff(p.before, after)}
}

// update writes the plan. Its WHERE names the version that the plan was made for, so it
// matches no row after a concurrent edit: that is an ErrConflict.
func (p plan) update(ctx context.Context, tx *sqlx.Tx) error {
	ctx, span := tracing.Start(ctx, "UPDATE products")
	defer span.End()
	result, err := tx.NamedExecContext(ctx, `
		UPDATE products
		SET `+nextVersion+` OR :published, `+assignments+`,
			archived_at = IF(:archived, COALESCE(archived_at, UTC_TIMESTAMP(6)), NULL)
		WHERE id = :id AND version = :version`, p.wanted)
	if err != nil {
		return fmt.Errorf("product %d: %w", p.wanted.ID, err)
	}
	switch rows, err := result.RowsAffected(); {
	case err != nil:
		return err
	case rows == 0:
		return conflictWithCurrent(ctx, tx, p.before.ID)
	}
	return nil
}

// conflictWithCurrent returns the ErrConflict with the current version. Only a locking
// read sees it: the snapshot of the transaction is from before the other edit.
func conflictWithCurrent(ctx context.Context, tx *sqlx.Tx, id int64) error {
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
