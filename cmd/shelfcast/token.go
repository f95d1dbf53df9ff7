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

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
)

type tokenCommand struct {
	Create createToken `cmd:"" help:"Make a token. It is printed, and kept nowhere."`
	List   listTokens  `cmd:"" help:"List tokens, newest first."`
	Revoke revokeToken `cmd:"" help:"End a token. Instances that have just seen it take it for 5 s more."`
}

type createToken struct {
	serve.Database `embed:""`
	Name           string   `arg:"" optional:"" default:"token" help:"As histories show it."`
	Scope          []string `required:"" enum:"products:read,products:write,tokens:admin" help:"What it may do: products:read, products:write (and read), tokens:admin."`
	Expires        lifetime `default:"90d" help:"After which it is good no more, as 90d or 12h; never."`
}

func (c *createToken) Run(ctx context.Context) error {
	return withTokens(ctx, c.Database, func(ctx context.Context, db *store.DB) error {
		t, secret, err := db.CreateToken(ctx, c.Name, c.Scope, time.Duration(c.Expires))
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Token %d, %q, may %s and is good %s. This is shown once:\n", t.ID, t.Name, strings.Join(t.Scopes, " "), until(t.ExpiresAt))
		fmt.Println(secret)
		return nil
	})
}

type listTokens struct {
	serve.Database `embed:""`
}

func (c *listTokens) Run(ctx context.Context) error {
	return withTokens(ctx, c.Database, func(ctx context.Context, db *store.DB) error {
		tokens, err := db.Tokens(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tSCOPES\tMADE BY\tMADE\tGOOD\tLAST USED")
		for _, t := range tokens {
			good, used := until(t.ExpiresAt), "not yet"
			if t.RevokedAt != nil {
				good = "revoked " + t.RevokedAt.Format(time.DateOnly)
			}
			if t.LastUsedAt != nil {
				used = t.LastUsedAt.Format(time.DateTime)
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Scopes, " "), t.CreatedBy, t.CreatedAt.Format(time.DateOnly), good, used)
		}
		return table.Flush()
	})
}

type revokeToken struct {
	serve.Database `embed:""`
	ID             int64 `arg:"" help:"Of the token, as the list has it."`
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

// withTokens opens the database for the operator, whose name is noted.
func withTokens(ctx context.Context, d serve.Database, f func(context.Context, *store.DB) error) error {
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
	return f(store.By(ctx, author), db)
}

// A lifetime is a duration in days too; 0 has no end.
type lifetime time.Duration

// UnmarshalText takes 90d, 12h or never.
func (l *lifetime) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "never" {
		*l = 0
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n <= 0 || n > 3650 {
			return errors.New("not a number of days from 1d to 3650d")
		}
		*l = lifetime(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("neither a duration such as 90d or 12h, nor never")
	}
	*l = lifetime(d)
	return nil
}

func until(t *time.Time) string {
	if t == nil {
		return "for ever"
	}
	return "until " + t.Format("2006-01-02 15:04 MST")
}
