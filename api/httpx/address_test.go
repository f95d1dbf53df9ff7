package httpx

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Proxies write addresses with ports and in brackets (Azure, Traefik). Two shoppers behind one count as two.
func TestForwardedAddressesAreReadInEachForm(t *testing.T) {
	proxies, err := ParseNetworks([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New()
	for header, want := range map[string]string{
		"198.51.100.1":                          "198.51.100.1",
		"198.51.100.2:5000":                     "198.51.100.2",
		"198.51.100.2:5000, 10.0.0.9:443":       "198.51.100.2",
		"2001:db8::1":                           "2001:db8::1",
		"[2001:db8::1]":                         "2001:db8::1",
		"[2001:db8::2]:443":                     "2001:db8::2",
		"[2001:db8::2]:443,[::ffff:10.0.0.9]:1": "2001:db8::2",
		"198.51.100.1, [198.51.100.2]":          "10.0.0.1", // nobody writes that
		"198.51.100.1, unknown":                 "10.0.0.1",
		"198.51.100.1, 198.51.100.2:":           "10.0.0.1",
		"198.51.100.1, 198.51.100.2:70000":      "10.0.0.1",
		"198.51.100.1, [2001:db8::1":            "10.0.0.1",
	} {
		var request fasthttp.RequestCtx
		request.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, nil)
		request.Request.Header.Set(fiber.HeaderXForwardedFor, header)
		c := app.AcquireCtx(&request)
		if got := ClientAddr(c, proxies); got != netip.MustParseAddr(want) {
			t.Errorf("%q is of %v, want %s", header, got, want)
		}
		app.ReleaseCtx(c)
	}
}

func TestAddressKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":      "2001:db8:1:3::/64",
		"fe80::1%eth0":         "fe80::/64",
		"::1":                  "::/64",
	} {
		if got := AddressKey(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
