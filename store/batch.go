package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// MaxBatch is how many edits a batch has at most.
const MaxBatch = 1000

// A BatchEdit is one edit of a batch: Created makes a product, Edited, Archived
// and Restored change the one that Seen names.
type BatchEdit struct {
	Action Action
	Seen   Rev
	Edit   Edit
}

// A BatchResult is what became of one edit of a batch: the product, or why not,
// as Create, Update, Archive or Restore have it. An edit that changed nothing has
// made no version.
type BatchResult struct {
	Product Product
	Changed bool
	Err     error
}

// A BatchError is an ErrBatch with what became of each edit. Those that would
// have been made have no Err.
type BatchError struct{ Results []BatchResult }

func (e *BatchError) Error() string { return ErrBatch.Error() }

// Is makes errors.Is(err, ErrBatch) true.
func (e *BatchError) Is(target error) bool { return target == ErrBatch }

// Batch makes up to MaxBatch edits in one transaction, with one result for each.
// If they are all or nothing and one of them fails, none is made (ErrBatch);
// else those that fail are left out. Errors: ErrTooMany, ErrBatch,
// ErrUnavailable.
func (db *DB) Batch(ctx context.Context, edits []BatchEdit, allOrNothing bool) ([]BatchResult, error) {
	if len(edits) > MaxBatch {
		return nil, fmt.Errorf("%d edits, of at most %d: %w", len(edits), MaxBatch, ErrTooMany)
	}
	var b batch
	err := db.write(ctx, "batch", func(ctx context.Context, tx *sqlx.Tx) error {
		b = batch{edits: edits, videos: db.cfg.Videos, results: make([]BatchResult, len(edits)), plans: make([]plan, len(edits))}
		if err := b.plan(ctx, tx); err != nil {
			return err
		}
		if allOrNothing && b.failed() {
			return &BatchError{b.results}
		}
		if err := b.make(ctx, tx); err != nil {
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

// A batch is one on its way.
type batch struct {
	edits   []BatchEdit
	videos  bool // see CleanHTML
	results []BatchResult
	plans   []plan
}

func (b *batch) failed() bool {
	return slices.ContainsFunc(b.results, func(r BatchResult) bool { return r.Err != nil })
}

// errTwice: the second edit cannot have seen what the first one makes.
var errTwice = errors.New("the product is in this batch already")

// plan reads all products in one query and holds each edit against its own.
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
		p, err := e.Edit.first(videos)
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

// make writes what is planned. Products are changed in the order of their ids,
// so that two batches do not wait for each other.
func (b *batch) make(ctx context.Context, tx *sqlx.Tx) error {
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
		} else if r.Product = p.before; p.nothing() {
			continue
		} else {
			r.Err = p.update(ctx, tx)
		}
		if own := classify(r.Err); own == nil || errors.Is(own, ErrConflict) || errors.Is(own, ErrDuplicateSKU) || errors.Is(own, ErrDuplicateExternalID) || errors.Is(own, ErrNotFound) {
			r.Err, r.Changed = own, own == nil // this edit's affair: the transaction goes on
			continue
		}
		return r.Err
	}
	return nil
}

// finish reads what the transaction has made and writes its history.
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
	var deeds []deed
	for i := range b.results {
		r, p := &b.results[i], b.plans[i]
		if !r.Changed {
			continue
		}
		r.Product = after[p.wanted.ID]
		d := p.deed(r.Product)
		if p.action == Created {
			d.changes = birth(r.Product)
		}
		deeds = append(deeds, d)
	}
	return record(ctx, tx, deeds...)
}

// products has those of the ids that exist.
func products(ctx context.Context, tx *sqlx.Tx, ids []int64) (map[int64]Product, error) {
	found := make(map[int64]Product, len(ids))
	for some := range slices.Chunk(ids, perStatement) {
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
