package httpx

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// FuzzNetworks: a network contains its own address.
func FuzzNetworks(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "fe80::1%eth0", "10.0.0.1/33", "", "10.0.0.0/8,x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		networks, err := ParseNetworks(strings.Split(text, ","))
		if err != nil {
			return
		}
		for _, network := range networks {
			if !containsAddr(networks, network.Addr()) && network.Addr().Zone() == "" {
				t.Errorf("%v is not in itself", network)
			}
		}
		if len(networks) == 0 && containsAddr(networks, netip.MustParseAddr("127.0.0.1")) {
			t.Error("nobody is to be trusted")
		}
	})
}

// withPorts returns the list with a port at each address that has none, as Azure and Traefik write it.
func withPorts(list string) string {
	hops := strings.Split(list, ",")
	for i, hop := range hops {
		if address, err := netip.ParseAddr(strings.TrimSpace(hop)); err == nil {
			hops[i] = netip.AddrPortFrom(address, 5000).String()
		}
	}
	return strings.Join(hops, ",")
}

// FuzzForwarded: an untrusted client cannot choose its address, and the address that is believed was named by a trusted
// proxy.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.7", "198.51.100.1, 10.0.0.2", "")
	f.Add("10.0.0.1", "198.51.100.1, 10.0.0.2", "evil")
	f.Add("10.0.0.1", "", "::ffff:198.51.100.1%eth0,,")
	f.Add("::ffff:10.0.0.1", "1.2.3.4:99", "10.0.0.9")
	f.Add("10.0.0.1", "[2001:db8::1]:443", "10.0.0.2:5000,[fd00::2]")
	proxies, err := ParseNetworks([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	app := fiber.New()
	f.Fuzz(func(t *testing.T, from, first, second string) {
		remote, err := netip.ParseAddr(from)
		if err != nil {
			return
		}
		ask := func(lines ...string) *fiber.Ctx {
			var request fasthttp.RequestCtx
			request.Init(&fasthttp.Request{}, net.TCPAddrFromAddrPort(netip.AddrPortFrom(remote.WithZone(""), 1)), nil)
			for _, line := range lines {
				request.Request.Header.Add(fiber.HeaderXForwardedFor, line)
			}
			return app.AcquireCtx(&request)
		}
		c, ported := ask(first, second), ask(withPorts(first), withPorts(second))
		defer app.ReleaseCtx(c)
		defer app.ReleaseCtx(ported)
		if with, without := ClientAddr(ported, proxies), ClientAddr(c, proxies); with != without {
			t.Errorf("%q, %q: %v with ports, and %v without", first, second, with, without)
		}
		got, asked := ClientAddr(c, proxies), remote.WithZone("").Unmap()
		if !containsAddr(proxies, asked) {
			if got != asked {
				t.Errorf("%v is not trusted, and makes himself %v", asked, got)
			}
			return
		}
		named := []netip.Addr{asked}
		hops := strings.Split(forwardedFor(c), ",")
		for _, hop := range slices.Backward(hops) {
			address, err := parseHop(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			named = append(named, address.Unmap().WithZone(""))
			if !containsAddr(proxies, named[len(named)-1]) {
				break
			}
		}
		if got != named[len(named)-1] {
			t.Errorf("%q from %v are of %v, and %v is believed", hops, asked, named, got)
		}
	})
}
