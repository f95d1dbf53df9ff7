package server_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// script bundles a module, which may be JSX, with what it imports from web and its node_modules.
func script(t testing.TB, code string) string {
	t.Helper()
	build := exec.Command("go", "run", "-C", "../web/build", ".", "module", "..")
	build.Stdin, build.Stderr = strings.NewReader(code), new(strings.Builder)
	bundled, err := build.Output()
	if err != nil {
		t.Fatalf("%v: %v (make web-test installs the modules)", err, build.Stderr)
	}
	return string(bundled)
}

// As in happy-dom, so in a browser: with random fragments and random visitors, nothing
// typed, chosen or focused is lost.
func TestUpdateKeepsInputAndFocus(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", map[string]string{
		"/": `<!DOCTYPE html><html lang="en"><title>Stories</title><script type="module" src="/stories.js"></script>`,
		"/stories.js": script(t, `
			import * as fc from "fast-check";
			import { morph } from "./client/morph.js";
			import { stories, play } from "./test/fragments.js";
			window.check = (numRuns) => {
				const result = fc.check(fc.property(stories(fc), (story) => {
					const wrong = play(document, morph, story);
					if (wrong.length > 0) throw new Error(wrong.join("\n"));
				}), { numRuns });
				return result.failed ? fc.defaultReportMessage(result) : "";
			};`),
	})
	page := open(t, browser(t), s.URL)
	until(t, page, `window.check !== undefined`)
	for range 5 { // in steps, each a task of the browser
		if report := eval[string](t, page, `check(100)`); report != "" {
			t.Fatal(report)
		}
	}
}

// Updates keep what only a browser has: playing media, frames, dialogs, popovers, a
// text selection, scroll.
func TestUpdateKeepsVisitorState(t *testing.T) {
	t.Parallel()
	body := func(more string) string {
		return `<section data-product-id="1">` + more + `<p id="text">A text to select from</p>
			<audio id="song" src="/song.wav" loop muted></audio><iframe id="frame" src="/frame.html"></iframe>
			<dialog id="dialog"><button>In it</button></dialog><div id="pop" popover>Sizes</div>
			<div id="list" style="height: 40px; overflow: auto"><p style="height: 400px">Long</p></div>
			<div data-live-keep id="kept"><i>The page's own</i></div>` + more + `</section>`
	}
	s := newSite(t, "", map[string]string{
		"/": `<!DOCTYPE html><html lang="en"><title>Visit</title><body>` + body("") +
			`<script type="module" src="/visit.js"></script>`,
		"/frame.html": `<!DOCTYPE html><title>Frame</title><input>`,
		"/song.wav":   silence,
		"/visit.js": script(t, `
			import { morph } from "./client/morph.js";
			window.update = (html) => {
				const holder = document.createElement("template");
				holder.innerHTML = html;
				morph(document.querySelector("section"), holder.content.firstElementChild);
			};`),
	})
	page := open(t, browser(t, chromedp.Flag("autoplay-policy", "no-user-gesture-required")), s.URL)
	until(t, page, `window.update && document.querySelector("iframe").contentDocument?.querySelector("input")`)
	run(t, page, chromedp.Evaluate[chromedp.Void](`
		window.song = document.querySelector("audio");
		song.play();
		document.querySelector("iframe").contentDocument.querySelector("input").value = "typed";
		document.querySelector("dialog").show();
		document.querySelector("[popover]").showPopover();
		document.querySelector("#list").scrollTop = 120;
		document.querySelector("#kept").innerHTML = "<b>What the page made of it</b>";
		const text = document.querySelector("#text").firstChild;
		getSelection().setBaseAndExtent(text, 2, text, 6);
		song.onpause = () => { window.stopped = true }`))
	until(t, page, `song.currentTime > 0.1`)
	before := eval[float64](t, page, `song.currentTime`)
	for n := range 3 {
		run(t, page, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("update(`%s`)", body(strings.Repeat("<p>New</p>", n)))))
	}
	for what, script := range map[string]string{
		"the song plays on": fmt.Sprintf(`document.querySelector("audio") === song && !song.paused && `+
			`!window.stopped && song.currentTime >= %f`, before),
		"the frame was not loaded anew": `document.querySelector("iframe").contentDocument.querySelector("input")` +
			`.value === "typed"`,
		"the dialog is open":           `document.querySelector("dialog").open`,
		"the popover is open":          `document.querySelector("[popover]").matches(":popover-open")`,
		"the list is where it was":     `document.querySelector("#list").scrollTop === 120`,
		"the page's own is left alone": `document.querySelector("#kept").innerText === "What the page made of it"`,
		"the selection is there":       `getSelection().toString() === "text"`,
	} {
		if !eval[bool](t, page, script) {
			t.Errorf("not true: %s", what)
		}
	}
}

// Typing continues during an update, wherever the caret is. It uses real keys, as
// scripts set values without a caret.
func TestTypingContinuesDuringUpdates(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", map[string]string{
		"/": `<!DOCTYPE html><html lang="en"><title>Keys</title><body><main tabindex="-1"><section data-product-id="1">` +
			keysFragment(1) + `</section></main><script type="module" src="/keys.js"></script>`,
		"/keys.js": script(t, `
			import { morph } from "./client/morph.js";
			for (const mode of ["open", "closed"]) {
				customElements.define(mode + "-box", class extends HTMLElement {
					connectedCallback() {
						this.inner ??= this.attachShadow({ mode });
						this.inner.innerHTML ||= "<input>";
					}
					get value() { return this.inner.firstChild.value }
				});
			}
			window.update = (html) => {
				const holder = document.createElement("template");
				holder.innerHTML = "<section data-product-id=1>" + html + "</section>";
				morph(document.querySelector("section"), holder.content.firstElementChild);
			};`),
	})
	page := open(t, browser(t), s.URL)
	until(t, page, `window.update !== undefined`)
	price := 1
	change := func() {
		t.Helper()
		price++
		run(t, page, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("update(`%s`)", keysFragment(price))))
		if got := eval[string](t, page, `document.querySelector("b").innerText`); got != fmt.Sprint("€", price) {
			t.Fatalf("the price is %s", got)
		}
	}
	for n, field := range keysFields {
		run(t, page, chromedp.Click(css("#field"+fmt.Sprint(n))), chromedp.KeyEvent("14"+kb.ArrowLeft))
		change()
		run(t, page, chromedp.KeyEvent("2"))
		change()
		run(t, page, chromedp.KeyEvent("53"+kb.Backspace+kb.Backspace+"3"))
		change()
		value := fmt.Sprintf(`(e => e.value ?? e.innerText)(document.querySelector("#field%d"))`, n)
		if got := eval[string](t, page, value); got != "1234" {
			t.Errorf("%s: 1, 2, 3 and 4 were typed, and %q is there", fmt.Sprintf(field, ""), got)
		}
	}

	// A focused element may have a selection, and an update that changes its text keeps
	// it.
	run(t, page, chromedp.Evaluate[chromedp.Void](`document.querySelector("main").focus();
		const price = document.querySelector("b").firstChild; getSelection().setBaseAndExtent(price, 0, price, 1)`))
	change()
	if got := eval[string](t, page, `getSelection().toString()`); got != "€" {
		t.Errorf("of the price %q is selected", got)
	}
}

// keysFields are fields to type in, each with an id.
var keysFields = []string{
	"<input type=number%s>", "<input type=email%s>", "<input%s>", "<input type=search%s>", "<input type=tel%s>",
	"<textarea%s></textarea>", "<div contenteditable%s></div>", "<div contenteditable=plaintext-only%s></div>",
	"<open-box%s></open-box>", "<closed-box%s></closed-box>",
}

// keysFragment returns the inside of a fragment at a price: the text before the fields
// grows with it.
func keysFragment(price int) string {
	html := fmt.Sprintf("<p><b>€%d</b></p>%s", price, strings.Repeat("<p>In stock</p>", price%3))
	for i, field := range keysFields {
		html += fmt.Sprintf(field, fmt.Sprintf(" id=field%d data-price=%d", i, price))
	}
	return html
}

// silence is a second of it, as a WAV file.
var silence = "RIFF\x64\x1f\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00" +
	"\x01\x00\x08\x00data\x40\x1f\x00\x00" + strings.Repeat("\x80", 8000)

// A page can use its own morph function with one line.
func TestPageWithIdiomorph(t *testing.T) {
	t.Parallel()
	f := embedding(t)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := newSite(t, "", map[string]string{
		"/": fmt.Sprintf(`<!DOCTYPE html><html lang="en"><title>Shop</title><script type="module" src="/shop.js"></script>
			<p data-product-id="%d" data-view="detail"></p><p data-product-id="%d" data-view="card"></p>`, lamp.ID, mug.ID),
		"/shop.js": script(t, fmt.Sprintf(`
			import { Idiomorph } from "idiomorph";
			import { connect } from "./client/shelfcast.js";
			window.morphs = 0;
			connect({ endpoint: %q, morph: (a, b) => { window.morphs++; `+
			`Idiomorph.morph(a, b, { ignoreActiveValue: true }) } });`, f.public(0, ""))),
	})
	page := open(t, browser(t), s.URL)
	shows(t, page, lamp.Rev)
	shows(t, page, mug.Rev)
	run(t, page, chromedp.SendKeys(css(`input[name=note]`), "for my sister"))
	lamp, mug = f.edit(t, 0, lamp.Rev, `{"price":"17.50"}`), f.edit(t, 1, mug.Rev, `{"price":"7.50"}`)
	shows(t, page, lamp.Rev)
	shows(t, page, mug.Rev)
	if note := eval[string](t, page, `document.activeElement.value`); note != "for my sister" {
		t.Errorf("the visitor has %q under his hands", note)
	}
	if n := eval[int](t, page, `morphs`); n != 4 {
		t.Errorf("idiomorph was called %d times", n)
	}
}
