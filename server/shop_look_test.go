package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// Pictures for the products of showShop.
var things = []struct{ sku, title, vendor, price, before, stock, ground, drawing string }{
	{"lamp", "Ember Table Lamp", "Nordlicht", "79.00", "99.00", "12", "#e9dcc9",
		`<path d="M70 96l14-46h32l14 46z" fill="#c8643c"/><path d="M96 96h8v52h-8z" fill="#4a3b2f"/>` +
			`<ellipse cx="100" cy="152" rx="28" ry="7" fill="#4a3b2f"/>`},
	{"mug", "Harbour Mug", "Kiln & Co", "14.50", "", "64", "#d5dfe1",
		`<rect x="64" y="66" width="60" height="70" rx="8" fill="#31586b"/>` +
			`<rect x="64" y="92" width="60" height="14" fill="#e8e2d6"/>` +
			`<path d="M124 82h10a16 16 0 010 34h-10" fill="none" stroke="#31586b" stroke-width="9"/>`},
	{"chair", "Loft Dining Chair with a Name That Is Rather Long", "Werkhof", "189.00", "", "3", "#e6e1d4",
		`<path d="M68 40h10v112H68zM122 96h10v56h-10z" fill="#6b4a2b"/>` +
			`<path d="M68 44h52v30H68zM68 92h64v12H68z" fill="#9b7046"/>`},
	{"vase", "Dune Vase", "Kiln & Co", "46.00", "", "0", "#efe0d6",
		`<path d="M88 44h24l-4 26c22 14 26 40 14 62a20 20 0 01-16 10H94a20 20 0 01-16-10c-12-22-8-48 14-62z" ` +
			`fill="#b98468"/>`},
	{"plant", "Rubber Plant, medium", "Grünraum", "34.90", "", "1", "#dbe5d6",
		`<path d="M98 60h4v60h-4z" fill="#3c5a37"/>` +
			`<path d="M100 96C60 92 58 60 66 50c30 4 38 22 34 46zM102 84c2-32 22-44 40-42 6 22-8 42-40 42z" fill="#4f7a46"/>` +
			`<path d="M76 118h48l-6 36H82z" fill="#b4623f"/>`},
	{"clock", "Noon Wall Clock", "Nordlicht", "64.00", "", "21", "#dcdce6",
		`<circle cx="100" cy="100" r="52" fill="#fbfaf7" stroke="#33344a" stroke-width="8"/>` +
			`<path d="M100 100V66M100 100l24 14" stroke="#33344a" stroke-width="6" stroke-linecap="round"/>`},
	{"board", "Oak Cutting Board", "Herd", "52.00", "", "11", "#e7ddcf",
		`<rect x="62" y="50" width="76" height="104" rx="12" fill="#a87645"/>` +
			`<circle cx="100" cy="66" r="6" fill="#e7ddcf"/>` +
			`<path d="M74 88h52M74 110h52M74 132h52" stroke="#946437" stroke-width="3"/>`},
	{"candle", "Fig & Cedar Candle", "Kerzenhaus", "24.00", "32.00", "40", "#e5d8dc",
		`<rect x="70" y="78" width="60" height="72" rx="8" fill="#f4efe6"/>` +
			`<rect x="70" y="100" width="60" height="26" fill="#6f4254"/>` +
			`<path d="M100 50c8 10 8 18 0 24-8-6-8-14 0-24z" fill="#e39a3b"/>`},
}

// showShop creates a shop for screenshots, with products in each state; the last two
// are unpublished and archived.
func showShop(t *testing.T) (*fleet, []store.Product) {
	t.Helper()
	assets := t.TempDir()
	for _, thing := range things {
		drawing := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><rect width="200" height="200" fill="` +
			thing.ground + `"/>` + thing.drawing + `</svg>`
		if err := os.WriteFile(filepath.Join(assets, thing.sku+".svg"), []byte(drawing), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := startFleet(t, func(s *server.Settings) {
		s.Locales, s.Assets, s.ShopName, s.PageSize = []string{"en", "de"}, assets, "Haus & Hof", 8
	})
	var made []store.Product
	for n := range 14 {
		thing := things[n%len(things)]
		before := "null"
		if thing.before != "" {
			before = `"` + thing.before + `"`
		}
		body := fmt.Sprintf(`{"sku":"%s-%d","title":%q,"vendor":%q,"price":%q,"compare_at_price":%s,"currency":"EUR",`+
			`"stock":%s,"published":true,"image_url":"/assets/%s.svg",
			"description":"<p>A small thing for a <em>large</em> evening.</p>`+
			`<ul><li>Made to be kept</li><li>Sent within two days</li></ul>"}`,
			thing.sku, n, thing.title, thing.vendor, thing.price, before, thing.stock, thing.sku)
		if n == 13 {
			body = strings.Replace(body, thing.sku+".svg", "missing.svg", 1)
		}
		status, _, answer := f.admin(t, 0, "POST", "/api/v1/products", body, nil)
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, answer)
		}
		made = append(made, parse[store.Product](t, answer))
	}
	f.edit(t, 0, made[12].Rev, `{"published":false}`)
	archive := fmt.Sprintf("/api/v1/products/%d/archive", made[11].ID)
	status, _, answer := f.admin(t, 0, "POST", archive, "", http.Header{"If-Match": {etag(made[11].Rev)}})
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	return f, made
}

// visit opens a page of the shop, which must have no errors.
func (f *fleet) visit(t *testing.T, browser context.Context, first ...chromedp.Action[chromedp.Void]) *adminPage {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	run(t, ctx, first...)
	return &adminPage{t, ctx}
}

// The shop is accessible by axe-core's rules on each of its pages, in light and in
// dark, on a desktop and on the smallest phone.
func TestShopIsAccessible(t *testing.T) {
	t.Parallel()
	checker := axe(t)
	f, made := showShop(t)
	own := func(n int) string { return fmt.Sprintf("/shop/products/%d", made[n].ID) }
	pages := []struct{ name, path string }{
		{"shop", "/shop"}, {"shop-de", "/de/shop?sort=-price"}, {"search", "/shop?q=la"},
		{"vendor", "/shop?vendor=Kiln+%26+Co"}, {"empty", "/shop?q=zebra"},
		{"last", fmt.Sprintf("/shop?after=%d", made[7].ID)}, {"product", own(1)}, {"sale", own(0)}, {"low", own(2)},
		{"sold-out", own(3)}, {"product-de", "/de" + own(7)}, {"unpublished", own(12)},
		{"archived", "/de" + own(11)}, {"404", "/shop/products/4711"}, {"400", "/de/shop?sort=x"},
	}
	for _, look := range []struct {
		name, scheme   string
		held, pictured chromedp.Action[chromedp.Void] // for axe-core, and for the screenshot
	}{
		{"light desktop", "1", chromedp.EmulateViewport(1280, 900), chromedp.EmulateViewport(1280, 900)},
		{"dark phone", "0", phone(320), phone(390)},
	} {
		chromium := browserOfScheme(t, look.scheme)
		d := f.visit(t, chromium, look.held)
		for n, page := range pages {
			// Each page is checked in one look, and with SHELFCAST_TEST_LONG in both.
			if os.Getenv("SHELFCAST_TEST_LONG") == "" && n > 2 && n%2 != len(look.name)%2 {
				continue
			}
			what := look.name + " " + page.name
			d.run(chromedp.Navigate(f.public(n%2, page.path)), chromedp.Evaluate[chromedp.Void](watch+checker+"; null"))
			if dark := eval[bool](t, d.ctx, `matchMedia("(prefers-color-scheme: dark)").matches`); dark != (look.scheme == "0") {
				t.Fatal("the browser does not prefer the scheme that it was told to")
			}
			d.until(`document.querySelector("[data-live-status]").textContent && ` +
				`[...document.images].every((i) => i.complete || i.loading === "lazy")`)
			d.accessible(what)
			d.targets(what)
			if wrong := eval[[]string](t, d.ctx, `window.wrong`); len(wrong) > 0 {
				t.Errorf("%s: %q", what, wrong)
			}
			d.picture(strings.ReplaceAll(what, " ", "-"), look.pictured)
			d.run(look.held)
		}
	}
}

// targets checks the size of what can be clicked (WCAG 2.2, 2.5.8).
func (d *adminPage) targets(what string) {
	d.t.Helper()
	const targets = `"a:not([aria-hidden]):not(.skip), button, input, summary"`
	small := eval[[]string](d.t, d.ctx, `[...document.querySelectorAll(`+targets+`)]`+
		`.filter((e) => e.checkVisibility()).filter((e) => {
		const after = getComputedStyle(e, "::after").position === "absolute" ? e.closest("article") : e;
		const box = after.getBoundingClientRect();
		return box.width < 24 || box.height < 24;
	}).map((e) => e.outerHTML)`)
	for _, e := range small {
		d.t.Errorf("%s: too small to be hit: %s", what, e)
	}
}

// arrives waits until the next page is loaded and the script is true for it.
func (d *adminPage) arrives(script string) {
	d.t.Helper()
	testkit.Eventually(d.t, script, func() bool {
		const loaded = `document.readyState === "complete" && Boolean(`
		there, err := chromedp.Run(d.ctx, chromedp.Evaluate[bool](loaded+script+`)`))
		return err == nil && there // between two pages there is no document
	})
}

// The whole shop can be used by keyboard, and the focus is visible.
func TestShopWorksByKeyboard(t *testing.T) {
	t.Parallel()
	f, made := showShop(t)
	d := f.visit(t, browser(t), chromedp.EmulateViewport(1000, 800), chromedp.Navigate(f.public(0, "/shop")))
	seen := func() {
		t.Helper()
		if !eval[bool](t, d.ctx, `["solid", "auto"].includes(getComputedStyle(document.activeElement).outlineStyle) || `+
			`getComputedStyle(document.activeElement, "::after").outlineStyle === "solid"`) {
			t.Errorf("the focus cannot be seen at %s", eval[string](t, d.ctx, `document.activeElement.outerHTML`))
		}
	}
	d.press(kb.Tab)
	if !eval[bool](t, d.ctx, `document.activeElement.matches(".skip") && `+
		`document.activeElement.getBoundingClientRect().height > 20`) {
		t.Fatal("the first Tab does not lead to the skip link")
	}
	seen()
	d.press(kb.Enter)
	d.arrives(`location.hash === "#main"`)
	d.tabTo(`e.matches(".sort summary")`)
	seen()
	d.press(kb.Enter)
	d.arrives(`document.querySelector(".sort").open`)
	d.tabTo(`e.textContent === "Price, low to high"`)
	seen()
	d.press(kb.Enter)
	d.arrives(`location.search === "?sort=price"`)
	if got := eval[string](t, d.ctx, `document.querySelector(".card .title").innerText`); got != "Harbour Mug" {
		t.Errorf("the cheapest is %s", got)
	}
	d.tabTo(`e.matches(".chips a") && e.textContent === "Nordlicht"`)
	seen()
	d.press(kb.Enter)
	d.arrives(`location.search.includes("vendor=Nordlicht")`)
	d.tabTo(`e.matches(".card .title a") && e.textContent === "Ember Table Lamp"`)
	seen()
	d.press(kb.Enter)
	d.arrives(fmt.Sprintf(`/products\/(%d|%d)$/.test(location.pathname)`, made[0].ID, made[8].ID))
	d.tabTo(`e.name === "quantity"`)
	seen()
	d.tabTo(`e.matches("[data-action=add-to-cart]")`)
	seen()
	d.js(`document.activeElement.blur()`)
	d.tabTo(`e.name === "q"`)
	d.press("mug\r")
	d.arrives(`location.search === "?q=mug"`)
	if got := eval[int](t, d.ctx, `document.querySelectorAll(".card").length`); got != 2 {
		t.Errorf("%d mugs", got)
	}
	d.tabTo(`e.hreflang === "de"`)
	seen()
	d.press(kb.Enter)
	d.arrives(`location.pathname === "/de/shop" && location.search === "?q=mug" && document.documentElement.lang === "de"`)
}

// withoutScripts turns JavaScript off.
var withoutScripts = chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
	_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	return err
})

// Without JavaScript everything works except updates.
func TestShopWithoutJavaScript(t *testing.T) {
	t.Parallel()
	f, made := showShop(t)
	d := f.visit(t, browser(t), chromedp.EmulateViewport(1000, 800), withoutScripts,
		chromedp.Navigate(f.public(1, "/shop")))
	if got := eval[string](t, d.ctx, `document.querySelector("[data-live-status]").textContent`); got != "" {
		t.Fatalf("scripts run: it is %s", got)
	}
	d.run(chromedp.SendKeys(css(`input[name=q]`), "lamp\r"))
	d.arrives(`location.search === "?q=lamp"`)
	if got := d.text("h1"); got != "Results for “lamp”" {
		t.Errorf("it says %q", got)
	}
	d.run(chromedp.Click(css(`.chips a[href*=Nordlicht]`)))
	d.arrives(`location.search === "?q=lamp&vendor=Nordlicht"`)
	d.run(chromedp.Click(css(`.sort summary`)), chromedp.Click(css(`.sort li:last-child a`)))
	d.arrives(`location.search === "?q=lamp&sort=-price&vendor=Nordlicht"`)
	d.run(chromedp.Click(css(`.card .title a`)))
	d.arrives(`document.querySelector("h1")?.textContent === "Ember Table Lamp"`)
	d.run(chromedp.Click(css(`.crumbs a`)))
	d.arrives(`location.pathname === "/shop"`)
	d.run(chromedp.Click(css(`.pages [rel=next]`)))
	d.arrives(fmt.Sprintf(`location.search === "?after=%d"`, made[7].ID))
	d.run(chromedp.Click(css(`.pages [rel=prev]`)))
	d.arrives(fmt.Sprintf(`document.querySelector('[data-product-id="%d"]')`, made[0].ID))
}
