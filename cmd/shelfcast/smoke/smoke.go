// Package smoke tries a fleet from outside, as `helm test` does: an edit through
// the admin API has to come to a page on every instance. It is a stranger to the
// product and knows only what both apps speak.
package smoke

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what to try. The zero value of what is optional means the default.
type Config struct {
	Public string         // URL of the public app; a name with several addresses is of several instances
	Admin  string         // URL of the admin app
	Token  string         // that may write products
	Roots  *x509.CertPool // of https URLs; nil: the system's

	Limit    time.Duration // of each step: a connection, a call, the way of the edit; 10s
	Resolver Resolver      // net.DefaultResolver
	Say      func(string)  // is told what was done, line by line
}

// A Resolver has the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// What went wrong, as an exit code. 1 is left for all else.
const (
	BadSettings = 2 // a URL is none
	NoPage      = 3 // no session at an address of the public app
	NoEdit      = 4 // the admin API did not take the edit
	Stale       = 5 // a page was not sent the edit in time
	Ended       = 6 // an instance closed the session, or does not know the product
)

// A Failure is an error with the exit code that says what went wrong.
type Failure struct {
	Code int
	Err  error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// ExitCode is for kong and for main.
func (f *Failure) ExitCode() int { return f.Code }

func fail(code int, format string, args ...any) error {
	return &Failure{code, fmt.Errorf(format, args...)}
}

// Run opens a page on each address of the public app and edits through the admin
// app: through an address that the first page is not on, if there is one. It is
// nil once every page was sent the version that the edit made. Errors: *Failure.
func Run(ctx context.Context, cfg Config) error {
	cfg.Limit = cmp.Or(cfg.Limit, 10*time.Second)
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	public, err := parse("--public-url", cfg.Public)
	if err != nil {
		return err
	}
	admin, err := parse("--admin-url", cfg.Admin)
	if err != nil {
		return err
	}
	if cfg.Token == "" {
		return fail(BadSettings, "there is no token: set SHELFCAST_ADMIN_TOKEN to one that may write products")
	}
	shops, err := cfg.addresses(ctx, public)
	if err != nil {
		return fail(NoPage, "%w", err)
	}
	desks, err := cfg.addresses(ctx, admin)
	if err != nil {
		return fail(NoEdit, "%w", err)
	}
	desk := newDesk(cfg, admin, elsewhere(desks, shops[0]))
	return desk.withProduct(ctx, func(seen rev) error { return cfg.follow(ctx, public, shops, desk, seen) })
}

// parse reads a URL of one of the two apps.
func parse(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, fail(BadSettings, "%s is to be http(s)://host:port", flag) // without the text, which may have a password
	}
	return u, nil
}

// addresses are those of the URL's host, each with the URL's port.
func (cfg Config) addresses(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", cmp.Or(u.Port(), u.Scheme))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Limit)
	defer cancel()
	found := []netip.Addr{}
	if literal, err := netip.ParseAddr(u.Hostname()); err == nil {
		found = append(found, literal)
	} else if found, err = cfg.Resolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil || len(found) == 0 {
		return nil, fmt.Errorf("%s has no address: %w. Is the name right, and is an instance ready behind it?", u.Hostname(), cmp.Or(err, errors.New("the name server knows the name and gives none")))
	}
	all := make([]netip.AddrPort, len(found))
	for i, address := range found {
		all[i] = netip.AddrPortFrom(address.Unmap(), uint16(port))
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all), nil
}

// elsewhere is an address of another host than that one, if there is any.
func elsewhere(all []netip.AddrPort, than netip.AddrPort) netip.AddrPort {
	for _, one := range all {
		if one.Addr() != than.Addr() {
			return one
		}
	}
	return all[0]
}

// follow opens the pages, makes the edit and waits for it.
func (cfg Config) follow(ctx context.Context, public *url.URL, shops []netip.AddrPort, desk *desk, seen rev) error {
	pages := make([]*page, len(shops))
	defer func() {
		for _, p := range pages {
			if p != nil {
				p.conn.Close()
			}
		}
	}()
	for i, at := range shops {
		p, err := cfg.open(ctx, public, at)
		if err != nil {
			return err
		}
		pages[i] = p
		if err := p.watch(seen); err != nil {
			return err
		}
		cfg.Say(fmt.Sprintf("a page at %s shows product %d", at, seen.ID))
	}
	made, err := desk.refresh(ctx, seen.ID)
	if err != nil {
		return err
	}
	start := time.Now()
	cfg.Say(fmt.Sprintf("%s took an edit: version %d", desk.at, made.Version))
	var all errgroup.Group
	for _, p := range pages {
		all.Go(func() error {
			if err := p.await(made, desk.at); err != nil {
				return err
			}
			cfg.Say(fmt.Sprintf("the page at %s has it after %v", p.at, time.Since(start).Round(100*time.Microsecond)))
			return nil
		})
	}
	return all.Wait()
}

func (cfg Config) tls() *tls.Config {
	return &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}
}

// dialTo connects to that address, whatever name is asked for.
func (cfg Config) dialTo(at netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: cfg.Limit}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", at.String())
	}
}
