package server_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axe returns axe-core, a checker of accessibility, from the client's node_modules.
func axe(t testing.TB) string {
	t.Helper()
	script, err := os.ReadFile("../web/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal("the browser's modules are missing: make web-test installs them: ", err)
	}
	return string(script)
}

// accessible checks the page with axe-core, and that it is not wider than the window.
func (d *adminPage) accessible(what string) {
	d.t.Helper()
	// Colours differ during an animation.
	d.js(`Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {})))`)
	d.js(`axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => {
		window.checked = passes.length;
		window.violated = violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + ` +
		`n.target.join(" ") + ": " + n.failureSummary));
	})`)
	for _, violation := range eval[[]string](d.t, d.ctx, `window.violated`) {
		d.t.Errorf("%s: %s", what, violation)
	}
	if n := eval[int](d.t, d.ctx, `window.checked`); n < 10 {
		d.t.Errorf("%s: only %d rules were looked at", what, n)
	}
	over := eval[int](d.t, d.ctx, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
	if over > 0 {
		d.t.Errorf("%s: %d pixels do not fit", what, over)
	}
}

// picture saves a screenshot with go test -artifacts.
func (d *adminPage) picture(name string, from chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if wanted := flag.Lookup("test.artifacts"); wanted == nil || wanted.Value.String() != "true" {
		return
	}
	d.run(from)
	png, err := chromedp.Run(d.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(d.t.ArtifactDir(), name+".png"), png, 0o644)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// browserOfScheme starts a browser that prefers light ("1") or dark ("0"), without a
// back/forward cache, whose pages would each be a process.
func browserOfScheme(t testing.TB, scheme string) context.Context {
	t.Helper()
	return browser(t, chromedp.Flag("blink-settings", "preferredColorScheme="+scheme),
		chromedp.Flag("disable-back-forward-cache", true), chromedp.Flag("renderer-process-limit", "1"))
}

// phone emulates a touch screen of that width.
func phone(width int64) chromedp.Action[chromedp.Void] {
	return chromedp.EmulateViewport(width, 740, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait)
}

// The page is accessible by axe-core's rules, in each of its states, in light on a
// desktop and in dark on the smallest phone.
func TestAdminPageIsAccessible(t *testing.T) {
	t.Parallel()
	checker := axe(t)
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	f.stocked(t, 8)
	for _, look := range []struct {
		name, scheme   string
		held, pictured chromedp.Action[chromedp.Void] // for axe-core, and for the screenshot
	}{
		{"desktop", "1", chromedp.EmulateViewport(1280, 900), chromedp.EmulateViewport(1280, 900)},
		{"phone", "0", phone(320), phone(360)},
	} {
		chromium := browserOfScheme(t, look.scheme)
		d := f.adminPage(t, chromium, 0, "")
		d.run(look.held, chromedp.Evaluate[chromedp.Void](checker+"; null"))
		if dark := eval[bool](t, d.ctx, `matchMedia("(prefers-color-scheme: dark)").matches`); dark != (look.scheme == "0") {
			t.Fatal("the browser does not prefer the scheme that it was told to")
		}
		state := func(name string) {
			t.Helper()
			d.accessible(look.name + " " + name)
			d.picture(look.name+"-"+name, look.pictured)
			d.run(look.held)
		}
		state("0-signing-in")
		d.run(chromedp.SendKeys(css(`#sign-in input[name=token]`), token+"\n"))
		d.ready()
		state("1-list")

		d.line(mug.Rev).edit("price", "abc\r")
		l := d.line(lamp.Rev)
		l.edit("price", "12.00")
		lamp = f.edit(t, 1, f.now(t, lamp.Rev).Rev, fmt.Sprintf(`{"price":"%d.50","stock":%d}`, 20+lamp.Stock, lamp.Stock+1))
		l.js(l.is(".toggle") + `.click()`)
		d.until(l.is("caption") + `?.innerText.includes("admin token")`)
		state("2-conflict")
		for i, dialog := range []string{l.form(".history"), "#bulk-open", "#new", l.form(".archive")} {
			d.js(fmt.Sprintf(`document.querySelector('%s').click()`, dialog))
			d.until(`document.querySelector("dialog[open]") && !document.querySelector("#history[open] .entries:empty")`)
			if strings.HasPrefix(dialog, "#") {
				d.press("-5\r")
				d.until(`document.querySelector("dialog[open] [aria-invalid], dialog[open] .outcome:not(:empty)")`)
			}
			state(fmt.Sprint(3+i, "-dialog"))
			d.js(`document.querySelector("dialog[open]").close()`)
		}
		d.js(`document.querySelector("[data-undo]").click()`)
	}
}

// Everything can be done by keyboard, and the focus is visible.
func TestAdminPageWorksByKeyboard(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	d := f.adminPage(t, browser(t), 0, "")
	d.until(`document.activeElement.name === "token"`)
	d.press(token + "\r")
	d.ready()
	d.tabTo(`e.classList.contains("skip")`)
	d.press(kb.Enter) // skip the search
	d.tabTo(`e.name === "title" && e.value === "The lamp"`)
	for _, name := range []string{"price", "compare_at_price", "stock", "published"} { // the order of the columns
		d.press(kb.Tab)
		if got := eval[string](t, d.ctx, `document.activeElement.name`); got != name {
			t.Errorf("Tab leads to %q, and not to %q", got, name)
		}
		if seen := eval[string](t, d.ctx, `getComputedStyle(document.activeElement).outlineStyle`); seen != "solid" {
			t.Errorf("the focus at %s cannot be seen", name)
		}
	}
	d.press(" ") // unpublish
	d.press(kb.ArrowDown)
	d.press(" ")
	if got := eval[string](t, d.ctx, `document.activeElement.form.dataset.id`); got != fmt.Sprint(mug.ID) {
		t.Errorf("the arrow leads to product %s", got)
	}
	d.press(kb.Enter)
	d.until(d.line(mug.Rev).is(".save") + `.hidden`)
	if f.now(t, mug.Rev).Published || !f.now(t, lamp.Rev).Published {
		t.Error("the mug is published, or the lamp is not")
	}
	d.press(kb.ArrowUp)
	d.press(kb.Escape)
	d.until(`document.querySelector("#unsaved").hidden`)
	d.tabTo(`e.classList.contains("toggle")`)
	d.press(kb.Enter)
	d.tabTo(`e.classList.contains("history")`)
	d.press(kb.Enter)
	d.until(`document.querySelectorAll("#history li").length === 1`)
	for range 5 { // the focus stays in the dialog
		d.press(kb.Tab)
		got := eval[string](t, d.ctx, `document.activeElement.closest("dialog")?.id ?? document.activeElement.tagName`)
		if got != "history" && got != "BODY" {
			t.Errorf("Tab leads out of the dialog, to %s", got)
		}
	}
	d.press(kb.Escape)
	d.until(`!document.querySelector("#history").open && document.activeElement.classList.contains("history")`)
	d.tabTo(`e.classList.contains("archive")`)
	d.press(kb.Enter)
	d.tabTo(`e.hasAttribute("data-yes")`)
	d.press(kb.Enter)
	d.until(d.line(lamp.Rev).is(".badge") + `.checkVisibility()`)
	if !f.now(t, lamp.Rev).Archived || f.now(t, mug.Rev).Archived {
		t.Error("the lamp is not archived, or the mug is")
	}
}
