package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bojanz/currency"
	"github.com/jmoiron/sqlx"
	"github.com/shopspring/decimal"
)

// MaxReprice is the maximum number of products that the filter of Reprice may match.
const MaxReprice = 10_000

// A Repricing describes a change of prices.
type Repricing struct {
	Percent   decimal.Decimal // added to the price: -10 reduces it by a tenth; above -100, up to 1000
	CompareAt CompareAt       // what happens to the price before the sale
}

// CompareAt is what a Repricing does to compare_at_price.
type CompareAt string

// The zero value keeps it.
const (
	KeepCompareAt  CompareAt = "keep"
	SetCompareAt   CompareAt = "set"   // to the old price, if it has no value
	ClearCompareAt CompareAt = "clear" // removes the value
)

// A RepriceResult is what a Repricing changed, or would change.
type RepriceResult struct {
	Matched int   // products that the filter matches
	Changed []Rev // products whose prices change, at their new version; at the current one in a dry run
}

// price returns p changed by the percentage: exact, then rounded half away from zero to the
// digits of its currency.
func (c Repricing) price(p Price, code string) Price {
	digits, ok := currency.GetDigits(code)
	if !ok {
		digits = 2
	}
	factor := decimal.NewFromInt(100).Add(c.Percent).Shift(-2)
	return Price{p.Mul(factor).Round(int32(digits))}
}

func (c Repricing) check() error {
	var broken []FieldError
	if c.Percent.LessThanOrEqual(decimal.NewFromInt(-100)) || c.Percent.GreaterThan(decimal.NewFromInt(1000)) {
		broken = append(broken, FieldError{"percent", "must be above -100 and at most 1000"})
	}
	if c.Percent.IsZero() && c.CompareAt != ClearCompareAt {
		broken = append(broken, FieldError{"percent", "is zero"})
	}
	if !slices.Contains([]CompareAt{"", KeepCompareAt, SetCompareAt, ClearCompareAt}, c.CompareAt) {
		broken = append(broken, FieldError{"compare_at_price", "must be keep, set or clear"})
	}
	if len(broken) > 0 {
		return &InvalidError{broken}
	}
	return nil
}

// Reprice changes the prices of all products that f matches, in one transaction. With dry
// it changes nothing. Archived products are left out. Errors: ErrInvalid, ErrTooMany,
// ErrUnavailable.
func (db *DB) Reprice(ctx context.Context, f Filter, c Repricing, dry bool) (RepriceResult, error) {
	if err := c.check(); err != nil {
		return RepriceResult{}, err
	}
	f.Archived = WithoutArchived
	var result RepriceResult
	err := db.write(ctx, "reprice", func(ctx context.Context, tx *sqlx.Tx) error {
		plans, matched, err := c.plans(ctx, tx, f)
		if err != nil {
			return err
		}
		result = RepriceResult{Matched: matched}
		for _, p := range plans {
			result.Changed = append(result.Changed, p.before.Rev)
		}
		if dry {
			return nil
		}
		result.Changed, err = c.write(ctx, tx, plans)
		return err
	})
	if err != nil {
		return RepriceResult{}, err
	}
	return result, nil
}

// plans returns the changes of the products whose prices change, by ascending id.
func (c Repricing) plans(ctx context.Context, tx *sqlx.Tx, f Filter) (plans []plan, matched int, err error) {
	where, args := f.where()
	var found []Product
	err = tx.SelectContext(ctx, &found, `
		SELECT id, version, price, compare_at_price, currency
		FROM products
		WHERE `+where+`
		ORDER BY id
		LIMIT ?`, append(args, MaxReprice+1)...)
	if err != nil {
		return nil, 0, err
	}
	if len(found) > MaxReprice {
		return nil, 0, fmt.Errorf("the filter matches more than %d products: %w", MaxReprice, ErrTooMany)
	}
	for _, before := range found {
		before.normalise()
		p := plan{before: before, wanted: before, action: Repriced}
		p.wanted.Price = c.price(before.Price, before.Currency)
		switch {
		case c.CompareAt == ClearCompareAt:
			p.wanted.CompareAtPrice = nil
		case c.CompareAt == SetCompareAt && before.CompareAtPrice == nil:
			p.wanted.CompareAtPrice = &before.Price
		}
		p.wanted.normalise()
		if p.wanted.Price.GreaterThanOrEqual(maxPrice) {
			why := fmt.Sprintf("makes the price of product %d too large", before.ID)
			return nil, 0, &InvalidError{[]FieldError{{"percent", why}}}
		}
		if !p.isNoop() {
			plans = append(plans, p)
		}
	}
	return plans, len(found), nil
}

// write writes the prices, hundreds a statement, and their history. If one of the products
// was edited since it was read it returns errRowChanged, and the transaction is retried.
func (c Repricing) write(ctx context.Context, tx *sqlx.Tx, plans []plan) (made []Rev, err error) {
	for some := range slices.Chunk(plans, maxRowsPerStatement) {
		var args []any
		ids := make([]int64, 0, len(some))
		for _, p := range some {
			args = append(args, p.wanted.ID, p.wanted.Version, p.wanted.Price, p.wanted.CompareAtPrice)
			ids = append(ids, p.wanted.ID)
		}
		result, err := tx.ExecContext(ctx, `
			UPDATE products
			JOIN (
				SELECT ? AS wanted_id, ? AS seen, CAST(? AS DECIMAL(15,4)) AS new_price, CAST(? AS DECIMAL(15,4)) AS new_compare_at
				`+strings.Repeat(`UNION ALL SELECT ?, ?, CAST(? AS DECIMAL(15,4)), CAST(? AS DECIMAL(15,4)) `,
			len(some)-1)+`) AS wanted
			ON id = wanted_id AND version = seen
			SET `+nextVersion+`, price = new_price, compare_at_price = new_compare_at`, args...)
		if err != nil {
			return nil, err
		}
		updated, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		if updated != int64(len(some)) {
			return nil, errRowChanged
		}
		revs, err := versions(ctx, tx, ids)
		if err != nil {
			return nil, err
		}
		rows := make([]historyRow, len(some))
		for i, p := range some {
			p.wanted.Version = revs[p.wanted.ID]
			made = append(made, p.wanted.Rev)
			rows[i] = p.historyRow(p.wanted)
		}
		if err := writeHistory(ctx, tx, rows...); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// versions returns the version of each product by id, as the transaction sees it.
func versions(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64]int64, error) {
	query, args, err := sqlx.In(`SELECT id, version FROM products WHERE id IN (?)`, ids)
	if err != nil {
		return nil, err
	}
	var found []Rev
	if err := tx.SelectContext(ctx, &found, query, args...); err != nil {
		return nil, err
	}
	byID := make(map[int64]int64, len(found))
	for _, r := range found {
		byID[r.ID] = r.Version
	}
	return byID, nil
}

// Refresh gives the products a new version without changing them, so that every page that
// shows one loads it again. It is for changes that are not in the row, and for programs
// that write rows with plain SQL. missing are the ids that do not exist.
func (db *DB) Refresh(ctx context.Context, ids []int64) (made []Rev, missing []int64, err error) {
	if len(ids) > MaxBatch {
		return nil, nil, fmt.Errorf("%d products, but at most %d are allowed: %w", len(ids), MaxBatch, ErrTooMany)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err = db.write(ctx, "refresh", func(ctx context.Context, tx *sqlx.Tx) error {
		made, missing = nil, nil
		if len(ids) == 0 {
			return nil
		}
		query, args, err := sqlx.In(`UPDATE products SET `+nextVersion+` WHERE id IN (?)`, ids)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		now, err := versions(ctx, tx, ids)
		if err != nil {
			return err
		}
		var rows []historyRow
		for _, id := range ids {
			version, ok := now[id]
			if !ok {
				missing = append(missing, id)
				continue
			}
			r := Rev{id, version}
			made = append(made, r)
			rows = append(rows, historyRow{rev: r, action: Refreshed})
		}
		return writeHistory(ctx, tx, rows...)
	})
	return made, missing, err
}
