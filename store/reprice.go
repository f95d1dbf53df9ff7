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

// MaxReprice is how many products one Reprice may meet.
const MaxReprice = 10_000

// A Repricing says what to make of prices.
type Repricing struct {
	Percent   decimal.Decimal // to add: -10 takes a tenth off; above -100, up to 1000
	CompareAt CompareAt       // what to make of the price before the sale
}

// CompareAt is what a Repricing makes of compare_at_price.
type CompareAt string

// The zero value keeps it.
const (
	KeepCompareAt  CompareAt = "keep"
	SetCompareAt   CompareAt = "set"   // to the price as it was, if there is none yet
	ClearCompareAt CompareAt = "clear" // there is none
)

// A RepriceResult is what a Repricing would make, or has made.
type RepriceResult struct {
	Matched int   // products that the filter picks
	Changed []Rev // those whose price becomes another; as they are, if nothing was made yet
}

// price is what the percentage makes of a price: exact, and then rounded to the
// digits of its currency, half a unit away from zero.
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
		broken = append(broken, FieldError{"percent", "is not above -100 and up to 1000"})
	}
	if c.Percent.IsZero() && c.CompareAt != ClearCompareAt {
		broken = append(broken, FieldError{"percent", "is zero"})
	}
	if !slices.Contains([]CompareAt{"", KeepCompareAt, SetCompareAt, ClearCompareAt}, c.CompareAt) {
		broken = append(broken, FieldError{"compare_at_price", "is none of keep, set, clear"})
	}
	if len(broken) > 0 {
		return &InvalidError{broken}
	}
	return nil
}

// Reprice changes the prices of all products that f picks, in one transaction;
// with dry nothing is made. Archived products stay as they are. Errors:
// ErrInvalid, ErrTooMany, ErrUnavailable.
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
		result.Changed, err = c.make(ctx, tx, plans)
		return err
	})
	if err != nil {
		return RepriceResult{}, err
	}
	return result, nil
}

// plans has the products whose price becomes another, by ascending id.
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
		return nil, 0, fmt.Errorf("the filter picks more than %d products: %w", MaxReprice, ErrTooMany)
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
			return nil, 0, &InvalidError{[]FieldError{{"percent", fmt.Sprintf("makes the price of product %d too large", before.ID)}}}
		}
		if !p.nothing() {
			plans = append(plans, p)
		}
	}
	return plans, len(found), nil
}

// make writes the prices, hundreds a statement, and their history. If one of the
// products has been edited since it was read, all is tried again.
func (c Repricing) make(ctx context.Context, tx *sqlx.Tx, plans []plan) (made []Rev, err error) {
	for some := range slices.Chunk(plans, perStatement) {
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
				`+strings.Repeat(`UNION ALL SELECT ?, ?, CAST(? AS DECIMAL(15,4)), CAST(? AS DECIMAL(15,4)) `, len(some)-1)+`) AS wanted
			ON id = wanted_id AND version = seen
			SET `+bump+`, price = new_price, compare_at_price = new_compare_at`, args...)
		if err != nil {
			return nil, err
		}
		rows, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		if rows != int64(len(some)) {
			return nil, errOvertaken
		}
		revs, err := versions(ctx, tx, ids)
		if err != nil {
			return nil, err
		}
		deeds := make([]deed, len(some))
		for i, p := range some {
			p.wanted.Version = revs[p.wanted.ID]
			made = append(made, p.wanted.Rev)
			deeds[i] = p.deed(p.wanted)
		}
		if err := record(ctx, tx, deeds...); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// versions has those of the products as the transaction sees them.
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

// Refresh gives the products a new version without changing them, so that every
// page that shows one gets it anew: something that their rows do not say has
// changed, or another program has written them with plain SQL. Ids that are of
// no product are in missing.
func (db *DB) Refresh(ctx context.Context, ids []int64) (made []Rev, missing []int64, err error) {
	if len(ids) > MaxBatch {
		return nil, nil, fmt.Errorf("%d products, of at most %d: %w", len(ids), MaxBatch, ErrTooMany)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err = db.write(ctx, "refresh", func(ctx context.Context, tx *sqlx.Tx) error {
		made, missing = nil, nil
		if len(ids) == 0 {
			return nil
		}
		query, args, err := sqlx.In(`UPDATE products SET `+bump+` WHERE id IN (?)`, ids)
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
		var deeds []deed
		for _, id := range ids {
			version, ok := now[id]
			if !ok {
				missing = append(missing, id)
				continue
			}
			r := Rev{id, version}
			made = append(made, r)
			deeds = append(deeds, deed{rev: r, action: Refreshed})
		}
		return record(ctx, tx, deeds...)
	})
	return made, missing, err
}
