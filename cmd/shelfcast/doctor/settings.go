package doctor

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"shelfcast/cmd/shelfcast/serve"
)

// settings looks at what can be seen from the settings alone.
func (r *Report) settings(s serve.Settings) {
	r.publicURL(s)
	rest := s
	rest.PublicURL = "" // was looked at
	if err := rest.Check(); err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			r.bad(Error, "settings.valid", "%s", problem)
		}
	} else {
		r.ok("settings.valid", "an instance would start with them")
	}
	r.origins(s)
	r.proxies(s)
}

func (r *Report) publicURL(s serve.Settings) {
	if s.PublicURL == "" {
		r.bad(Warning, "settings.no_public_url", "--public-url is not set")
		return
	}
	u, err := url.Parse(strings.TrimSuffix(s.PublicURL, "/"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		r.bad(Error, "settings.public_url", "--public-url is no http(s) address with a host")
	case u.User != nil:
		r.bad(Error, "settings.public_url", "--public-url has a user in it")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		r.bad(Error, "settings.public_url", "--public-url has something behind the host; the shop is at /shop below it")
	default:
		r.ok("settings.public_url", "%s", originOf(u))
		https := slices.Contains(s.Origins, "https://"+strings.ToLower(u.Host))
		r.check(u.Scheme == "http" && (https || !private(u.Hostname())), Warning, "settings.https",
			"--public-url is http, and the pages of a shop are https", u.Scheme)
	}
}

// private: nobody outside gets there, so http may be meant.
func private(host string) bool {
	address, err := netip.ParseAddr(host)
	if err == nil {
		return address.IsLoopback() || address.IsPrivate()
	}
	return host == "localhost" || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}

// originOf is the origin as a browser says it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if name, port, err := net.SplitHostPort(host); err == nil && port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	return u.Scheme + "://" + host
}

func (r *Report) origins(s serve.Settings) {
	if slices.Contains(s.Origins, "*") {
		r.bad(Warning, "settings.origins_any", "--origins has *")
		return
	}
	found := len(r.Findings)
	for _, origin := range s.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			r.bad(Error, "settings.origins", "--origins has an entry that is no origin, and matches none")
		} else if said := originOf(u); said != origin {
			r.bad(Error, "settings.origins", "--origins has %s, which no browser says: it would be %s", u.Scheme+"://"+u.Host+u.Path, said)
		}
	}
	public, err := url.Parse(strings.TrimSuffix(s.PublicURL, "/"))
	if err == nil && public.Host != "" && len(s.Origins) > 0 && !slices.Contains(s.Origins, originOf(public)) {
		r.bad(Warning, "settings.origins", "--origins does not have the public URL: its own pages have sessions only as long as every proxy passes Host on as it came")
	}
	if len(r.Findings) == found {
		r.ok("settings.origins", "%s", cmp.Or(strings.Join(s.Origins, ", "), "pages of the host that is asked"))
	}
}

func (r *Report) proxies(s serve.Settings) {
	for _, text := range s.TrustedProxies {
		if network, err := netip.ParsePrefix(text); err == nil && network.Bits() == 0 {
			r.bad(Warning, "settings.proxies_any", "--trusted-proxies has %s, which is everybody", text)
			return
		}
	}
	// A public URL that is not of this machine's own port says that something
	// stands in front.
	r.check(len(s.TrustedProxies) == 0 && (s.MaxPerAddress > 0 || s.Searches > 0) && strings.HasPrefix(s.PublicURL, "https://"), Warning, "settings.proxies",
		"the shop is on https, so something stands in front that ends TLS, and --trusted-proxies names nobody",
		cmp.Or(strings.Join(s.TrustedProxies, ", "), "none"))
}

// spare is how many files an instance opens besides its sessions: connections to
// MySQL and Redis, of the load balancer, of probes and of the admin app.
const spare = 500

// system looks at what the kernel lets this process do. An instance that is
// started in the same way may do as much.
func (r *Report) system(s serve.Settings, o Options) {
	limit := o.Files
	if limit == 0 {
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			r.bad(Warning, "system.files", "the limit of open files cannot be read: %v", err)
			return
		}
		limit = files.Cur // Go has raised it to what may be had
	}
	sessions := uint64(max(s.MaxSessions, 0))
	switch {
	case limit < sessions:
		r.bad(Error, "system.files", "a process may open %d files, and --max-sessions is %d", limit, sessions)
	case limit < sessions+spare:
		r.bad(Warning, "system.files", "a process may open %d files, and --max-sessions is %d: that leaves %d for all else", limit, sessions, limit-sessions)
	default:
		r.ok("system.files", "%d files for %d sessions", limit, sessions)
	}
}
