package main

import (
	"context"
	"log/slog"

	"shelfcast/server"
	"shelfcast/store"
)

type migrateCommand struct {
	server.Database `embed:""`
	Triggers        bool `help:"Also install triggers, so that changes made by other programs with plain SQL reach the pages. Needs the TRIGGER privilege and, on a server with a binary log, log_bin_trust_function_creators."`
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

func open(d server.Database) (*store.DB, error) {
	return d.Open(false, nil, nil)
}
