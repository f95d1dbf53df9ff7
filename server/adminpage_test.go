package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shelfcast/store"
)

// An adminPage is the admin page in a tab of its own.
type adminPage struct {
	t   testing.TB
	ctx context.Context
}

// watch makes the page record its errors.
const watch = `
	window.wrong = [];
	addEventListener("error", (e) => wrong.push(e.message));
	addEventListener("unhandledrejection", (e) => wrong.push(String(e.reason)));
	new ReportingObserver((reports) => ` +
	`wrong.push(...reports.map((r) => r.body.effectiveDirective + " forbids " + r.body.blockedURL)),
		{types: ["csp-violation"], buffered: true}).observe();`

// adminPage opens the page at instance n; query is what follows /admin. At the end of
// the test it must have had no errors and no violations of the content security
// policy.
func (f *fleet) adminPage(t testing.TB, browser context.Context, n int, query string) *adminPage {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	d := &adminPage{t, ctx}
	run(t, ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate("http://"+f.instances[n].AdminAddr()+"/admin"+query),
		chromedp.Evaluate[chromedp.Void](watch))
	t.Cleanup(func() {
		if wrong := eval[[]string](t, ctx, `window.wrong`); len(wrong) > 0 {
			t.Errorf("on the page went wrong: %q", wrong)
		}
	})
	return d
}

// signedIn opens the page with the token of the tests, and waits until it shows
// products and follows changes.
func (f *fleet) signedIn(t testing.TB, browser context.Context, n int, query string) *adminPage {
	t.Helper()
	d := f.adminPage(t, browser, n, query+"#token="+strings.ReplaceAll(token, " ", "+"))
	d.ready()
	return d
}

func (d *adminPage) ready() {
	d.t.Helper()
	d.until(`document.querySelector("#live").dataset.state === "live" && ` +
		`document.querySelector("#products:not([aria-busy]) .product")`)
}

func (d *adminPage) until(script string) {
	d.t.Helper()
	until(d.t, d.ctx, script)
}

func (d *adminPage) run(steps ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	run(d.t, d.ctx, steps...)
}

// js runs a script, and waits for its promise.
func (d *adminPage) js(script string) {
	d.t.Helper()
	d.run(chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise))
}

func (d *adminPage) text(selector string) string {
	d.t.Helper()
	return eval[string](d.t, d.ctx, fmt.Sprintf(`document.querySelector(%q).innerText`, selector))
}

// press sends keys to the element with the focus.
func (d *adminPage) press(keys string, held ...chromedp.Modifier) {
	d.t.Helper()
	d.run(chromedp.KeyEvent(keys, chromedp.KeyModifiers(held...)))
}

// tabTo presses Tab until the script is true for the element with the focus.
func (d *adminPage) tabTo(script string) {
	d.t.Helper()
	for range 60 {
		d.press(kb.Tab)
		if eval[bool](d.t, d.ctx, `((e) => `+script+`)(document.activeElement)`) {
			return
		}
	}
	d.t.Fatalf("Tab does not lead to where %s", script)
}

// retype replaces the text of the field with the focus.
func (d *adminPage) retype(text string) {
	d.t.Helper()
	d.press("a", chromedp.ModifierCtrl)
	d.press(text)
}

// A line is a product in the list of an adminPage.
type line struct {
	*adminPage
	id int64
}

func (d *adminPage) line(r store.Rev) line { return line{d, r.ID} }

// form returns a selector of its form, or of elements in it.
func (l line) form(selector string) string {
	return fmt.Sprintf(`form[data-id="%d"] %s`, l.id, selector)
}

// is a script of an element in it.
func (l line) is(selector string) string {
	return fmt.Sprintf(`document.querySelector('%s')`, l.form(selector))
}

func (l line) field(name string) string { return l.is("[name=" + name + "]") }

func (l line) value(name string) string {
	l.t.Helper()
	return eval[string](l.t, l.ctx, l.field(name)+".value")
}

// edit types into a field of the product.
func (l line) edit(name, text string) {
	l.t.Helper()
	l.js(l.field(name) + ".focus()")
	l.retype(text)
}

func (l line) click(selector string) {
	l.t.Helper()
	l.run(chromedp.Click(css(l.form(selector))))
}

// look makes the page visible or hidden.
func (d *adminPage) look(seen bool) {
	d.t.Helper()
	d.js(fmt.Sprintf(`Object.defineProperty(document, "hidden", {configurable: true, value: %t}); `+
		`document.dispatchEvent(new Event("visibilitychange"))`, !seen))
}
