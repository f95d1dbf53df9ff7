package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A site is a shop's own pages, of another origin: the page and the content security
// policy at each path.
type site struct {
	*httptest.Server
	files map[string]string
	csp   string
}

func newSite(t testing.TB, csp string, files map[string]string) *site {
	t.Helper()
	s := &site{files: files, csp: csp}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for ending, kind := range map[string]string{".js": "text/javascript", ".css": "text/css"} {
			if strings.HasSuffix(r.URL.Path, ending) {
				w.Header().Set("Content-Type", kind+"; charset=utf-8")
			}
		}
		if s.csp != "" {
			w.Header().Set("Content-Security-Policy", s.csp)
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

// embedding starts a fleet that pages of any origin may use.
func embedding(t testing.TB) *fleet {
	t.Helper()
	return startFleet(t, func(s *server.Settings) { s.Origins = []string{"*"} })
}

// open opens a page in a tab, and counts violations of its content security policy.
func open(t testing.TB, browser context.Context, url string) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	run(t, ctx, chromedp.EmulateViewport(1000, 700), chromedp.Navigate(url))
	return ctx
}

// closeTab closes a tab as a visitor does.
func closeTab(t testing.TB, page context.Context) {
	t.Helper()
	if err := chromedp.Cancel(page); err != nil {
		t.Fatal(err)
	}
}

// shows waits until each element of the product shows that version.
func shows(t testing.TB, page context.Context, r store.Rev) {
	t.Helper()
	until(t, page, fmt.Sprintf(`(all => all.length > 0 && all.every(e => e.dataset.productVersion === "%d"))`+
		`([...document.querySelectorAll('[data-product-id="%d"]')])`, r.Version, r.ID))
}

func (f *fleet) sessions() (n int) {
	for _, i := range f.instances {
		n += i.Sessions()
	}
	return n
}

// watched returns how many sessions of the fleet watch a product.
func (f *fleet) watched(t testing.TB, id int64) int {
	t.Helper()
	status, _, answer := f.admin(t, 0, "GET", fmt.Sprintf("/api/v1/pages?ids=%d", id), "", nil)
	if status != http.StatusOK {
		t.Fatal(status, answer)
	}
	return parse[struct{ Pages int }](t, answer).Pages
}

// Tabs of a browser share one connection, open and close, and each gets updates of
// what it shows.
func TestTabsShareOneConnection(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	shop := tab(t, chromium, f.public(0, "/shop"))
	own := tab(t, chromium, f.public(0, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	other, closeOther := chromedp.NewContext(chromium)
	defer closeOther()
	run(t, other, chromedp.Navigate(f.public(0, fmt.Sprintf("/shop/products/%d", mug.ID))),
		chromedp.WaitVisible(css(`[data-live-status="live"]`)))
	testkit.Eventually(t, "all is watched", func() bool { return f.watched(t, lamp.ID) == 1 && f.watched(t, mug.ID) == 1 })
	if n := f.sessions(); n != 1 {
		t.Errorf("three tabs have %d connections", n)
	}
	lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
	mug = f.edit(t, 0, mug.Rev, `{"price":"7.50"}`)
	shows(t, shop, lamp.Rev)
	shows(t, shop, mug.Rev)
	shows(t, own, lamp.Rev)
	shows(t, other, mug.Rev)

	// A tab that is opened later, and one that is closed.
	late := tab(t, chromium, f.public(0, "/shop"))
	closeOther()
	lamp = f.edit(t, 0, lamp.Rev, `{"price":"18.50"}`)
	for _, page := range []context.Context{shop, own, late} {
		shows(t, page, lamp.Rev)
	}
	if n := f.sessions(); n != 1 {
		t.Errorf("%d connections", n)
	}
	for _, page := range []context.Context{shop, late} { // only the shop's page shows the mug now
		run(t, page, chromedp.Navigate("about:blank"))
	}
	testkit.Eventually(t, "what no tab shows is not watched", func() bool { return f.watched(t, mug.ID) == 0 })
	lamp = f.edit(t, 0, lamp.Rev, `{"price":"19.50"}`)
	shows(t, own, lamp.Rev)
	for _, page := range []context.Context{shop, own, late} {
		closeTab(t, page)
	}
	testkit.Eventually(t, "without tabs there is no connection", func() bool { return f.sessions() == 0 })
}

// strict is a policy that allows a page only its own files and the fleet.
const strict = "default-src 'none'; script-src 'self' %[1]s; worker-src 'self' %[1]s; connect-src %[1]s %[2]s; " +
	"style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'"

func strictFor(f *fleet) string {
	tier := f.public(0, "")
	return fmt.Sprintf(strict, tier, strings.Replace(tier, "http", "ws", 1))
}

const violations = `
	window.violations = [];
	document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI));
`

// A page of another origin with a strict policy and one script tag shows current
// products, also those that it adds later, and does not load hidden ones.
func TestPageOfOtherOriginIsLive(t *testing.T) {
	t.Parallel()
	f := embedding(t)
	lamp, mug, sofa, bed := f.product(t, "lamp"), f.product(t, "mug"), f.product(t, "sofa"), f.product(t, "bed")
	s := newSite(t, strictFor(f), map[string]string{
		"/count.js": violations,
		"/tall.css": ".far { padding-top: 9000px }",
		"/": fmt.Sprintf(`<!DOCTYPE html><html lang="en"><title>Shop</title><link rel="stylesheet" href="/tall.css">`+
			`<script src="/count.js"></script>
			<script type="module" src="%s/assets/shelfcast.js" data-endpoint></script>
			<div id="first"><p data-product-id="%d" data-view="card"></p></div>`+
			`<div id="second"><p data-product-id="%[2]d" data-view="card"></p></div>
			<live-product product="%d"></live-product>
			<div id="list"></div>
			<div class="far"><p data-product-id="%d" data-view="card"></p></div>`, f.public(0, ""), lamp.ID, mug.ID, sofa.ID),
	})
	page := open(t, browser(t), s.URL)
	shows(t, page, lamp.Rev)
	shows(t, page, mug.Rev)
	text := eval[string](t, page, `document.querySelector("live-product").innerText`)
	if !strings.Contains(text, "The mug") {
		t.Errorf("the element has %q", text)
	}
	run(t, page, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector("#list").innerHTML = `+
		`'<p data-product-id="%d" data-view="card" data-product-version="0"></p>'`, bed.ID)))
	shows(t, page, bed.Rev)
	lamp, bed = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`), f.edit(t, 0, bed.Rev, `{"price":"170.50"}`)
	shows(t, page, lamp.Rev) // in both places
	shows(t, page, bed.Rev)
	if n := f.watched(t, sofa.ID); n != 0 {
		t.Error("what is far from the screen is watched")
	}
	run(t, page, chromedp.Evaluate[chromedp.Void](`scrollTo(0, 9000)`))
	shows(t, page, sofa.Rev)
	run(t, page, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		`document.querySelector("live-product").setAttribute("product", "%d"); scrollTo(0, 0)`, bed.ID)))
	until(t, page, `document.querySelector("live-product").innerText.includes("The bed")`)
	if got := eval[[]string](t, page, `violations`); len(got) != 0 {
		t.Errorf("the policy forbids %q", got)
	}
}

// With a one-line worker of its own origin, such a shop has one connection per
// browser; without it, one per tab.
func TestSharedWorkerOfShop(t *testing.T) {
	t.Parallel()
	f := embedding(t)
	lamp := f.product(t, "lamp")
	page := func(more string) string {
		return fmt.Sprintf(`<!DOCTYPE html><html lang="en"><title>Shop</title><script src="/count.js"></script>
			<script type="module" src="%s/assets/shelfcast.js" data-endpoint %s></script>`+
			`<p data-product-id="%d" data-view="card"></p>`, f.public(0, ""), more, lamp.ID)
	}
	s := newSite(t, strictFor(f), map[string]string{
		"/count.js": violations, "/alone": page(""), "/together": page(`data-worker="/live-worker.js"`),
		"/live-worker.js": fmt.Sprintf(`import "%s/assets/shelfcast-worker.js";`, f.public(0, "")),
	})
	chromium := browser(t)
	for path, connections := range map[string]int{"/alone": 2, "/together": 1} {
		tabs := []context.Context{open(t, chromium, s.URL+path), open(t, chromium, s.URL+path)}
		for _, tab := range tabs {
			shows(t, tab, lamp.Rev)
		}
		if n := f.sessions(); n != connections {
			t.Errorf("%s: %d connections", path, n)
		}
		lamp = f.edit(t, 1, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, connections+40))
		for _, tab := range tabs {
			shows(t, tab, lamp.Rev)
			if got := eval[[]string](t, tab, `violations`); len(got) != 0 {
				t.Errorf("%s: the policy forbids %q", path, got)
			}
			closeTab(t, tab)
		}
		testkit.Eventually(t, "all have gone", func() bool { return f.sessions() == 0 })
	}
}
