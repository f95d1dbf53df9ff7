package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// browser returns a headless Chromium that can connect only to loopback, with a
// profile of its own. Tests reuse processes one after the other; with flags it starts
// a new one.
func browser(t testing.TB, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := testkit.Browser(t)
	ctx := context.Context(nil)
	if len(flags) > 0 {
		own, stop, err := startBrowser(path, flags...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		ctx = own
	} else {
		lent, giveBack, err := lendBrowser(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(giveBack)
		profile, cancel := chromedp.NewContext(lent, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel) // closes all its tabs
		if err := chromedp.Do(profile); err != nil {
			t.Fatal(err)
		}
		ctx = profile
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return limited
}

// startBrowser starts a browser. stop closes it and waits for its end.
func startBrowser(path string, flags ...chromedp.ExecAllocatorOption) (_ context.Context, stop func(), err error) {
	dir, err := os.MkdirTemp("", "shelfcast-browser-")
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Env("TMPDIR="+dir), // it leaves temporary files
		chromedp.NoSandbox,          // tests run as root in containers
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), append(options, flags...)...)
	ctx, end := chromedp.NewContext(allocator)
	stop = func() {
		_ = chromedp.Cancel(ctx) // closes it and waits
		end()
		endAllocator()
		os.RemoveAll(dir)
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}

// lent has the browsers that tests reuse. A test has one to itself: of two windows
// only one would have the focus.
var lent struct {
	sync.Mutex
	idle  []context.Context
	stops []func()
}

func lendBrowser(path string) (ctx context.Context, giveBack func(), err error) {
	lent.Lock()
	defer lent.Unlock()
	if n := len(lent.idle); n > 0 {
		ctx, lent.idle = lent.idle[n-1], lent.idle[:n-1]
	} else {
		var stop func()
		if ctx, stop, err = startBrowser(path); err != nil {
			return nil, nil, err
		}
		lent.stops = append(lent.stops, stop)
	}
	return ctx, func() {
		lent.Lock()
		defer lent.Unlock()
		lent.idle = append(lent.idle, ctx)
	}, nil
}

// stopBrowsers closes all browsers, after all tests.
func stopBrowsers() {
	for _, stop := range lent.stops {
		stop()
	}
}

// tab opens a page in a new tab, and waits until it is live.
func tab(t testing.TB, browser context.Context, url string) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	run(t, ctx,
		chromedp.EmulateViewport(1000, 700),
		chromedp.Navigate(url),
		chromedp.WaitVisible(css(`[data-live-status="live"]`)))
	return ctx
}

func run(t testing.TB, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// css selects the first element that matches.
type css = chromedp.CSS

// eval returns the value of a script.
func eval[T any](t testing.TB, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// until waits until a script is true.
func until(t testing.TB, ctx context.Context, script string) {
	t.Helper()
	run(t, ctx, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingInterval(5*time.Millisecond),
		chromedp.WithPollingTimeout(20*time.Second)))
}

// An edit through the admin API of one instance changes open pages on both without a
// reload, and keeps what the visitor was doing.
func TestEditChangesOpenPages(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	shop := tab(t, chromium, f.public(0, "/shop"))
	own := tab(t, chromium, f.public(1, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	for _, page := range []context.Context{shop, own} {
		run(t, page, chromedp.Evaluate[chromedp.Void](`window.sameDocument = true`))
	}
	run(t, own,
		chromedp.SendKeys(css(`input[name=note]`), "for my sister"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("input[name=note]").setSelectionRange(4, 6)`))

	edited := f.edit(t, 0, lamp.Rev, `{"title":"<i>Lamp</i> & Co","price":"17.50","compare_at_price":"19.90","stock":2}`)

	article := fmt.Sprintf(`document.querySelector('[data-product-id="%d"]')`, lamp.ID)
	for name, page := range map[string]context.Context{"shop": shop, "own": own} {
		until(t, page, fmt.Sprintf(`%s.dataset.productVersion === "%d"`, article, edited.Version))
		text := eval[string](t, page, article+".innerText")
		for _, want := range []string{"<i>Lamp</i> & Co", "€17.50", "€19.90", "Only 2 left"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", name, want, text)
			}
		}
		if !eval[bool](t, page, `window.sameDocument === true`) {
			t.Errorf("%s was loaded again", name)
		}
		if n := eval[int](t, page, article+`.querySelectorAll("i").length`); n != 0 {
			t.Errorf("%s: the title has become HTML", name)
		}
	}
	got := eval[string](t, own, `document.activeElement.name + ": " + document.activeElement.value + " " + `+
		`document.activeElement.selectionStart`)
	if got != "note: for my sister 4" {
		t.Errorf("the visitor has %q under his hands", got)
	}
	run(t, own, chromedp.SendKeys(css(`input[name=note]`), "!")) // continues typing
	if got := eval[string](t, own, `document.querySelector("input[name=note]").value`); !strings.Contains(got, "!") {
		t.Errorf("he has written %q", got)
	}
	if max := eval[string](t, own, `document.querySelector("input[name=quantity]").max`); max != "2" {
		t.Errorf("of a stock of 2 he may take %s", max)
	}
	quantity := func(keys string) string {
		run(t, own, chromedp.KeyEvent(keys))
		return eval[string](t, own, `document.querySelector("input[name=quantity]").value`)
	}
	run(t, own, chromedp.Click(css(`input[name=quantity]`)))
	had := quantity("1")
	edited = f.edit(t, 1, edited.Rev, `{"price":"16.50"}`)
	shows(t, own, edited.Rev)
	if got := quantity("2"); len(got) != len(had)+1 {
		t.Errorf("after an update a 2 in the quantity makes %q of %q", got, had)
	}
	if got := quantity(kb.Backspace); got != had {
		t.Errorf("after that Backspace makes %q of %q", got, had)
	}
	other := fmt.Sprintf(`document.querySelector('[data-product-id="%d"]').dataset.productVersion`, mug.ID)
	if got := eval[string](t, shop, other); got != fmt.Sprint(mug.Version) {
		t.Errorf("the other product is at version %s", got)
	}

	// Sold out, and then unpublished.
	edited = f.edit(t, 1, edited.Rev, `{"stock":0}`)
	until(t, own, `document.querySelector("[data-action=add-to-cart]").disabled`)
	f.edit(t, 0, edited.Rev, `{"published":false}`)
	for _, page := range []context.Context{shop, own} {
		until(t, page, article+`.innerText.includes("not available")`)
	}
}

// A page whose instance stops reconnects and gets what has changed. Missing pictures
// have a placeholder, and no page violates its content security policy.
func TestPageReconnects(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"image_url":"/no/such/picture.jpg"}`)
	chromium := browser(t)
	pages := []context.Context{
		tab(t, chromium, f.public(0, "/shop")),
		tab(t, chromium, f.public(1, fmt.Sprintf("/shop/products/%d", lamp.ID))),
	}
	for _, page := range pages {
		until(t, page, `document.querySelector("img").classList.contains("is-missing")`)
		run(t, page, chromedp.Evaluate[chromedp.Void](`
			window.violations = 0;
			document.addEventListener("securitypolicyviolation", () => window.violations++);
			window.was = [];
			document.addEventListener("shelfcast:status", (e) => was.push(e.detail));
			dispatchEvent(new Event("offline"))`))
		until(t, page, `was.includes("offline")`) // it may reconnect the next moment
	}
	lamp = f.edit(t, 0, lamp.Rev, `{"price":"1.00"}`)
	f.edit(t, 0, mug.Rev, `{"price":"2.00"}`)
	for _, page := range pages {
		run(t, page, chromedp.Evaluate[chromedp.Void](`dispatchEvent(new Event("online"))`))
		until(t, page, fmt.Sprintf(`document.querySelector('[data-product-id="%d"]').innerText.includes("€1.00")`, lamp.ID))
		if n := eval[int](t, page, `window.violations`); n != 0 {
			t.Errorf("%d violations of the content security policy", n)
		}
	}
	until(t, pages[0], `document.body.innerText.includes("€2.00")`)
}

// Two tabs with products of one fleet share a connection, and both are up to date;
// when one is closed the other continues.
func TestTabsOfBrowserShareConnection(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	shop := tab(t, chromium, f.public(0, "/shop"))
	own := tab(t, chromium, f.public(0, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	shows := func(page context.Context, p store.Product) {
		t.Helper()
		until(t, page, fmt.Sprintf(`document.querySelector('[data-product-id="%d"]').dataset.productVersion === "%d"`,
			p.ID, p.Version))
	}
	lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
	for _, page := range []context.Context{shop, own} {
		shows(page, lamp)
	}
	if n := f.counter(t, "shelfcast_sessions_opened_total"); n != 1 {
		t.Errorf("%v sessions were opened", n)
	}

	// An older page of the same products is brought up to date by the worker.
	run(t, own, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.body.insertAdjacentHTML("afterbegin",
		'<div class="grid"><live-product product="%d" view="card"></live-product>`+
		`<live-product product="%d" view="card"></live-product></div>')`, lamp.ID, mug.ID)))
	until(t, own, `document.querySelectorAll("live-product article .amount").length === 2`)

	if err := chromedp.Cancel(shop); err != nil {
		t.Fatal(err)
	}
	mug = f.edit(t, 0, mug.Rev, `{"price":"2.00"}`)
	lamp = f.edit(t, 0, lamp.Rev, `{"price":"1.00"}`)
	shows(own, mug)
	shows(own, lamp)
	if n := f.counter(t, "shelfcast_sessions_opened_total"); n != 1 {
		t.Errorf("%v sessions were opened", n)
	}
}

// Updates are in the language of the page.
func TestPagesUpdateInTheirLanguage(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Locales = []string{"en", "de"} })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	english := tab(t, chromium, f.public(0, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	german := tab(t, chromium, f.public(1, fmt.Sprintf("/de/shop/products/%d", lamp.ID)))
	list := tab(t, chromium, f.public(1, "/de/shop"))
	lamp = f.edit(t, 0, lamp.Rev, `{"title":"Leuchte","price":"1234.50","stock":2}`)
	mug = f.edit(t, 1, mug.Rev, `{"stock":0}`)
	for page, want := range map[context.Context][]string{
		english: {"€1,234.50", "Only 2 left", "Live"},
		german:  {"1.234,50\u00a0€", "Nur noch 2", "Live"},
		list:    {"1.234,50\u00a0€", "Ausverkauft"},
	} {
		shows(t, page, lamp.Rev)
		if page == list {
			shows(t, page, mug.Rev)
		}
		text := eval[string](t, page, `document.body.innerText`)
		for _, words := range want {
			if !strings.Contains(text, words) {
				t.Errorf("no %q in %q", words, text)
			}
		}
	}
	for _, page := range []context.Context{english, german} {
		if title := eval[string](t, page, `document.title`); title != "Leuchte · Test & Sons" {
			t.Errorf("the page is called %q", title)
		}
	}
}
