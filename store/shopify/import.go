package shopify

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"shelfcast/store"
)

// A Result is what became of a product.
type Result string

// The results that there are.
const (
	Created   Result = "created"
	Changed   Result = "changed"
	Unchanged Result = "unchanged"
	Failed    Result = "failed" // and left out; the Outcome's Error says why
)

// An Outcome is what became of one product or line of a file.
type Outcome struct {
	Line      int    `json:"line"`
	SKU       string `json:"sku,omitempty"` // "" if the line does not say
	Result    Result `json:"result"`
	store.Rev        // of the product as it is now; zero, and not in the JSON, if it failed
	Error     string `json:"error,omitempty"`   // in words for people, if it failed
	Removed   string `json:"removed,omitempty"` // from the description, which may not have it; in words for people
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

// A Tally is how many outcomes a file has had of each kind.
type Tally struct {
	Created   int `json:"created"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`  // products, and lines
	Cleaned   int `json:"cleaned"` // of the products put in, those whose description lost something
}

func (t *Tally) count(o Outcome) {
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

// Import puts in every product that can be, and calls each for every product and
// for every line that is no good, in the order of the file: a product's turn
// comes when the next one begins. A product that has the SKU already is edited;
// one that Status calls archived is put in and then archived.
//
// It ends early only if the database fails, or the file is something else or
// cannot be read on. What was put in until then stays, and is in the Tally.
func Import(ctx context.Context, db *store.DB, file io.Reader, currency string, each func(Outcome)) (Tally, error) {
	var t Tally
	for p, err := range Read(file, currency) {
		var o Outcome
		if err == nil {
			o, err = put(ctx, db, p)
		}
		if bad, ok := errors.AsType[*LineError](err); ok {
			o, err = Outcome{Line: bad.Line, SKU: bad.SKU, Result: Failed, Error: bad.Err.Error()}, nil
		}
		if err != nil {
			return t, err
		}
		t.count(o)
		each(o)
	}
	return t, nil
}

// put creates the product, or edits the one that has its SKU. Somebody else may
// be faster; then it is tried again on what he has left.
func put(ctx context.Context, db *store.DB, p Product) (Outcome, error) {
	o := Outcome{Line: p.Line, SKU: *p.Edit.SKU, Result: Unchanged}
	var err error
	for range 5 {
		err = o.try(ctx, db, p)
		switch {
		case err == nil:
			o.Removed = db.Removed(p.Edit)
			return o, nil
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrDuplicateSKU), errors.Is(err, store.ErrNotFound):
			continue
		case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrArchived), errors.Is(err, store.ErrDuplicateExternalID):
			return o, &LineError{Line: p.Line, SKU: o.SKU, Err: err}
		}
		return o, err
	}
	return o, &LineError{Line: p.Line, SKU: o.SKU, Err: err}
}

// try is one go at p. What it has done is noted in o even if it then fails, for
// the next go begins there.
func (o *Outcome) try(ctx context.Context, db *store.DB, p Product) error {
	had, err := db.BySKU(ctx, o.SKU)
	now, changes := had, true
	if err == nil && p.Archived && had.Archived { // it takes no edit, and needs none if it is so already
		changes, err = db.Changes(had, p.Edit)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		now, err = db.Create(ctx, p.Edit)
	case err == nil && changes:
		now, err = db.Update(ctx, had.Rev, p.Edit)
	}
	if err != nil {
		return err
	}
	o.note(had.Rev, now.Rev)
	if !p.Archived {
		return nil
	}
	archived, err := db.Archive(ctx, now.Rev)
	if err != nil {
		return err
	}
	o.note(now.Rev, archived.Rev)
	return nil
}

// note takes down that the product, of which there was a had or none, is now.
func (o *Outcome) note(had, now store.Rev) {
	o.Rev = now
	switch {
	case had.ID == 0:
		o.Result = Created
	case had != now && o.Result != Created:
		o.Result = Changed
	}
}
