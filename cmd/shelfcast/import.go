package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
	"shelfcast/store/shopify"
)

type importCommand struct {
	serve.Database `embed:""`
	File           string `arg:"" type:"existingfile" help:"A product CSV of Shopify."`
	Currency       string `default:"USD" help:"Of the prices: the file does not say."`
}

// A tally is what has become of a file's products.
type tally struct{ created, changed, unchanged, bad int }

// Run imports the file. Products that have the SKU already are updated; a line
// that is no good is reported and left out.
func (c *importCommand) Run(ctx context.Context) error {
	db, err := open(c.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	bar, err := progress(file)
	if err != nil {
		return err
	}
	t, err := importAll(ctx, db, io.TeeReader(file, bar), c.Currency, func(line *shopify.LineError) {
		_ = bar.Clear() // or the report stands behind the bar
		slog.Warn("left out", "line", line.Line, "why", line.Err)
	})
	_ = bar.Finish()
	slog.Info("imported", "file", c.File, "created", t.created, "changed", t.changed, "unchanged", t.unchanged, "bad", t.bad)
	if err == nil && t.bad > 0 {
		err = fmt.Errorf("%d lines were left out", t.bad)
	}
	return err
}

// progress is a bar over the bytes of the file, and nothing where there is no
// terminal.
func progress(file *os.File) (*progressbar.ProgressBar, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultBytesSilent(info.Size()), nil
	}
	return progressbar.DefaultBytes(info.Size(), "importing"), nil
}

// importAll puts in every product that can be. It ends early only if the
// database fails, or the file is something else.
func importAll(ctx context.Context, db *store.DB, file io.Reader, currency string, report func(*shopify.LineError)) (tally, error) {
	var t tally
	for p, err := range shopify.Read(file, currency) {
		if err == nil {
			err = put(ctx, db, p, &t)
		}
		line, ok := errors.AsType[*shopify.LineError](err)
		if err != nil && !ok {
			return t, err
		}
		if ok {
			t.bad++
			report(line)
		}
	}
	return t, nil
}

// put creates the product, or edits the one that has its SKU. Somebody else may
// be faster; then it is tried again on what he has left.
func put(ctx context.Context, db *store.DB, p shopify.Product, t *tally) error {
	var err error
	for range 5 {
		var had, now store.Product
		had, err = db.BySKU(ctx, *p.Edit.SKU)
		switch {
		case errors.Is(err, store.ErrNotFound):
			now, err = db.Create(ctx, p.Edit)
		case err == nil:
			now, err = db.Update(ctx, had.Rev, p.Edit)
		}
		switch {
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrDuplicateSKU):
			continue
		case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrArchived):
			return &shopify.LineError{Line: p.Line, Err: err}
		case err != nil:
			return err
		case had.ID == 0:
			t.created++
		case had.Rev == now.Rev:
			t.unchanged++
		default:
			t.changed++
		}
		return nil
	}
	return &shopify.LineError{Line: p.Line, Err: err}
}
