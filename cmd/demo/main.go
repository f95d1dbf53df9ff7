// Demo runs a shop in one process, with nothing to install: two instances of Shelfcast
// on an embedded MySQL-compatible database and an embedded Redis. It stores nothing.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"shelfcast/realtime/bus"
	"shelfcast/server"
	"shelfcast/store"
)

type settings struct {
	Listen     []string `default:"127.0.0.1:8080,127.0.0.1:8082" help:"Public address of each instance."`
	Admin      []string `default:"127.0.0.1:8081,127.0.0.1:8083" help:"Admin address of each instance."`
	AdminToken string   `env:"SHELFCAST_ADMIN_TOKEN" placeholder:"TOKEN" help:"Of the admin API; a new one if it is not given."`
	Verbose    bool     `help:"Say what the instances do."`
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("demo"),
		kong.Description("A shop on two instances of Shelfcast, with nothing to install. It keeps nothing."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process
	if err := run(ctx, s, func(d demo) { d.print(os.Stdout) }); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and calls ready once both instances answer.
func run(ctx context.Context, s settings, ready func(demo)) error {
	if len(s.Listen) != 2 || len(s.Admin) != 2 {
		return fmt.Errorf("it is two instances: two addresses each for --listen and --admin")
	}
	if s.AdminToken == "" {
		s.AdminToken = rand.Text()
	}
	log := slog.New(slog.DiscardHandler)
	if s.Verbose {
		log = slog.Default()
	}
	database, err := startDatabase()
	if err != nil {
		return err
	}
	defer database.close()
	cache, err := startCache()
	if err != nil {
		return err
	}
	defer cache.close()
	// Both share a pool of one connection: with more, this database loses edits.
	db, err := store.Open(database.dsn(), store.Config{MaxOpen: 1, LockWait: -1, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Migrate(ctx); err != nil {
		return err
	}
	if err := fill(ctx, db); err != nil {
		return err
	}
	d := demo{token: s.AdminToken}
	messages := &bus.Memory{}
	var instances []*server.Instance
	for n := range s.Listen {
		i, err := server.New(ctx, server.Settings{
			Listen: s.Listen[n], AdminListen: s.Admin[n], RootToken: s.AdminToken, Redis: cache.url(),
			PublicURL: "http://" + s.Listen[0], // or there is no sitemap
			ShopName:  "Haus & Hain", Locale: "en", Drain: 2 * time.Second,
		}, server.Options{DB: db, Bus: messages, Assets: []fs.FS{pictures()}, Version: "demo", Log: log})
		if err != nil {
			return err
		}
		instances = append(instances, i)
		d.shops = append(d.shops, "http://"+i.PublicAddr()+"/shop")
		d.admins = append(d.admins, "http://"+i.AdminAddr()+"/admin")
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, i := range instances {
		g.Go(func() error { return i.Run(ctx) })
	}
	ready(d)
	return g.Wait()
}
