package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"shelfcast/cmd/shelfcast/doctor"
	"shelfcast/cmd/shelfcast/serve"
)

type doctorCommand struct {
	serve.Settings `embed:""`
	Instances      int  `default:"2" help:"How many instances are to run, for what the database has to bear."`
	JSON           bool `name:"json" help:"Print JSON."`
}

// Run looks at everything, and is an error if something is wrong that keeps an
// instance from doing what it is for.
func (c *doctorCommand) Run(ctx context.Context, k *kong.Context) error {
	report := doctor.Examine(ctx, c.Settings, doctor.Options{Instances: c.Instances})
	if c.JSON {
		return errors.Join(printJSON(k.Stdout, report), sick(report))
	}
	return errors.Join(report.Print(k.Stdout), sick(report))
}

func sick(r doctor.Report) error {
	if n := r.Count(doctor.Error); n > 0 {
		return fmt.Errorf("%d of the findings keep an instance from doing what it is for", n)
	}
	return nil
}
