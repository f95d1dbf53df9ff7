package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store/shopify"
)

type importCommand struct {
	serve.Database `embed:""`
	File           string `arg:"" type:"existingfile" help:"A product CSV of Shopify."`
	Videos         bool   `help:"Descriptions may have videos, and frames of YouTube and Vimeo; as serve has it."`
	Currency       string `default:"USD" help:"Of the prices, where the file does not say."`
}

// Run imports the file. Products that have the SKU already are updated; a line
// that is no good is reported and left out.
func (c *importCommand) Run(ctx context.Context) error {
	db, err := c.Database.Open(c.Videos, nil)
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
	t, err := shopify.Import(ctx, db, io.TeeReader(file, bar), c.Currency, func(o shopify.Outcome) {
		if o.Result == shopify.Failed {
			_ = bar.Clear() // or the report stands behind the bar
			slog.Warn("left out", "line", o.Line, "why", o.Error)
		}
		if o.Removed != "" {
			_ = bar.Clear()
			slog.Warn("removed from the description", "line", o.Line, "sku", o.SKU, "removed", o.Removed)
		}
	})
	_ = bar.Finish()
	slog.Info("imported", "file", c.File, "created", t.Created, "changed", t.Changed, "unchanged", t.Unchanged, "bad", t.Failed, "cleaned", t.Cleaned)
	if err == nil && t.Failed > 0 {
		err = fmt.Errorf("%d lines were left out", t.Failed)
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
