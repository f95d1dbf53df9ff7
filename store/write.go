package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// bump is the version of an edited row: the database's clock, and never less
// than the version before it + 1. Whatever changes a row has it in the same
// UPDATE.
const bump = `version = GREATEST(version + 1, ` + clock + `)`

// Create makes a product of e, unpublished unless e says so. Errors:
// ErrInvalid, ErrDuplicateSKU, ErrUnavailable.
func (db *DB) Create(ctx context.Context, e Edit) (Product, error) {
	p, err := e.apply(Product{})
	if e.Price == nil {
		err = requirePrice(err)
	}
	if err != nil {
		return Product{}, err
	}
	err = db.write(ctx, func(ctx context.Context, tx *sqlx.Tx) error {
		made, err := tx.NamedExecContext(ctx, `
			INSERT INTO products (version, sku, title, description, vendor, image_url, price,
				compare_at_price, currency, stock, published, created_at)
			VALUES (`+clock+`, :sku, :title, :description, :vendor, :image_url, :price,
				:compare_at_price, :currency, :stock, :published, UTC_TIMESTAMP(6))`, p)
		if err != nil {
			return fmt.Errorf("create %q: %w", p.SKU, err)
		}
		id, err := made.LastInsertId()
		if err != nil {
			return err
		}
		p, err = product(ctx, tx, id)
		return err
	})
	if err != nil {
		return Product{}, err
	}
	return p, nil
}

// requirePrice adds to what is wrong with a new product that it has no price:
// zero is a price, and so must be said.
func requirePrice(err error) error {
	missing := FieldError{"price", "is required"}
	if invalid, ok := err.(*InvalidError); ok {
		return &InvalidError{append(invalid.Fields, missing)}
	}
	return &InvalidError{[]FieldError{missing}}
}

// Update makes e of the product that seen names, if that is still its version.
// An edit that changes nothing makes no version and returns what is there.
// Errors: ErrNotFound, ErrConflict, ErrArchived, ErrInvalid, ErrDuplicateSKU,
// ErrUnavailable.
func (db *DB) Update(ctx context.Context, seen Rev, e Edit) (Product, error) {
	return db.change(ctx, seen, func(ctx context.Context, tx *sqlx.Tx, p Product) (sql.Result, error) {
		if p.Archived {
			return nil, fmt.Errorf("product %d: %w", p.ID, ErrArchived)
		}
		edited, err := e.apply(p)
		if err != nil || same(edited, p) {
			return nil, err
		}
		return tx.NamedExecContext(ctx, `
			UPDATE products
			SET `+bump+`, sku = :sku, title = :title, description = :description,
				vendor = :vendor, image_url = :image_url, price = :price,
				compare_at_price = :compare_at_price, currency = :currency,
				stock = :stock, published = :published
			WHERE id = :id AND version = :version`, edited)
	})
}

// Archive takes the product that seen names out of the shop, if that is still
// its version. It stays in the database: being archived is one more version.
// Errors: ErrNotFound, ErrConflict, ErrUnavailable.
func (db *DB) Archive(ctx context.Context, seen Rev) (Product, error) {
	return db.change(ctx, seen, func(ctx context.Context, tx *sqlx.Tx, p Product) (sql.Result, error) {
		if p.Archived {
			return nil, nil
		}
		return tx.NamedExecContext(ctx, `
			UPDATE products
			SET `+bump+`, archived_at = UTC_TIMESTAMP(6)
			WHERE id = :id AND version = :version`, p.Rev)
	})
}

// change runs update on the product that seen names, in one transaction, and
// returns the product as it is then. update's statement names the version that
// it was shown, so it meets no row when somebody else was faster; it returns
// no result when there was nothing to do.
func (db *DB) change(ctx context.Context, seen Rev, update func(context.Context, *sqlx.Tx, Product) (sql.Result, error)) (Product, error) {
	var after Product
	overtaken := false
	err := db.write(ctx, func(ctx context.Context, tx *sqlx.Tx) error {
		before, err := product(ctx, tx, seen.ID)
		if err != nil {
			return err
		}
		if before.Version != seen.Version {
			return &ConflictError{before.Rev}
		}
		result, err := update(ctx, tx, before)
		if err != nil {
			return err
		}
		if result != nil {
			rows, err := result.RowsAffected()
			if err != nil {
				return err
			}
			if overtaken = rows == 0; overtaken {
				return nil
			}
		}
		after, err = product(ctx, tx, seen.ID)
		return err
	})
	if overtaken && err == nil {
		// The transaction reads from before the other edit, so what is
		// current has to be asked for outside it.
		if after, err = db.Product(ctx, seen.ID); err == nil {
			err = &ConflictError{after.Rev}
		}
	}
	if err != nil {
		return Product{}, err
	}
	return after, nil
}
