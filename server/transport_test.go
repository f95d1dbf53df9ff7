package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"shelfcast/testkit"
)

// Where WebSockets are blocked, and where streams are buffered as well, a page finds a
// working transport, and the next page of the visit starts with it.
func TestFallbackWhenWebSocketsAreBlocked(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	const held = "location /live/sse { proxy_pass http://tier; proxy_buffering on; " +
		"proxy_ignore_headers X-Accel-Buffering; }"
	for _, network := range []struct{ name, forbids, lives string }{
		{"no sockets", "", "shelfcast_sessions_opened_total"},
		{"no streams either", held, "shelfcast_polls_total"},
	} {
		t.Run(network.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "sockets")
			var upstream strings.Builder
			for _, i := range f.instances {
				fmt.Fprintf(&upstream, "server %s; ", i.PublicAddr())
			}
			url, _ := nginx(t, "upstream tier { "+upstream.String()+"}", `
				proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection '';
				location / { proxy_pass http://tier; }
				location = /live { access_log `+log+`; return 403; }
				`+network.forbids)
			tried := func() int {
				text, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				return strings.Count(string(text), "\n")
			}
			before := f.counter(t, network.lives)
			shop := tab(t, chromium, url+"/shop")
			testkit.Eventually(t, "it lives another way", func() bool {
				return f.counter(t, network.lives) >= before+2 || network.forbids == "" && f.counter(t, network.lives) > before
			})
			lamp = f.edit(t, 0, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, 20+len(network.forbids)))
			mug = f.edit(t, 1, mug.Rev, fmt.Sprintf(`{"stock":%d}`, 20+len(network.forbids)))
			shows(t, shop, lamp.Rev)
			shows(t, shop, mug.Rev)
			attempts := tried()
			if attempts < 2 {
				t.Errorf("a socket was tried %d times", attempts)
			}
			run(t, shop, chromedp.Navigate(url+fmt.Sprintf("/shop/products/%d", mug.ID)),
				chromedp.WaitVisible(css(`[data-live-status="live"]`)))
			mug = f.edit(t, 1, mug.Rev, fmt.Sprintf(`{"stock":%d}`, 40+len(network.forbids)))
			shows(t, shop, mug.Rev)
			if n := tried(); n != attempts {
				t.Errorf("the next page of the visit tried a socket %d times", n-attempts)
			}
			closeTab(t, shop)
		})
	}
}

// A page shows the current state after back, whether the browser cached it or loads it
// again.
func TestReturnToWebSocket(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t, chromedp.ExecPath(testkit.DesktopBrowser(t)))
	page := tab(t, chromium, f.public(0, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	run(t, page, chromedp.SendKeys(css(`input[name=note]`), "for my sister"))
	run(t, page, chromedp.Navigate(f.public(0, fmt.Sprintf("/shop/products/%d", mug.ID))),
		chromedp.WaitVisible(css(`[data-live-status="live"]`)))
	lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
	mug = f.edit(t, 1, mug.Rev, `{"price":"7.50"}`)
	shows(t, page, mug.Rev)
	run(t, page, chromedp.Evaluate[chromedp.Void](`setTimeout(() => history.back())`))
	// A page from the back/forward cache has no load event to wait for, and chromedp
	// does not poll it.
	is := func(what, script string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool {
			yes, err := chromedp.Run(page, chromedp.Evaluate[bool](script))
			return err == nil && yes
		})
	}
	version := `location.pathname === "/shop/products/%d" && ` +
		`document.querySelector("[data-product-id]").dataset.productVersion === "%d"`
	is("he sees what has changed meanwhile", fmt.Sprintf(version, lamp.ID, lamp.Version))
	is("the page is live", `document.querySelector("[data-live-status]").dataset.liveStatus === "live"`)
	is("what he had written is there", `document.querySelector("input[name=note]").value === "for my sister"`)
	lamp = f.edit(t, 0, lamp.Rev, `{"price":"18.50"}`)
	is("he sees what changes now", fmt.Sprintf(version, lamp.ID, lamp.Version))
}
