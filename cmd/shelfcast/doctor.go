package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"shelfcast/cmd/shelfcast/doctor"
	"shelfcast/server"
)

type doctorCommand struct {
	server.Settings `embed:""`
	Instances       int  `default:"2" help:"Planned number of instances, to check the database's limits against."`
	JSON            bool `name:"json" help:"Print the findings as JSON."`
}

// Run prints the report. It returns an error if a finding is an error.
func (c *doctorCommand) Run(ctx context.Context, k *kong.Context) error {
	report := doctor.Examine(ctx, c.Settings, doctor.Options{Instances: c.Instances})
	if c.JSON {
		return errors.Join(printJSON(k.Stdout, report), errorsIn(report))
	}
	return errors.Join(report.Print(k.Stdout), errorsIn(report))
}

func errorsIn(r doctor.Report) error {
	if n := r.Count(doctor.Error); n > 0 {
		return fmt.Errorf("%d errors: an instance would not start or could not do its work", n)
	}
	return nil
}
