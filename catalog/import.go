package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"shelfcast/store"
)

// A Result is what Import did with a product.
type Result string

// The results.
const (
	Created   Result = "created"
	Changed   Result = "changed"
	Unchanged Result = "unchanged"
	Failed    Result = "failed" // left out; see Outcome.Error
)

// An Outcome is the result of one product or line of a file.
type Outcome struct {
	Line      int    `json:"line"`
	SKU       string `json:"sku,omitempty"` // "" if the line has none
	Result    Result `json:"result"`
	store.Rev        // the product's current version; zero, and not in the JSON, if it failed
	Error     string `json:"error,omitempty"`   // for people, if it failed
	Removed   string `json:"removed,omitempty"` // HTML that was removed from the description; for people
}

// MarshalJSON leaves out a Rev that is zero.
func (o Outcome) MarshalJSON() ([]byte, error) {
	type fields Outcome // without this method
	return json.Marshal(struct {
		fields
		ID      int64 `json:"id,omitempty"`
		Version int64 `json:"version,omitempty"`
	}{fields(o), o.ID, o.Version})
}

// A Tally counts the outcomes of a file.
type Tally struct {
	Created   int `json:"created"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`  // products, and lines
	Cleaned   int `json:"cleaned"` // imported products whose description lost HTML
}

func (t *Tally) add(o Outcome) {
	if o.Removed != "" {
		t.Cleaned++
	}
	switch o.Result {
	case Created:
		t.Created++
	case Changed:
		t.Changed++
	case Unchanged:
		t.Unchanged++
	case Failed:
		t.Failed++
	}
}

// Import imports items, each in a transaction of its own, and calls report for each
// product and for each line that was left out, in the order of the file. A product
// whose SKU exists is edited; one that the file calls archived is imported and then
// archived.
//
// A *LineError in items is reported and skipped. Any other error ends the import, as
// does a database that fails: the Tally has what was imported until then, which
// stays.
func Import(ctx context.Context, db *store.DB, items iter.Seq2[Item, error], report func(Outcome)) (Tally, error) {
	var t Tally
	for item, err := range items {
		var o Outcome
		if err == nil {
			o, err = importItem(ctx, db, item)
		}
		if bad, ok := errors.AsType[*LineError](err); ok {
			o, err = Outcome{Line: bad.Line, SKU: bad.SKU, Result: Failed, Error: bad.Err.Error()}, nil
		}
		if err != nil {
			return t, err
		}
		t.add(o)
		report(o)
	}
	return t, nil
}

// importItem creates the product, or edits the one that has its SKU. After a
// concurrent edit it is tried again on the new version.
func importItem(ctx context.Context, db *store.DB, item Item) (Outcome, error) {
	o := Outcome{Line: item.Line, SKU: *item.Edit.SKU, Result: Unchanged}
	var err error
	for range 5 {
		err = o.attempt(ctx, db, item)
		switch {
		case err == nil:
			o.Removed = db.RemovedHTML(item.Edit)
			return o, nil
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrDuplicateSKU), errors.Is(err, store.ErrNotFound):
			continue
		case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrArchived),
			errors.Is(err, store.ErrDuplicateExternalID):
			return o, &LineError{Line: item.Line, SKU: o.SKU, Err: err}
		}
		return o, err
	}
	return o, &LineError{Line: item.Line, SKU: o.SKU, Err: err}
}

// attempt tries once to import item. It records in o what it has done even if it then
// fails, because the next attempt starts from there.
func (o *Outcome) attempt(ctx context.Context, db *store.DB, item Item) error {
	before, err := db.ProductBySKU(ctx, o.SKU)
	after, changes := before, true
	if err == nil && item.Archived && before.Archived { // an archived product takes no edit: make none unless it is needed
		changes, err = db.WouldChange(before, item.Edit)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		after, err = db.Create(ctx, item.Edit)
	case err == nil && changes:
		after, err = db.Update(ctx, before.Rev, item.Edit)
	}
	if err != nil {
		return err
	}
	o.record(before.Rev, after.Rev)
	if !item.Archived {
		return nil
	}
	archived, err := db.Archive(ctx, after.Rev)
	if err != nil {
		return err
	}
	o.record(after.Rev, archived.Rev)
	return nil
}

// record notes that the product went from one Rev to another; before is zero if it
// did not exist.
func (o *Outcome) record(before, after store.Rev) {
	o.Rev = after
	switch {
	case before.ID == 0:
		o.Result = Created
	case before != after && o.Result != Created:
		o.Result = Changed
	}
}
