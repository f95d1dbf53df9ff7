package doctor

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"shelfcast/server"
)

// settings makes the checks that need only the settings.
func (r *Report) settings(s server.Settings) {
	r.publicURL(s)
	rest := s
	rest.PublicURL = "" // checked above
	if err := rest.Check(); err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			r.add(Error, "settings.valid", "%s", problem)
		}
	} else {
		r.ok("settings.valid", "an instance would start with them")
	}
	r.origins(s)
	r.proxies(s)
}

func (r *Report) publicURL(s server.Settings) {
	if s.PublicURL == "" {
		r.add(Warning, "settings.no_public_url", "--public-url is not set")
		return
	}
	u, err := url.Parse(strings.TrimSuffix(s.PublicURL, "/"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		r.add(Error, "settings.public_url", "--public-url is not an http(s) URL with a host")
	case u.User != nil:
		r.add(Error, "settings.public_url", "--public-url contains a user")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		r.add(Error, "settings.public_url", "--public-url has more than a scheme and a host; the shop is at /shop below it")
	default:
		r.ok("settings.public_url", "%s", originOf(u))
		https := slices.Contains(s.Origins, "https://"+strings.ToLower(u.Host))
		r.check(u.Scheme == "http" && (https || !private(u.Hostname())), Warning, "settings.https",
			"--public-url is http, but the pages of a shop are on https", u.Scheme)
	}
}

// private reports whether the host is not on the internet, so that http may be intended.
func private(host string) bool {
	address, err := netip.ParseAddr(host)
	if err == nil {
		return address.IsLoopback() || address.IsPrivate()
	}
	return host == "localhost" || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}

// originOf returns the origin as a browser sends it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if name, port, err := net.SplitHostPort(host); err == nil && port == usual {
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	return u.Scheme + "://" + host
}

func (r *Report) origins(s server.Settings) {
	if slices.Contains(s.Origins, "*") {
		r.add(Warning, "settings.origins_any", "--origins has *")
		return
	}
	found := len(r.Findings)
	for _, origin := range s.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			r.add(Error, "settings.origins", "--origins has an invalid entry, which matches no origin")
		} else if said := originOf(u); said != origin {
			r.add(Error, "settings.origins", "--origins has %s, which no browser sends: it should be %s",
				u.Scheme+"://"+u.Host+u.Path, said)
		}
	}
	public, err := url.Parse(strings.TrimSuffix(s.PublicURL, "/"))
	if err == nil && public.Host != "" && len(s.Origins) > 0 && !slices.Contains(s.Origins, originOf(public)) {
		r.add(Warning, "settings.origins",
			"--origins lacks the public URL: its pages can open sessions only while "+
				"every proxy passes the Host header on unchanged")
	}
	if len(r.Findings) == found {
		r.ok("settings.origins", "%s", cmp.Or(strings.Join(s.Origins, ", "), "only pages of the requested host"))
	}
}

func (r *Report) proxies(s server.Settings) {
	for _, text := range s.TrustedProxies {
		if network, err := netip.ParsePrefix(text); err == nil && network.Bits() == 0 {
			r.add(Warning, "settings.proxies_any", "--trusted-proxies has %s, which is every address", text)
			return
		}
	}
	// An https URL means that a proxy in front ends TLS.
	r.check(len(s.TrustedProxies) == 0 && (s.MaxPerAddress > 0 || s.Searches > 0) &&
		strings.HasPrefix(s.PublicURL, "https://"), Warning, "settings.proxies",
		"the shop is on https, so a proxy ends TLS, but --trusted-proxies is empty",
		cmp.Or(strings.Join(s.TrustedProxies, ", "), "none"))
}

// spare is the number of files that an instance opens in addition to its sessions:
// connections to MySQL and Redis, of load balancers, of probes and of the admin app.
const spare = 500

// system checks the limits of this process, which are those of an instance that is
// started in the same way.
func (r *Report) system(s server.Settings, o Options) {
	limit := o.Files
	if limit == 0 {
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			r.add(Warning, "system.files", "reading the limit of open files failed: %v", err)
			return
		}
		limit = files.Cur // Go has raised it to the hard limit
	}
	sessions := uint64(max(s.MaxSessions, 0))
	switch {
	case limit < sessions:
		r.add(Error, "system.files", "a process may open %d files, and --max-sessions is %d", limit, sessions)
	case limit < sessions+spare:
		r.add(Warning, "system.files",
			"a process may open %d files, and --max-sessions is %d: this leaves %d for everything else",
			limit, sessions, limit-sessions)
	default:
		r.ok("system.files", "%d files for %d sessions", limit, sessions)
	}
}
