// Package smoke tests a running fleet from outside, as `helm test` does: an edit
// through the admin API must reach a page on every instance. It uses only the
// protocols of the two apps.
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

	"shelfcast/store"
)

// Config describes the fleet to test. Public, Admin and Token are required.
type Config struct {
	Public string         // URL of the public app; each address of its name is tested
	Admin  string         // URL of the admin app
	Token  string         // must have the scope products:write
	Roots  *x509.CertPool // certificate authorities; nil: the system's

	Limit    time.Duration // timeout of each step: connection, call, delivery; default 10s
	Resolver Resolver      // default net.DefaultResolver
	Progress func(string)  // called with each line of progress
}

// A Resolver looks up the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Exit codes, by what failed. 1 is for all other errors.
const (
	BadSettings = 2 // a URL is invalid, or the token is missing
	NoPage      = 3 // an address of the public app refused the session
	NoEdit      = 4 // the admin API refused the edit
	Stale       = 5 // a page did not receive the edit in time
	Ended       = 6 // an instance closed the session, or does not know the product
)

// A Failure is an error with its exit code.
type Failure struct {
	Code int
	Err  error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// ExitCode returns the exit code; kong and main call it.
func (f *Failure) ExitCode() int { return f.Code }

func fail(code int, format string, args ...any) error {
	return &Failure{code, fmt.Errorf(format, args...)}
}

// Run opens a page on each address of the public app and edits a product through
// the admin app, if possible at another address than the first page's. It returns
// nil once every page has received the new version. Its errors are *Failure.
func Run(ctx context.Context, cfg Config) error {
	cfg.Limit = cmp.Or(cfg.Limit, 10*time.Second)
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
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
		return fail(BadSettings, "no token: set SHELFCAST_ADMIN_TOKEN to one with the scope products:write")
	}
	pages, err := cfg.addresses(ctx, public)
	if err != nil {
		return fail(NoPage, "%w", err)
	}
	admins, err := cfg.addresses(ctx, admin)
	if err != nil {
		return fail(NoEdit, "%w", err)
	}
	client := newAdminClient(cfg, admin, elsewhere(admins, pages[0]))
	return client.withProduct(ctx, func(shown store.Rev) error { return cfg.deliver(ctx, public, pages, client, shown) })
}

// parse parses the URL of one of the two apps.
func parse(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, fail(BadSettings, "%s must be http(s)://host:port", flag) // not the text, which may contain a password
	}
	return u, nil
}

// addresses looks up the addresses of the URL's host, and adds its port to each.
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
		return nil, fmt.Errorf("%s has no address: %w. Is the name right, and is an instance ready behind it?",
			u.Hostname(), cmp.Or(err, errors.New("the name exists but has no address")))
	}
	all := make([]netip.AddrPort, len(found))
	for i, address := range found {
		all[i] = netip.AddrPortFrom(address.Unmap(), uint16(port))
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all), nil
}

// elsewhere returns the first address whose host differs from that of than, or else
// the first of all.
func elsewhere(all []netip.AddrPort, than netip.AddrPort) netip.AddrPort {
	for _, one := range all {
		if one.Addr() != than.Addr() {
			return one
		}
	}
	return all[0]
}

// deliver opens the pages, makes the edit and waits until each page has it.
func (cfg Config) deliver(ctx context.Context, public *url.URL, addresses []netip.AddrPort, client *adminClient,
	shown store.Rev) error {
	pages := make([]*page, len(addresses))
	defer func() {
		for _, p := range pages {
			if p != nil {
				p.conn.Close()
			}
		}
	}()
	for i, at := range addresses {
		p, err := cfg.open(ctx, public, at)
		if err != nil {
			return err
		}
		pages[i] = p
		if err := p.watch(shown); err != nil {
			return err
		}
		cfg.Progress(fmt.Sprintf("a page at %s shows product %d", at, shown.ID))
	}
	edited, err := client.refresh(ctx, shown.ID)
	if err != nil {
		return err
	}
	start := time.Now()
	cfg.Progress(fmt.Sprintf("%s accepted an edit: version %d", client.at, edited.Version))
	var all errgroup.Group
	for _, p := range pages {
		all.Go(func() error {
			if err := p.await(edited, client.at); err != nil {
				return err
			}
			cfg.Progress(fmt.Sprintf("the page at %s received it after %v", p.at,
				time.Since(start).Round(100*time.Microsecond)))
			return nil
		})
	}
	return all.Wait()
}

func (cfg Config) tls() *tls.Config {
	return &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}
}

// dialTo returns a dialer that connects to that address, whatever the name.
func (cfg Config) dialTo(at netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: cfg.Limit}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", at.String())
	}
}
