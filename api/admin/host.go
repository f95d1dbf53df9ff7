package admin

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// checkHost is the middleware that answers only to the app's own host names, so that no page can reach it by DNS
// rebinding: under a name of the page's owner that is pointed here once the page is loaded, so that the browser takes
// this app for the page's own server. Such a request has that name as its host. Any IP address is fine: requests of a
// page that came from an address go to that address, which cannot be pointed elsewhere. So probes and scrapes, which
// use addresses, need no setting. A request without a Host is not from a browser.
func (a *App) checkHost(c *fiber.Ctx) error {
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

// hostName returns the name or the address in a Host, without port and brackets, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
