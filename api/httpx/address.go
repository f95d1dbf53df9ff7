package httpx

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// A Network is one address or a range of addresses.
type Network = netip.Prefix

// ParseNetworks parses addresses (10.0.0.7) and networks (10.0.0.0/8).
func ParseNetworks(texts []string) ([]Network, error) {
	networks := make([]Network, 0, len(texts))
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			networks = append(networks, netip.PrefixFrom(address, address.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// ClientAddr returns the address that a request comes from. Each proxy appends the address that it was asked from to
// X-Forwarded-For, and anything before that may be forged. So the header is read from the right, for as
// long as the proxies are trusted.
func ClientAddr(c *fiber.Ctx, proxies []Network) netip.Addr {
	address, _ := netip.AddrFromSlice(c.Context().RemoteIP())
	address = address.Unmap()
	hops := strings.Split(forwardedFor(c), ",")
	for i := len(hops) - 1; i >= 0 && containsAddr(proxies, address); i-- {
		before, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = before.Unmap().WithZone("")
	}
	return address
}

// parseHop parses an address as proxies write it: 1.2.3.4, 1.2.3.4:5000,
// 2001:db8::1, [2001:db8::1] or [2001:db8::1]:443.
func parseHop(text string) (netip.Addr, error) {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr(), nil
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			text = inner
		}
	}
	return netip.ParseAddr(text)
}

// forwardedFor returns the whole list. A proxy may add a header line of its own, as HAProxy does; then what it wrote is
// in the last line (RFC 9110, 5.2).
func forwardedFor(c *fiber.Ctx) string {
	return string(bytes.Join(c.Request().Header.PeekAll(fiber.HeaderXForwardedFor), []byte(",")))
}

// AddressKey returns the key under which a client's address is counted. An IPv6 address counts as its /64, since one
// customer of a provider has a whole /64.
func AddressKey(address netip.Addr) string {
	address = address.Unmap()
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}

func containsAddr(networks []Network, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n Network) bool { return n.Contains(address) })
}
