// Shelfcast keeps every open page of an online shop up to date: an edit that
// commits in MySQL is on the pages within milliseconds. See the README.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"shelfcast/server"
	"shelfcast/store"
)

// version and revision are set by the linker for a release.
var version, revision string

type program struct {
	LogLevel  slog.Level `default:"info" help:"Lowest level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log: text or json."`

	Serve       serveCommand       `cmd:"" help:"Run an instance: the public and the admin app."`
	Migrate     migrateCommand     `cmd:"" help:"Migrate the database schema. Safe to run from several machines at once."`
	Import      importCommand      `cmd:"" help:"Import a Shopify product CSV."`
	Token       tokenCommand       `cmd:"" help:"Create, list and revoke bearer tokens of the admin API."`
	Healthcheck healthcheckCommand `cmd:"" help:"Check that an instance is ready; exits with 0 if it is. For container probes."`
	Smoke       smokeCommand       `cmd:"" help:"Test a fleet from outside: makes an edit and checks that it reaches a page on every instance."`
	Doctor      doctorCommand      `cmd:"" help:"Check the settings, MySQL, Redis and this machine, and explain what is wrong and how to fix it. Changes nothing."`
	Config      configCommand      `cmd:"" help:"Print the effective settings and where each comes from. Secrets are hidden."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// usage configures the command line.
var usage = []kong.Option{
	kong.Name("shelfcast"),
	kong.Description("Keeps every open page of an online shop up to date. Each flag can also be set as an environment " +
		"variable: --admin-token as SHELFCAST_ADMIN_TOKEN."),
	kong.DefaultEnvars("SHELFCAST"),
	kong.Vars{"scopes": strings.Join(store.Scopes, ",")},
	kong.UsageOnError(),
	kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
}

func main() {
	var p program
	k := kong.Parse(&p, usage...)
	slog.SetDefault(p.logger())
	redis.SetLogger(quiet{})
	// The first signal shuts down; the second one kills the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		slog.Error(k.Command(), "error", err)
		os.Exit(exitCode(err))
	}
}

// exitCode returns the exit code of an error; 1 if it has none.
func exitCode(err error) int {
	var coded kong.ExitCoder
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

func (p *program) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: p.LogLevel}
	if p.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// quiet logs the messages of go-redis at debug level: failures are also returned as
// errors, and counted.
type quiet struct{}

func (quiet) Printf(_ context.Context, format string, v ...any) {
	slog.Debug("go-redis", "message", fmt.Sprintf(format, v...))
}

type serveCommand struct {
	server.Settings `embed:""`
}

func (c *serveCommand) Run(ctx context.Context) error {
	reload := make(chan os.Signal, 1) // of several signals at once, one is enough
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	i, err := server.New(ctx, c.Settings, server.Options{Version: programVersion(), Reload: reload})
	if err != nil {
		return err
	}
	return i.Run(ctx)
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Printf("shelfcast %s (%s, %s %s/%s)\n", programVersion(), cmp.Or(programRevision(), "unknown revision"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// programRevision is the commit that the program was built from.
func programRevision() string {
	if info, ok := debug.ReadBuildInfo(); ok && revision == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return revision
}
