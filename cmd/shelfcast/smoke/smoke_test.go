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

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/cmd/shelfcast/smoke"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const token = fleettest.Token

// A fleet is instances on the same two ports of several addresses, as pods are.
type fleet struct {
	db            *store.DB
	dsn, redis    string
	public, admin int // ports
	hosts         []string
}

// names stands for a name server.
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
	f := &fleet{dsn: storetest.DSN(t), redis: storetest.Redis(t), public: storetest.FreePort(t), admin: storetest.FreePort(t)}
	f.db = fleettest.DB(t, f.dsn)
	return f
}

// start starts an instance on that address. stop ends it, and waits for that.
func (f *fleet) start(t *testing.T, host string, change func(*serve.Settings)) (stop func()) {
	t.Helper()
	s := serve.Settings{
		Database: serve.Database{MySQL: f.dsn}, Redis: f.redis, AdminToken: token, Drain: 100 * time.Millisecond,
		Listen: net.JoinHostPort(host, strconv.Itoa(f.public)), AdminListen: net.JoinHostPort(host, strconv.Itoa(f.admin)),
		AdminHosts: []string{"desk.test", "shop.test"},
	}
	if change != nil {
		change(&s)
	}
	_, stop = fleettest.Run(t, s, serve.Options{Log: slog.New(slog.DiscardHandler)})
	f.hosts = append(f.hosts, host)
	return stop
}

// config is of a smoke test of the fleet. said has what it says.
func (f *fleet) config() (c smoke.Config, said *strings.Builder) {
	said = &strings.Builder{}
	var mu sync.Mutex
	return smoke.Config{
		Public: fmt.Sprint("http://shop.test:", f.public), Admin: fmt.Sprint("http://desk.test:", f.admin), Token: token, Limit: 5 * time.Second,
		Resolver: names{"shop.test": f.hosts, "desk.test": f.hosts},
		Say: func(line string) {
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
	p, err := f.db.Create(t.Context(), store.Edit{SKU: &sku, Title: &title, Price: &price, Currency: &currency, Published: &published})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fleet) all(t *testing.T) []store.Product {
	t.Helper()
	all, err := f.db.List(t.Context(), store.Filter{Archived: store.WithArchived}, store.Page{Sort: "id", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An edit through one of two instances comes to a page on each; an empty shop is
// as empty as before, but for what is archived.
func TestAnEditComesToAPageOnEachInstance(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	f.start(t, "127.0.0.2", nil)
	config, said := f.config()
	if err := smoke.Run(t.Context(), config); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, want := range []string{
		"no published product",
		fmt.Sprintf("a page at 127.0.0.1:%d shows product", f.public), fmt.Sprintf("a page at 127.0.0.2:%d shows product", f.public),
		fmt.Sprintf("127.0.0.2:%d took an edit", f.admin), // not by the instance that has the first page
		fmt.Sprintf("the page at 127.0.0.1:%d has it", f.public), fmt.Sprintf("the page at 127.0.0.2:%d has it", f.public),
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

func TestItSpeaksTLS(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	config, said := f.config()
	roots := x509.NewCertPool()
	for _, to := range []*string{&config.Public, &config.Admin} {
		u, err := url.Parse(strings.NewReplacer("shop.test", "127.0.0.1", "desk.test", "127.0.0.1").Replace(*to))
		if err != nil {
			t.Fatal(err)
		}
		front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(u))
		t.Cleanup(front.Close)
		roots.AddCert(front.Certificate())
		*to = front.URL
	}
	config.Limit = time.Second
	if err := smoke.Run(t.Context(), config); code(err) != smoke.NoPage && code(err) != smoke.NoEdit || !strings.Contains(err.Error(), "certificate") {
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

// Each way to fail has its code, and words that say what to do. No word of it has
// the token.
func TestWhatWentWrongIsSaid(t *testing.T) {
	f := newFleet(t)
	f.start(t, "127.0.0.1", nil)
	f.product(t, "lamp")
	_, reads, err := f.db.CreateToken(t.Context(), "reader", []string{store.ReadProducts}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(other.Close)
	free := storetest.FreePort(t)

	for name, c := range map[string]struct {
		change func(*smoke.Config)
		code   int
		says   string
	}{
		"a URL that is none":      {func(c *smoke.Config) { c.Public = "shop.test:80" }, smoke.BadSettings, "--public-url is to be"},
		"a URL with a user":       {func(c *smoke.Config) { c.Admin = "http://root:hidden@desk.test" }, smoke.BadSettings, "--admin-url is to be"},
		"no token":                {func(c *smoke.Config) { c.Token = "" }, smoke.BadSettings, "SHELFCAST_ADMIN_TOKEN"},
		"no public name":          {func(c *smoke.Config) { c.Public = "http://nobody.test:80" }, smoke.NoPage, "nobody.test has no address"},
		"no admin name":           {func(c *smoke.Config) { c.Admin = "http://nobody.test:80" }, smoke.NoEdit, "nobody.test has no address"},
		"nobody at the public":    {func(c *smoke.Config) { c.Public = fmt.Sprint("http://shop.test:", free) }, smoke.NoPage, "cannot be reached as the public app"},
		"nobody at the admin":     {func(c *smoke.Config) { c.Admin = fmt.Sprint("http://desk.test:", free) }, smoke.NoEdit, "cannot be reached as the admin app"},
		"the admin for the shop":  {func(c *smoke.Config) { c.Public = c.Admin }, smoke.NoPage, "is that the public app"},
		"the shop for the admin":  {func(c *smoke.Config) { c.Admin = c.Public }, smoke.NoEdit, "is that the admin app"},
		"something else as shop":  {func(c *smoke.Config) { c.Public = other.URL }, smoke.NoPage, "200 OK: a proxy in between"},
		"something else as admin": {func(c *smoke.Config) { c.Admin = other.URL }, smoke.NoEdit, "is not the admin API"},
		"a token that is none":    {func(c *smoke.Config) { c.Token = "another token of the tests" }, smoke.NoEdit, "does not take this token"},
		"a token that only reads": {func(c *smoke.Config) { c.Token = reads }, smoke.NoEdit, "--scope products:write"},
	} {
		t.Run(name, func(t *testing.T) {
			config, said := f.config()
			c.change(&config)
			err := smoke.Run(t.Context(), config)
			if code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("got %d %v, want %d and %q", code(err), err, c.code, c.says)
			}
			if text := fmt.Sprint(err, said); config.Token != "" && strings.Contains(text, config.Token) || strings.Contains(text, "hidden") {
				t.Errorf("it says the secret: %s", text)
			}
		})
	}
}

// An instance that takes no session says why.
func TestAFullInstance(t *testing.T) {
	for says, change := range map[string]func(*serve.Settings){
		"--max-sessions-per-address": func(s *serve.Settings) { s.MaxPerAddress = 1 },
		"--max-sessions,":            func(s *serve.Settings) { s.MaxSessions = 1 },
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

// apart is two instances that are not one fleet: each has its own database and
// Redis, and a lamp of the same id if it is to know it.
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

func TestInstancesOnTwoDatabases(t *testing.T) {
	config, _ := apart(t, false)
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Ended || !strings.Contains(err.Error(), "127.0.0.2") || !strings.Contains(err.Error(), "not on the same database") {
		t.Errorf("got %d %v", code(err), err)
	}
}

func TestAPageThatStaysStale(t *testing.T) {
	config, _ := apart(t, true)
	config.Limit = time.Second
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Stale || !strings.Contains(err.Error(), "the page at 127.0.0.2") || !strings.Contains(err.Error(), "shelfcast_bus_age_seconds") {
		t.Errorf("got %d %v", code(err), err)
	}
}

func TestAnInstanceThatIsRestarted(t *testing.T) {
	config, stop := apart(t, true)
	say := config.Say
	config.Say = func(line string) {
		if say(line); strings.Contains(line, "took an edit") {
			go stop()
		}
	}
	err := smoke.Run(t.Context(), config)
	if code(err) != smoke.Ended || !strings.Contains(err.Error(), "1012") || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %d %v", code(err), err)
	}
}
