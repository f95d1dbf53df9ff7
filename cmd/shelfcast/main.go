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
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"shelfcast/cmd/shelfcast/serve"
)

// version and revision are set by the linker for a release.
var version, revision string

type program struct {
	LogLevel  slog.Level `default:"info" help:"debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"text or json."`

	Serve       serveCommand       `cmd:"" help:"Serve the public and the admin app."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database's schema up to date. Any number of instances may do so at once."`
	Import      importCommand      `cmd:"" help:"Import a product CSV of Shopify."`
	Token       tokenCommand       `cmd:"" help:"Make, list and revoke bearer tokens of the admin API."`
	Healthcheck healthcheckCommand `cmd:"" help:"Exit with 0 if an instance is ready, as a container's probe."`
	Smoke       smokeCommand       `cmd:"" help:"Try a fleet from outside: an edit has to come to a page on every instance."`
	Doctor      doctorCommand      `cmd:"" help:"Look at the settings and at MySQL, Redis and this machine, and say what is wrong and how to mend it. Changes nothing."`
	Config      configCommand      `cmd:"" help:"Print the settings in force, and where each is from. Secrets are hidden."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// usage is how the program is called.
var usage = []kong.Option{
	kong.Name("shelfcast"),
	kong.Description("Keeps every open page of an online shop up to date. Each flag is also an environment variable: --admin-token is SHELFCAST_ADMIN_TOKEN."),
	kong.DefaultEnvars("SHELFCAST"),
	kong.UsageOnError(),
	kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
}

func main() {
	var p program
	k := kong.Parse(&p, usage...)
	slog.SetDefault(p.logger())
	redis.SetLogger(quiet{})
	// The first signal asks for a clean end; after that the next one ends.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		slog.Error(k.Command(), "error", err)
		os.Exit(exitCode(err))
	}
}

// exitCode is 1 for an error that has none of its own.
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

// quiet has what go-redis says among the details: what matters comes back as
// an error, and is counted.
type quiet struct{}

func (quiet) Printf(_ context.Context, format string, v ...any) {
	slog.Debug("go-redis", "says", fmt.Sprintf(format, v...))
}

type serveCommand struct {
	serve.Settings `embed:""`
}

func (c *serveCommand) Run(ctx context.Context) error {
	reload := make(chan os.Signal, 1) // of several that come at once one is enough
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	i, err := serve.New(ctx, c.Settings, serve.Options{Version: programVersion(), Reload: reload})
	if err != nil {
		return err
	}
	return i.Run(ctx)
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Printf("shelfcast %s (%s, %s %s/%s)\n", programVersion(), cmp.Or(programRevision(), "unknown revision"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
