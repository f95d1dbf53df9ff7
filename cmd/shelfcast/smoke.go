package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"shelfcast/cmd/shelfcast/smoke"
)

type smokeCommand struct {
	PublicURL  string        `name:"public-url" required:"" placeholder:"URL" help:"The public app; a name with several addresses is of several instances, and a page is opened on each."`
	AdminURL   string        `name:"admin-url" required:"" placeholder:"URL" help:"The admin app."`
	AdminToken string        `name:"admin-token" placeholder:"TOKEN" help:"A token that may write products."`
	CA         string        `name:"ca" type:"existingfile" placeholder:"FILE" help:"Certificates (PEM) of those whom the apps' certificates are to be from; by default the system's."`
	Limit      time.Duration `default:"10s" help:"Of each step: a connection, a call, the way of the edit."`
}

// Help is shown by --help.
func (smokeCommand) Help() string {
	return "It gives a published product a new version, with nothing of it changed; in a shop that has none it makes a product, and archives it again. " +
		"Exit codes: 0 every page was sent the edit; 2 a setting is wrong; 3 no session at the public app; 4 the admin API did not take the edit; " +
		"5 a page was not sent it in time; 6 an instance closed the session."
}

func (c *smokeCommand) Run(ctx context.Context, k *kong.Context) error {
	config := smoke.Config{Public: c.PublicURL, Admin: c.AdminURL, Token: c.AdminToken, Limit: c.Limit, Say: func(line string) { fmt.Fprintln(k.Stdout, line) }}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return err
		}
		config.Roots = x509.NewCertPool()
		if !config.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--ca: %s has no certificate in PEM", c.CA)
		}
	}
	if err := smoke.Run(ctx, config); err != nil {
		return err
	}
	fmt.Fprintln(k.Stdout, "every page has it")
	return nil
}
