package smoke_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/cmd/shelfcast/smoke"
	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const token = fleettest.Token

// A fleet is instances on the same two ports of several addresses, like pods.
type fleet struct {
	db            *store.DB
	dsn, redis    string
	public, admin int // ports
	hosts         []string
}

// names is a Resolver for tests.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range n[host] {
		all = append(all, netip.MustParseAddr(text))
	}
	if all == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return all, nil
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{dsn: testkit.DSN(t), redis: testkit.Redis(t), public: testkit.FreePort(t), admin: testkit.FreePort(t)}
	f.db = fleettest.DB(t, f.dsn)
	return f
}

// start starts an instance on that address. stop stops it and waits for its end.
func (f *fleet) start(t *testing.T, host string, change func(*server.Settings)) (stop func()) {
	t.Helper()
	s := server.Settings{
		Database: server.Database{MySQL: f.dsn}, Redis: f.redis, RootToken: token, Drain: 100 * time.Millisecond,
		Listen: net.JoinHostPort(host, strconv.Itoa(f.public)), AdminListen: net.JoinHostPort(host, strconv.Itoa(f.admin)),
		AdminHosts: []string{"admin.test", "shop.test"},
	}
	if change != nil {
		change(&s)
	}
	_, stop = fleettest.Run(t, s, server.Options{Log: slog.New(slog.DiscardHandler)})
	f.hosts = append(f.hosts, host)
	return stop
}

// config returns the Config to test the fleet with; said collects its progress.
func (f *fleet) config() (c smoke.Config, said *strings.Builder) {
	said = &strings.Builder{}
	var mu sync.Mutex
	return smoke.Config{
		Public: fmt.Sprint("http://shop.test:", f.public), Admin: fmt.Sprint("http://admin.test:", f.admin), Token: token,
		Limit:    5 * time.Second,
		Resolver: names{"shop.test": f.hosts, "admin.test": f.hosts},
		Progress: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			said.WriteString(line + "\n")
		},
	}, said
}

func (f *fleet) product(t *testing.T, sku string) store.Product {
	t.Helper()
	title, price, currency, published := "The "+sku, store.Price{}, "EUR", true
	if err := price.UnmarshalJSON([]byte(`"5"`)); err != nil {
		t.Fatal(err)
	}
	p, err := f.db.Create(t.Context(),
		store.Edit{SKU: &sku, Title: &title, Price: &price, Currency: &currency, Published: &published})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fleet) all(t *testing.T) []store.Product {
	t.Helper()
	all, _, err := f.db.List(t.Context(), store.Filter{Archived: store.WithArchived}, store.Page{Sort: "id", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An edit through one of two instances reaches a page on each. In an empty shop
// the product that is created is archived again.
func TestSmokeEditReachesEveryInstance(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	f.start(t, "127.0.0.2", nil)
	config, said := f.config()
	if err := smoke.Run(t.Context(), config); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{
		"no published product",
		fmt.Sprintf("a page at 127.0.0.1:%d shows product", f.public),
		fmt.Sprintf("a page at 127.0.0.2:%d shows product", f.public),
		fmt.Sprintf("127.0.0.2:%d accepted an edit", f.admin), // not the instance of the first page
		fmt.Sprintf("the page at 127.0.0.1:%d received it", f.public),
		fmt.Sprintf("the page at 127.0.0.2:%d received it", f.public),
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if all := f.all(t); len(all) != 1 || !all[0].Archived {
		t.Errorf("it left %v", all)
	}

	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	if err := smoke.Run(t.Context(), config); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	after := f.all(t)
	if len(after) != 3 || after[1].Version <= lamp.Version || after[2].Version != mug.Version {
		t.Errorf("after another one there are %v", after)
	}
	after[1].Version = lamp.Version
	if fmt.Sprint(after[1]) != fmt.Sprint(lamp) {
		t.Errorf("it changed %v into %v", lamp, after[1])
	}
}

func TestSmokeOverTLS(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	config, said := f.config()
	roots := x509.NewCertPool()
	for _, to := range []*string{&config.Public, &config.Admin} {
		u, err := url.Parse(strings.NewReplacer("shop.test", "127.0.0.1", "admin.test", "127.0.0.1").Replace(*to))
		if err != nil {
			t.Fatal(err)
		}
		front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(u))
		t.Cleanup(front.Close)
		roots.AddCert(front.Certificate())
		*to = front.URL
	}
	config.Limit = time.Second
	if err := smoke.Run(t.Context(), config); code(err) != smoke.NoPage && code(err) != smoke.NoEdit ||
		!strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
	config.Roots, config.Limit = roots, 5*time.Second
	if err := smoke.Run(t.Context(), config); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func code(err error) int {
	if f, ok := errors.AsType[*smoke.Failure](err); ok {
		return f.Code
	}
	return 0
}

// Each failure has its exit code and a message that says what to do, and none
// contains the token.
func TestSmokeFailuresAreExplained(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	f.product(t, "lamp")
	_, reads, err := f.db.CreateToken(t.Context(), "reader", []string{store.ReadProducts}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(other.Close)
	free := testkit.FreePort(t)

	for name, c := range map[string]struct {
		change func(*smoke.Config)
		code   int
		says   string
	}{
		"a URL that is none": {func(c *smoke.Config) { c.Public = "shop.test:80" }, smoke.BadSettings,
			"--public-url must be"},
		"a URL with a user": {func(c *smoke.Config) { c.Admin = "http://root:hidden@admin.test" }, smoke.BadSettings,
			"--admin-url must be"},
		"no token": {func(c *smoke.Config) { c.Token = "" }, smoke.BadSettings, "SHELFCAST_ADMIN_TOKEN"},
		"no public name": {func(c *smoke.Config) { c.Public = "http://nobody.test:80" }, smoke.NoPage,
			"nobody.test has no address"},
		"no admin name": {func(c *smoke.Config) { c.Admin = "http://nobody.test:80" }, smoke.NoEdit,
			"nobody.test has no address"},
		"nobody at the public": {func(c *smoke.Config) { c.Public = fmt.Sprint("http://shop.test:", free) }, smoke.NoPage,
			"cannot be reached as the public app"},
		"nobody at the admin": {func(c *smoke.Config) { c.Admin = fmt.Sprint("http://admin.test:", free) }, smoke.NoEdit,
			"cannot be reached as the admin app"},
		"the admin for the shop": {func(c *smoke.Config) { c.Public = c.Admin }, smoke.NoPage, "is it the public app"},
		"the shop for the admin": {func(c *smoke.Config) { c.Admin = c.Public }, smoke.NoEdit, "is it the admin app"},
		"something else as shop": {func(c *smoke.Config) { c.Public = other.URL }, smoke.NoPage,
			"200 OK: a proxy in between"},
		"something else as admin": {func(c *smoke.Config) { c.Admin = other.URL }, smoke.NoEdit, "is not the admin API"},
		"a token that is none": {func(c *smoke.Config) { c.Token = "another token of the tests" }, smoke.NoEdit,
			"rejects this token"},
		"a token that only reads": {func(c *smoke.Config) { c.Token = reads }, smoke.NoEdit, "--scope products:write"},
	} {
		t.Run(name, func(t *testing.T) {
			config, said := f.config()
			c.change(&config)
			err := smoke.Run(t.Context(), config)
			if code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("got %d %v, want %d and %q", code(err), err, c.code, c.says)
			}
			if text := fmt.Sprint(err, said); config.Token != "" && strings.Contains(text, config.Token) ||
				strings.Contains(text, "hidden") {
				t.Errorf("it says the secret: %s", text)
			}
		})
	}
}

// A refused session is explained.
func TestSmokeReportsFullInstance(t *testing.T) {
	for says, change := range map[string]func(*server.Settings){
		"--max-sessions-per-address": func(s *server.Settings) { s.MaxPerAddress = 1 },
		"--max-sessions,":            func(s *server.Settings) { s.MaxSessions = 1 },
	} {
		f := newFleet(t)
		f.start(t, "127.0.0.1", change)
		f.product(t, "lamp")
		conn, _, _, err := ws.Dial(t.Context(), fmt.Sprintf("ws://127.0.0.1:%d/live", f.public))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		config, _ := f.config()
		if err := smoke.Run(t.Context(), config); code(err) != smoke.NoPage || !strings.Contains(err.Error(), says) {
			t.Errorf("got %d %v, want %q", code(err), err, says)
		}
	}
}

// apart starts two instances that are not one fleet: each has its own database and
// Redis. known: both have a product of the same id.
func apart(t *testing.T, known bool) (config smoke.Config, stop func()) {
	t.Helper()
	one, other := newFleet(t), newFleet(t)
	other.public, other.admin = one.public, one.admin
	one.start(t, "127.0.0.1", nil)
	stop = other.start(t, "127.0.0.2", nil)
	one.product(t, "lamp")
	if known {
		other.product(t, "lamp")
	}
	one.hosts = append(one.hosts, other.hosts...)
	config, _ = one.config()
	config.Admin = fmt.Sprint("http://127.0.0.1:", one.admin)
	return config, stop
}

func TestSmokeReportsSeparateDatabases(t *testing.T) {
	config, _ := apart(t, false)
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Ended || !strings.Contains(err.Error(), "127.0.0.2") ||
		!strings.Contains(err.Error(), "use different databases") {
		t.Errorf("got %d %v", code(err), err)
	}
}

func TestSmokeReportsStalePage(t *testing.T) {
	config, _ := apart(t, true)
	config.Limit = time.Second
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Stale || !strings.Contains(err.Error(), "the page at 127.0.0.2") ||
		!strings.Contains(err.Error(), "shelfcast_bus_probe_age_seconds") {
		t.Errorf("got %d %v", code(err), err)
	}
}

func TestSmokeReportsRestart(t *testing.T) {
	config, stop := apart(t, true)
	progress := config.Progress
	config.Progress = func(line string) {
		if progress(line); strings.Contains(line, "accepted an edit") {
			go stop()
		}
	}
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Ended || !strings.Contains(err.Error(), "1012") || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %d %v", code(err), err)
	}
}
