package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// MaxBatch is the maximum number of edits in a batch.
const MaxBatch = 1000

// A BatchEdit is one edit of a batch. Created creates a product; Edited, Archived and
// Restored change the one that Seen names.
type BatchEdit struct {
	Action Action
	Seen   Rev
	Edit   Edit
}

// A BatchResult is the result of one edit of a batch: what Create, Update, Archive or
// Restore would return. An edit that changed nothing made no version.
type BatchResult struct {
	Product Product
	Changed bool
	Err     error
}

// A BatchError is an ErrBatch with the result of each edit. Edits that are valid have no
// Err.
type BatchError struct{ Results []BatchResult }

func (e *BatchError) Error() string { return ErrBatch.Error() }

// Is makes errors.Is(err, ErrBatch) true.
func (e *BatchError) Is(target error) bool { return target == ErrBatch }

// Batch makes up to MaxBatch edits in one transaction, and returns one result for each.
// With allOrNothing it makes none if one fails (ErrBatch); otherwise it leaves out those
// that fail. Errors: ErrTooMany, ErrBatch, ErrUnavailable.
func (db *DB) Batch(ctx context.Context, edits []BatchEdit, allOrNothing bool) ([]BatchResult, error) {
	if len(edits) > MaxBatch {
		return nil, fmt.Errorf("%d edits, but at most %d are allowed: %w", len(edits), MaxBatch, ErrTooMany)
	}
	var b batch
	err := db.write(ctx, "batch", func(ctx context.Context, tx *sqlx.Tx) error {
		b = batch{edits: edits, videos: db.cfg.Videos,
			results: make([]BatchResult, len(edits)), plans: make([]plan, len(edits))}
		if err := b.plan(ctx, tx); err != nil {
			return err
		}
		if allOrNothing && b.failed() {
			return &BatchError{b.results}
		}
		if err := b.write(ctx, tx); err != nil {
			return err
		}
		if allOrNothing && b.failed() {
			return &BatchError{b.results}
		}
		return b.finish(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	return b.results, nil
}

// A batch is the state of one call of Batch.
type batch struct {
	edits   []BatchEdit
	videos  bool // see CleanHTML
	results []BatchResult
	plans   []plan
}

func (b *batch) failed() bool {
	return slices.ContainsFunc(b.results, func(r BatchResult) bool { return r.Err != nil })
}

// errTwice: the second edit of a product cannot know the version that the first makes.
var errTwice = errors.New("the product is already in this batch")

// plan reads all products in few queries, and checks each edit against its product.
func (b *batch) plan(ctx context.Context, tx *sqlx.Tx) error {
	var ids []int64
	for _, e := range b.edits {
		if e.Action != Created {
			ids = append(ids, e.Seen.ID)
		}
	}
	found, err := products(ctx, tx, ids)
	if err != nil {
		return err
	}
	seen := map[int64]bool{}
	for i, e := range b.edits {
		b.plans[i], b.results[i].Err = planFor(e, found, seen[e.Seen.ID], b.videos)
		if e.Action != Created {
			seen[e.Seen.ID] = true
		}
	}
	return nil
}

func planFor(e BatchEdit, found map[int64]Product, twice, videos bool) (plan, error) {
	if e.Action == Created {
		p, err := e.Edit.newProduct(videos)
		return plan{wanted: p, action: Created}, err
	}
	before, ok := found[e.Seen.ID]
	switch {
	case !ok:
		return plan{}, fmt.Errorf("product %d: %w", e.Seen.ID, ErrNotFound)
	case twice:
		return plan{}, &InvalidError{[]FieldError{{"id", errTwice.Error()}}}
	}
	return planOf(before, e.Seen.Version, e.Action, e.Edit, videos)
}

// write writes the plans. It changes products in the order of their ids, so that two
// batches do not deadlock.
func (b *batch) write(ctx context.Context, tx *sqlx.Tx) error {
	order := make([]int, len(b.plans))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return int(b.plans[x].wanted.ID - b.plans[y].wanted.ID) })
	for _, i := range order {
		r, p := &b.results[i], &b.plans[i]
		if r.Err != nil {
			continue
		}
		if p.action == Created {
			p.wanted.ID, r.Err = insert(ctx, tx, p.wanted)
		} else if r.Product = p.before; p.isNoop() {
			continue
		} else {
			r.Err = p.update(ctx, tx)
		}
		if own := classify(r.Err); own == nil || errors.Is(own, ErrConflict) || errors.Is(own, ErrDuplicateSKU) ||
			errors.Is(own, ErrDuplicateExternalID) || errors.Is(own, ErrNotFound) {
			r.Err, r.Changed = own, own == nil // concerns only this edit: the transaction continues
			continue
		}
		return r.Err
	}
	return nil
}

// finish reads the changed products back and writes their history.
func (b *batch) finish(ctx context.Context, tx *sqlx.Tx) error {
	var ids []int64
	for i, r := range b.results {
		if r.Changed {
			ids = append(ids, b.plans[i].wanted.ID)
		}
	}
	after, err := products(ctx, tx, ids)
	if err != nil {
		return err
	}
	var rows []historyRow
	for i := range b.results {
		r, p := &b.results[i], b.plans[i]
		if !r.Changed {
			continue
		}
		r.Product = after[p.wanted.ID]
		d := p.historyRow(r.Product)
		if p.action == Created {
			d.changes = creationChanges(r.Product)
		}
		rows = append(rows, d)
	}
	return writeHistory(ctx, tx, rows...)
}

// products reads the products with these ids; those that do not exist are left out.
func products(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64]Product, error) {
	found := make(map[int64]Product, len(ids))
	for some := range slices.Chunk(ids, maxRowsPerStatement) {
		query, args, err := sqlx.In(`SELECT `+columns+` FROM products WHERE id IN (?)`, some)
		if err != nil {
			return nil, err
		}
		var rows []Product
		if err := tx.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, err
		}
		for _, p := range rows {
			p.normalise()
			found[p.ID] = p
		}
	}
	return found, nil
}
