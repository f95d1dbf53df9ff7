package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shelfcast/store"
)

// stocked creates many products of another vendor than the lamp and the mug.
func (f *fleet) stocked(t testing.TB, n int) {
	t.Helper()
	edits := make([]map[string]any, n)
	for i := range edits {
		edits[i] = map[string]any{"action": "create", "set": map[string]any{
			"sku": fmt.Sprintf("cup-%02d", i), "title": fmt.Sprintf("Cup %02d", i), "vendor": "Kiln & Co",
			"price": fmt.Sprintf("%d.00", 10+i), "currency": "EUR",
		}}
	}
	body, err := json.Marshal(map[string]any{"edits": edits, "all_or_nothing": true})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, answer := f.admin(t, 0, "POST", "/api/v1/products:batch", string(body), nil); status != http.StatusOK {
		t.Fatal(answer)
	}
}

// The search is in the URL, page after page, and back and forward work.
func TestAdminPageSearch(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, _ := f.product(t, "lamp"), f.product(t, "mug")
	f.stocked(t, 60)
	d := f.signedIn(t, browser(t), 0, "?vendor=Kiln+%26+Co&published=false&sort=-price")
	titles := func() string {
		return eval[string](t, d.ctx, `[...document.querySelectorAll(".product [name=title]")].map((i) => i.value).join(",")`)
	}
	shows := func(want string) {
		t.Helper()
		d.until(fmt.Sprintf(
			`[...document.querySelectorAll(".product [name=title]")].map((i) => i.value).join(",") === %q`, want))
	}
	if got := titles(); !strings.HasPrefix(got, "Cup 59,Cup 58,") || strings.Count(got, ",") != 49 {
		t.Errorf("it begins with %s", got)
	}
	d.js(`document.querySelector("#more").focus()`)
	d.press(kb.Enter)
	d.until(`document.querySelectorAll(".product").length === 60`)
	if got := titles(); !strings.HasSuffix(got, ",Cup 01,Cup 00") ||
		!eval[bool](t, d.ctx, `document.querySelector("#more").hidden`) {
		t.Errorf("it ends with %s", got)
	}

	// Unsaved input survives a search, with its row.
	d.js(`document.querySelector("#clear").click()`)
	d.until(`location.search === "" && document.querySelectorAll(".product").length === 50`)
	d.line(lamp.Rev).edit("price", "5.55")
	d.js(`document.activeElement.blur()`)
	// A real key press would also be typed.
	d.js(`document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}))`)
	d.press("mug")
	shows("The lamp,The mug")
	d.until(`location.search === "?q=mug"`)
	if got := d.line(lamp.Rev).value("price"); got != "5.55" {
		t.Errorf("he had typed %s", got)
	}
	d.line(lamp.Rev).edit("price", "5.55"+kb.Escape)
	d.js(`document.querySelector("#filter").focus()`)
	d.retype("no such thing")
	d.until(`document.querySelector("#count").textContent .startsWith("Nothing found for “")`)
	d.run(chromedp.Evaluate[chromedp.Void](`history.back()`))
	shows("The mug")
	if got := eval[string](t, d.ctx, `document.querySelector("#filter").value`); got != "mug" {
		t.Errorf("the search is for %q", got)
	}
	d.run(chromedp.Evaluate[chromedp.Void](`history.back()`))
	d.until(`location.search === "" && document.querySelectorAll(".product").length === 50`)
	d.run(chromedp.Evaluate[chromedp.Void](`history.forward()`))
	shows("The mug")
	d.run(chromedp.Reload(), chromedp.Evaluate[chromedp.Void](watch))
	d.ready()
	shows("The mug")
}

// The result of the last search is shown, even if an earlier one is answered after it.
func TestAdminPageShowsLastSearch(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	f.product(t, "lamp")
	f.product(t, "mug")
	d := f.signedIn(t, browser(t), 0, "")
	d.js(`
		const real = window.fetch;
		window.slow = new Promise((go) => { window.go = go; });
		window.fetch = async (path, init) => {
			if (!path.includes("q=lamp")) return real(path, init);
			const answer = await (await real(path, {...init, signal: undefined})).json();
			await window.slow;
			return {ok: true, json: async () => { window.late = true; return answer; }};
		}; null`)
	d.js(`document.querySelector("#filter").focus()`)
	d.retype("lamp\r")
	d.until(`location.search === "?q=lamp"`)
	d.retype("mug\r")
	d.until(`document.querySelector(".product [name=title]").value === "The mug" && ` +
		`document.querySelectorAll(".product").length === 1`)
	d.js(`go()`)
	d.until(`window.late`)
	d.js(`new Promise((done) => setTimeout(done))`) // until its effects are done
	got := eval[string](t, d.ctx, `[...document.querySelectorAll(".product [name=title]")].map((i) => i.value).join()`)
	if got != "The mug" {
		t.Errorf("it shows %s", got)
	}
}

// Prices of a search are changed only after a dry run of exactly that change.
func TestAdminPageRepriceNeedsDryRun(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	f.stocked(t, 1)
	chromium := browser(t)
	own := tab(t, chromium, f.public(1, fmt.Sprintf("/shop/products/%d", lamp.ID)))
	d := f.signedIn(t, chromium, 0, "?vendor=Co&published=true")
	d.run(chromedp.Click(css("#bulk-open")))
	d.until(`document.querySelector("#bulk").open && document.activeElement.name === "percent"`)
	if got := d.text("#bulk .scope-text"); got != "All products from the vendor “Co”, that are published." {
		t.Errorf("it is about %q", got)
	}
	enabled := func() bool { return eval[bool](t, d.ctx, `!document.querySelector("[data-apply]").disabled`) }
	outcome := func(want string) {
		t.Helper()
		d.until(fmt.Sprintf(`document.querySelector("#bulk .outcome").textContent.includes(%q)`, want))
	}
	d.press("a lot\r")
	d.until(`document.querySelector("#bulk [name=percent]").getAttribute("aria-invalid") === "true"`)
	d.retype("-100\r")
	d.until(`document.querySelector("#bulk .problem").textContent.includes("must be above -100")`)
	if enabled() {
		t.Error("what was refused may be made")
	}
	d.retype("-10\r")
	outcome("2 products found. 2 prices would change, on 1 open page.")
	if !enabled() {
		t.Error("what was tried may not be made")
	}
	d.press("5") // -105 was not
	if enabled() {
		t.Error("what was not tried may be made")
	}
	d.press(kb.Backspace)
	if !enabled() {
		t.Error("what was tried may not be made any more")
	}
	d.run(chromedp.SetValue(css("#bulk [name=compare_at_price]"), "set"))
	if enabled() {
		t.Error("what was not tried may be made")
	}
	if got := f.now(t, lamp.Rev); got.Rev != lamp.Rev {
		t.Fatalf("trying has changed it: %v", got.Price)
	}
	d.press(kb.Enter)
	d.until(`!document.querySelector("[data-apply]").disabled`)
	d.run(chromedp.Click(css("[data-apply]")))
	outcome("Changed 2 prices")
	if enabled() {
		t.Error("it may be made twice")
	}
	until(t, own, `document.body.innerText.includes("€17.91") && document.body.innerText.includes("€19.90")`)
	for _, r := range []store.Rev{lamp.Rev, mug.Rev} {
		d.until(d.line(r).field("price") + `.value === "17.91"`) // and on the page
	}
	f.cup(t, "10.00")
}

// cup returns a product of stocked by its price.
func (f *fleet) cup(t testing.TB, price string) {
	t.Helper()
	found, _, err := f.db.List(t.Context(), store.Filter{SKU: "cup-00"}, store.Page{})
	if err != nil || len(found) != 1 || found[0].Price.String() != price {
		t.Errorf("the cup: %v, %v", found, err)
	}
}

// A product is created, published, hidden, archived and restored on the admin page,
// and the history shows it.
func TestAdminPageProductLifecycle(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	f.product(t, "lamp")
	chromium := browser(t)
	shop := tab(t, chromium, f.public(1, "/shop"))
	d := f.signedIn(t, chromium, 0, "")
	d.run(chromedp.Click(css("#new")))
	d.press("<b>Vase</b> & Co\r")
	d.until(`document.querySelector("#create [name=sku]").getAttribute("aria-invalid") === "true"`)
	d.press("lamp")
	d.js(`document.querySelector("#create [name=price]").focus()`)
	d.press("24,50\r")
	d.until(`document.querySelector("#create .problem").textContent.includes("another product")`)
	d.retype("vase\r")
	d.until(`!document.querySelector("#create").open && document.querySelectorAll(".product").length === 2`)
	found, _, err := f.db.List(t.Context(), store.Filter{SKU: "vase"}, store.Page{})
	if err != nil || len(found) != 1 || found[0].Price.String() != "24.50" || found[0].Published {
		t.Fatalf("got %v, %v", found, err)
	}
	l := d.line(found[0].Rev)
	l.click(".toggle")
	act := func(button, done string) {
		t.Helper()
		l.click(button)
		d.until(fmt.Sprintf(`document.querySelector("#notice").textContent.includes(%q)`, done))
	}
	act(".publish", "is published")
	l.edit("description", "<p>Of <em>glass</em>.</p><script>alert(1)</script>")
	d.press(kb.Enter, chromedp.ModifierCtrl)
	d.until(`document.querySelector("#unsaved").hidden`)
	if got := l.value("description"); got != "<p>Of <em>glass</em>.</p>" {
		t.Errorf("its description is %q", got)
	}
	run(t, shop, chromedp.Reload())
	until(t, shop, `document.body.innerText.includes("<b>Vase</b> & Co")`)

	l.click(".archive")
	d.until(`document.querySelector("#confirm").open`)
	d.press(kb.Escape)
	d.until(`!document.querySelector("#confirm").open && document.activeElement.classList.contains("archive")`)
	if got := f.now(t, found[0].Rev); got.Archived {
		t.Error("Escape has archived it")
	}
	l.click(".archive")
	d.run(chromedp.Click(css("#confirm [data-yes]")))
	d.until(l.is(".badge") + `.checkVisibility()`)
	until(t, shop,
		fmt.Sprintf(`document.querySelector('[data-product-id="%d"]').innerText.includes("not available")`, l.id))
	act(".archive", "is restored") // the button now restores it
	act(".publish", "hidden from shoppers")
	f.toldOf(t, d, l)
}

// toldOf checks the history of the vase after 25 more edits.
func (f *fleet) toldOf(t *testing.T, d *adminPage, l line) {
	p := f.now(t, store.Rev{ID: l.id})
	for i := range 25 {
		p = f.edit(t, 1, p.Rev, fmt.Sprintf(`{"stock":%d}`, i+1))
	}
	entries := `document.querySelectorAll("#history .entries > li")`
	l.click(".history")
	d.until(entries + `.length === 20`)
	if got := d.text("#history .entries > li"); !strings.Contains(got, "admin token edited it") ||
		!strings.Contains(got, "24") || !strings.Contains(got, "→ 25") {
		t.Errorf("the newest entry is %q", got)
	}
	d.run(chromedp.Click(css("[data-older]")))
	d.until(entries + `.length === 31 && document.querySelector("[data-older]").hidden`)
	deeds := eval[[]string](t, d.ctx, `[...`+entries+`].slice(-6).map((e) => `+
		`e.querySelector(".summary").innerText.split(" · ")[0].replace("admin token ", ""))`)
	if got := strings.Join(deeds, ","); got != "edited it,restored it,archived it,edited it,edited it,created it" {
		t.Errorf("it tells of %s", got)
	}
	if got := eval[string](t, d.ctx, entries+`[30].innerText`); !strings.Contains(got, "<b>Vase</b> & Co") ||
		strings.Contains(got, "→") {
		t.Errorf("it begins with %q", got)
	}
	d.press(kb.Escape)
	d.until(`document.activeElement.classList.contains("history")`)
}

// Open pages are counted over both instances.
func TestAdminPageCountsWatchers(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	for n := range 2 {
		s := f.shopper(t, n, "")
		s.watch("card", lamp.Rev)
		s.settled()
	}
	d := f.signedIn(t, browser(t), 0, "")
	for r, want := range map[store.Rev]string{lamp.Rev: "2 open pages", mug.Rev: "0 open pages"} {
		d.until(d.line(r).is(".open .sr") + fmt.Sprintf(`.textContent === %q`, want))
	}
	s := f.shopper(t, 1, "")
	s.watch("detail", mug.Rev)
	d.until(d.line(mug.Rev).is(".open .sr") + `.textContent === "1 open page"`)
}
