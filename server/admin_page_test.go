package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"shelfcast/store"
)

// now returns the product in the database.
func (f *fleet) now(t testing.TB, r store.Rev) store.Product {
	t.Helper()
	p, err := f.db.Product(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An edit on the admin page of one instance reaches a shopper on the other.
func TestAdminPageEditReachesShop(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	chromium := browser(t)
	shop := tab(t, chromium, f.public(1, "/shop"))
	d := f.adminPage(t, chromium, 0, "")
	d.run(chromedp.SendKeys(css(`#sign-in input[name=token]`), "not a token\n"))
	d.until(`document.querySelector("#sign-in .problem").textContent.includes("unknown")`)
	d.run(chromedp.SendKeys(css(`#sign-in input[name=token]`), token+"\n"))
	d.ready()
	if got := d.text("#who"); !strings.Contains(got, "admin token") {
		t.Errorf("signed in as %q", got)
	}

	l := d.line(lamp.Rev)
	l.edit("price", "12.34\r")
	until(t, shop, `document.body.innerText.includes("€12.34")`)
	d.until(`document.querySelector("#notice").textContent.startsWith("Saved")`)

	// Someone else edits the product while the page is hidden: the page reports the
	// conflict on save, and loses nothing.
	d.look(false)
	f.edit(t, 1, f.now(t, lamp.Rev).Rev, `{"price":"13.00","stock":3}`)
	l.edit("price", "55.00\r")
	d.until(l.is(".conflict") + `.innerText.includes("This product was changed by")`)
	if got := f.now(t, lamp.Rev); got.Price.String() != "13.00" || l.value("price") != "55.00" {
		t.Errorf("the shop has %v, and the admin page %s", got.Price, l.value("price"))
	}

	// Invalid input is reported and changes nothing.
	d.look(true)
	l.edit("price", "abc")
	l.click(".mine")
	d.until(l.field("price") + `.getAttribute("aria-invalid") === "true"`)
	l.edit("price", "1.234\r") // and this one is reported by the server
	d.until(l.is(".problem") + `.innerText.includes("more digits than EUR")`)
	if got := f.now(t, lamp.Rev); got.Price.String() != "13.00" || got.Stock != 3 {
		t.Errorf("got %v %v", got.Price, got.Stock)
	}
	if got := f.now(t, mug.Rev); got.Rev != mug.Rev {
		t.Error("the other product has changed")
	}
	if status, _, _ := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/admin", "", nil); status != http.StatusOK {
		t.Error(status)
	}
	l.press(kb.Escape) // or the browser would ask before leaving
	d.until(`document.querySelector("#unsaved").hidden`)
}

// Two people edit the same two products. In a conflict the second one keeps their
// value for one product and takes the other's for the other.
func TestAdminPageShowsEditConflict(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	_, secret, err := f.db.CreateToken(t.Context(), "Berta", []string{store.WriteProducts}, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := f.signedIn(t, browser(t), 0, "")
	d.look(false) // so that the conflict is found by the server
	lines := map[store.Rev]line{}
	for _, r := range []store.Rev{lamp.Rev, mug.Rev} {
		lines[r] = d.line(r)
		status, _, answer := f.admin(t, 1, "PATCH", fmt.Sprintf("/api/v1/products/%d", r.ID), `{"price":"15.00","stock":3}`,
			http.Header{"If-Match": {etag(r)}, "Authorization": {"Bearer " + secret}})
		if status != http.StatusOK {
			t.Fatal(answer)
		}
		l := lines[r]
		l.edit("price", "16.50\r")
		l.until(l.is(".conflict") + `.innerText.includes("Berta")`)
		said := l.text(l.form(".conflict"))
		for _, want := range []string{"€15.00", "16.50", "Stock 7 → 3"} {
			if !strings.Contains(said, want) {
				t.Errorf("no %q in %q", want, said)
			}
		}
		if got := eval[string](t, d.ctx, `document.activeElement.className`); got != "conflict whole" {
			t.Errorf("the focus is at %q", got)
		}
	}
	lines[lamp.Rev].click(".mine")
	lines[mug.Rev].click(".theirs")
	d.until(`document.querySelector("#unsaved").hidden && ` +
		`document.querySelectorAll(".conflict:not([hidden])").length === 0`)
	for r, want := range map[store.Rev]string{lamp.Rev: "16.50", mug.Rev: "15.00"} {
		if got := f.now(t, r); got.Price.String() != want || got.Stock != 3 || lines[r].value("price") != want {
			t.Errorf("%s: the shop has %v and %d, and the admin page %s", got.SKU, got.Price, got.Stock, lines[r].value("price"))
		}
	}
}

// An edit on another instance appears on the page, and does not disturb what is being
// typed.
func TestAdminPageMergesEditWhileTyping(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	d := f.signedIn(t, browser(t), 0, "")
	l, other := d.line(lamp.Rev), d.line(mug.Rev)
	l.edit("price", "16.5")
	f.edit(t, 1, mug.Rev, `{"title":"Another mug"}`)
	d.until(other.field("title") + `.value === "Another mug"`)
	edited := f.edit(t, 1, lamp.Rev, `{"price":"15.00","stock":3}`)
	d.until(l.field("stock") + `.value === "3" && ` + l.is(".of-price .note") +
		`?.innerText === "Someone else changed this to €15.00"`)
	d.until(`document.querySelector("#notice").textContent !== ""`)
	got := eval[string](t, d.ctx, `document.activeElement.name + " " + document.activeElement.value`)
	if got != "price 16.5" {
		t.Errorf("under his hands is %q", got)
	}
	d.press("0") // typing continues
	if got := l.value("price"); got != "16.50" {
		t.Errorf("he has typed %q", got)
	}

	// Enter does not overwrite it; the button does.
	d.press(kb.Enter)
	if got := f.now(t, lamp.Rev); got.Rev != edited.Rev {
		t.Errorf("it was overwritten with %v", got.Price)
	}
	l.click(".mine")
	d.until(`document.querySelector("#unsaved").hidden`)
	if got := f.now(t, lamp.Rev); got.Price.String() != "16.50" || got.Stock != 3 {
		t.Errorf("got %v %v", got.Price, got.Stock)
	}

	// The page is hidden, and then visible again.
	d.look(false)
	f.edit(t, 1, f.now(t, mug.Rev).Rev, `{"stock":1}`)
	if got := other.value("stock"); got != "7" {
		t.Errorf("nobody looks, and the stock is %s", got)
	}
	d.look(true)
	d.until(other.field("stock") + `.value === "1"`)
}

// A read-only token shows everything and can change nothing.
func TestAdminPageHidesEditingFromReadOnlyToken(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	made, secret, err := f.db.CreateToken(t.Context(), "Reader", []string{store.ReadProducts}, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := f.adminPage(t, browser(t), 0, "#token="+secret)
	d.ready()
	left := eval[string](t, d.ctx, `location.href + sessionStorage.length + localStorage.length`)
	if strings.Contains(left, secret) || !strings.HasSuffix(left, "/admin10") {
		t.Errorf("the token is left at %q", left)
	}
	if got := d.text("#who"); !strings.Contains(got, "Reader") || !strings.Contains(got, "lacks products:write") {
		t.Errorf("signed in as %q", got)
	}
	for _, p := range []store.Product{lamp, mug} {
		l := d.line(p.Rev)
		l.click(".toggle")
		l.edit("price", "1.00\r")
		if got := l.value("price"); got != "19.90" {
			t.Errorf("he has typed %s", got)
		}
		if got := f.now(t, p.Rev); got.Rev != p.Rev {
			t.Errorf("%s has changed", p.SKU)
		}
	}
	buttons := eval[[]string](t, d.ctx,
		`[...document.querySelectorAll("main button")].filter((b) => b.checkVisibility()).map((b) => b.innerText)`)
	if got := strings.Join(buttons, ","); got != "Less,History,Less,History" {
		t.Errorf("he may press %s", got)
	}

	// When it is revoked, the page says so and stays as it is.
	if _, err := f.db.RevokeToken(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	// Within seconds, by the call for watcher counts.
	d.until(`document.querySelector("#sign-in .problem").textContent.includes("revoked")`)
	d.run(chromedp.SendKeys(css(`#sign-in input[name=token]`), token+"\n"))
	d.until(`document.querySelector("#sign-in").hidden && !document.querySelector("#new").hidden`)
	d.line(lamp.Rev).edit("price", "1.00\r")
	d.until(`document.querySelector("#notice").textContent.startsWith("Saved")`)
}
