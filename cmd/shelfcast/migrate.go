package main

import (
	"context"
	"log/slog"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
)

type migrateCommand struct {
	serve.Database `embed:""`
	Triggers       bool `help:"Also install triggers, so that what other programs write with plain SQL reaches the pages too. Needs the TRIGGER right and, on a server with a binary log, log_bin_trust_function_creators."`
}

func (c *migrateCommand) Run(ctx context.Context) error {
	db, err := open(c.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	ran, err := db.Migrate(ctx)
	if err != nil {
		return err
	}
	slog.Info("the schema is up to date", "migrations", ran)
	if c.Triggers {
		if err := db.InstallTriggers(ctx); err != nil {
			return err
		}
		slog.Info("the triggers are installed")
	}
	return nil
}

func open(d serve.Database) (*store.DB, error) {
	return d.Open(false, nil)
}
