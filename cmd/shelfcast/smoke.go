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
	PublicURL  string        `name:"public-url" required:"" placeholder:"URL" help:"URL of the public app. If its name has several addresses, a page is opened on each, as if each were an instance."`
	AdminURL   string        `name:"admin-url" required:"" placeholder:"URL" help:"URL of the admin app."`
	AdminToken string        `name:"admin-token" placeholder:"TOKEN" help:"A token with the scope products:write."`
	CA         string        `name:"ca" type:"existingfile" placeholder:"FILE" help:"CA certificates (PEM) for TLS to the apps. By default the system's."`
	Timeout    time.Duration `default:"10s" help:"Timeout of each step: connecting, calling the API, receiving the edit."`
}

// Help is shown by --help.
func (smokeCommand) Help() string {
	return "It gives a published product a new version without changing it. In a shop without published products it " +
		"creates one, and archives it afterwards. " +
		"Exit codes: 0 every page received the edit; 2 a setting is wrong; 3 no session could be opened at the " +
		"public app; 4 the admin API refused the edit; " +
		"5 a page did not receive the edit in time; 6 an instance closed the session."
}

func (c *smokeCommand) Run(ctx context.Context, k *kong.Context) error {
	config := smoke.Config{Public: c.PublicURL, Admin: c.AdminURL, Token: c.AdminToken, Limit: c.Timeout,
		Progress: func(line string) { fmt.Fprintln(k.Stdout, line) }}
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
	fmt.Fprintln(k.Stdout, "OK: the edit reached every page")
	return nil
}
