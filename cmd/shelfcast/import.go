package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/server"
)

type importCommand struct {
	server.Database `embed:""`
	File            string `arg:"" type:"existingfile" help:"A Shopify product CSV."`
	Videos          bool   `name:"allow-videos" help:"Allow videos, and YouTube and Vimeo frames, in descriptions. Use the same setting as 'shelfcast serve'."`
	Currency        string `default:"USD" help:"Currency of prices for which the file names none."`
}

// Run imports the file. Products whose SKU exists are updated; invalid lines are logged,
// and the others imported.
func (c *importCommand) Run(ctx context.Context) error {
	db, err := c.Database.Open(c.Videos, nil, nil)
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
	t, err := catalog.Import(ctx, db, shopify.Read(io.TeeReader(file, bar), c.Currency), func(o catalog.Outcome) {
		if o.Result == catalog.Failed {
			_ = bar.Clear() // so that the log does not follow the bar on its line
			slog.Warn("importing a line failed", "line", o.Line, "error", o.Error)
		}
		if o.Removed != "" {
			_ = bar.Clear()
			slog.Warn("removed from the description", "line", o.Line, "sku", o.SKU, "removed", o.Removed)
		}
	})
	_ = bar.Finish()
	slog.Info("imported", "file", c.File, "created", t.Created, "changed", t.Changed, "unchanged", t.Unchanged,
		"failed", t.Failed, "sanitised", t.Cleaned)
	if err == nil && t.Failed > 0 {
		err = fmt.Errorf("%d lines failed", t.Failed)
	}
	return err
}

// progress returns a progress bar over the bytes of the file, which is silent without a
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
