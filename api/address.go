package api

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// A Network is an address, or a range of addresses.
type Network = netip.Prefix

// ParseNetworks reads addresses (10.0.0.7) and networks (10.0.0.0/8).
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

// clientOf is the address that a request is from. Each proxy appends the one that
// it was asked from to X-Forwarded-For, and anybody may have written what is
// left of that: so it is read from the right, for as long as the proxies are
// ours.
func clientOf(c *fiber.Ctx, proxies []Network) netip.Addr {
	address, _ := netip.AddrFromSlice(c.Context().RemoteIP())
	address = address.Unmap()
	hops := strings.Split(forwardedFor(c), ",")
	for i := len(hops) - 1; i >= 0 && covers(proxies, address); i-- {
		before, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = before.Unmap().WithZone("")
	}
	return address
}

// parseHop reads an address, with a port or without.
func parseHop(text string) (netip.Addr, error) {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr(), nil
	}
	return netip.ParseAddr(text)
}

// forwardedFor is the whole list: a proxy may begin a line of its own, as HAProxy
// does, and what it wrote is in the last one then (RFC 9110, 5.2).
func forwardedFor(c *fiber.Ctx) string {
	return string(bytes.Join(c.Request().Header.PeekAll(fiber.HeaderXForwardedFor), []byte(",")))
}

func covers(networks []Network, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n Network) bool { return n.Contains(address) })
}
