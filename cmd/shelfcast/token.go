package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"shelfcast/server"
	"shelfcast/store"
)

type tokenCommand struct {
	Create createToken `cmd:"" help:"Create a token. It is printed once and only its hash is stored."`
	List   listTokens  `cmd:"" help:"List tokens, newest first."`
	Revoke revokeToken `cmd:"" help:"Revoke a token. Instances that have seen it recently accept it for up to 5 s more."`
}

type createToken struct {
	server.Database `embed:""`
	Name            string   `arg:"" optional:"" default:"token" help:"Name of the token, shown in the history of products."`
	Scope           []string `required:"" enum:"${scopes}" help:"Scopes of the token: ${enum}. products:write includes products:read."`
	Expires         lifetime `default:"90d" help:"Time until the token expires, for example 90d or 12h, or never."`
}

func (c *createToken) Run(ctx context.Context) error {
	return withTokens(ctx, c.Database, func(ctx context.Context, db *store.DB) error {
		t, secret, err := db.CreateToken(ctx, c.Name, c.Scope, time.Duration(c.Expires))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Token %d %q: scopes %s, %s. It is shown only once:\n", t.ID, t.Name,
			strings.Join(t.Scopes, " "), expiry(t.ExpiresAt))
		fmt.Println(secret)
		return nil
	})
}

type listTokens struct {
	server.Database `embed:""`
}

func (c *listTokens) Run(ctx context.Context) error {
	return withTokens(ctx, c.Database, func(ctx context.Context, db *store.DB) error {
		tokens, err := db.Tokens(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tSCOPES\tCREATED BY\tCREATED\tVALIDITY\tLAST USED")
		for _, t := range tokens {
			valid, used := expiry(t.ExpiresAt), "not yet"
			if t.RevokedAt != nil {
				valid = "revoked " + t.RevokedAt.Format(time.DateOnly)
			}
			if t.LastUsedAt != nil {
				used = t.LastUsedAt.Format(time.DateTime)
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, " "), t.CreatedBy,
				t.CreatedAt.Format(time.DateOnly), valid, used)
		}
		return table.Flush()
	})
}

type revokeToken struct {
	server.Database `embed:""`
	ID              int64 `arg:"" help:"Id of the token, from 'shelfcast token list'."`
}

func (c *revokeToken) Run(ctx context.Context) error {
	return withTokens(ctx, c.Database, func(ctx context.Context, db *store.DB) error {
		t, err := db.RevokeToken(ctx, c.ID)
		if err != nil {
			return err
		}
		fmt.Printf("Token %d, %q, is revoked.\n", t.ID, t.Name)
		return nil
	})
}

// withTokens opens the database, with the operator as the author of changes.
func withTokens(ctx context.Context, d server.Database, f func(context.Context, *store.DB) error) error {
	db, err := open(d)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.CheckSchema(ctx); err != nil {
		return err
	}
	author := store.Author{Key: "command-line", Name: "command line"}
	if u, err := user.Current(); err == nil {
		author.Key += ":" + u.Username
		author.Name += " (" + u.Username + ")"
	}
	return f(store.WithAuthor(ctx, author), db)
}

// A lifetime is a duration that may be given in days; 0: the token never expires.
type lifetime time.Duration

// UnmarshalText parses 90d, 12h or never.
func (l *lifetime) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "never" {
		*l = 0
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n <= 0 || n > 3650 {
			return errors.New("must be 1d to 3650d")
		}
		*l = lifetime(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("must be a duration such as 90d or 12h, or never")
	}
	*l = lifetime(d)
	return nil
}

// expiry says when a token expires.
func expiry(t *time.Time) string {
	if t == nil {
		return "never expires"
	}
	return "expires " + t.Format("2006-01-02 15:04 MST")
}
