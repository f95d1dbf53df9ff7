package api

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// ownHost is the middleware of the admin app that answers only for its own names, so
// that no page can reach it by DNS rebinding: by a name of the page's owner that is
// made to lead here once the page is loaded, so that for the browser it is the page's
// own server. Such a request names that name. An address is fine whatever it is: what a
// page of an address asks, it asks of that address, and nobody can have it lead elsewhere. So
// probes and scrapes, which come by address, need nothing. A request without a Host is
// of no browser.
func (a *Admin) ownHost(c *fiber.Ctx) error {
	name := hostName(string(c.Context().Host()))
	_, err := netip.ParseAddr(name)
	switch {
	case name == "", err == nil, name == "localhost", strings.HasSuffix(name, ".localhost"):
	case slices.Contains(a.Hosts, "*"):
	case slices.ContainsFunc(a.Hosts, func(own string) bool { return hostName(own) == name }):
	default:
		return fiber.NewError(fiber.StatusMisdirectedRequest,
			"the admin app does not answer to this host name: if it is its own, add it to --admin-hosts (SHELFCAST_ADMIN_HOSTS)")
	}
	return c.Next()
}

// hostName is the name or the address in a Host, without port and brackets, in lower
// case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
