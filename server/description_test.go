package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"shelfcast/server"
	"shelfcast/store"
)

// The HTML of a description stays within its product's element, and is removed with
// it; the pages show what is allowed in it.
func TestDescriptionCannotLeaveItsProduct(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Videos = true })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	const frame = `<iframe src='https://www.youtube.com/embed/x'></iframe>`
	lamp = f.edit(t, 0, lamp.Rev,
		`{"description":"<p style='text-align:right'>Soft.</div></div></section><p>Wash at 30</p>`+frame+`"}`)
	mug = f.edit(t, 1, mug.Rev, `{"description":"<ul><li><div><li>Wash at 40</li></div></li></ul>"}`)
	chromium := browser(t)
	pages := map[string]store.Product{"lamp": lamp, "mug": mug}
	for _, p := range pages {
		page := tab(t, chromium, f.public(1, fmt.Sprintf("/shop/products/%d", p.ID)))
		run(t, page, chromedp.Evaluate[chromedp.Void](watch))
		for what, script := range map[string]string{
			"the description is in its place": `document.querySelector("section.detail .description")` +
				`.innerText.includes("Wash at")`,
			"so is what comes after it": `document.querySelector("section.detail .description + .sku") !== null`,
			"nothing is beside the product": `document.querySelector("main > section.detail") !== null && ` +
				`!document.querySelector("main > p, body > p, main > ul")`,
			"text is where the merchant had it": `!document.querySelector("iframe") || ` +
				`getComputedStyle(document.querySelector(".description p")).textAlign === "right"`,
		} {
			if !eval[bool](t, page, script) {
				t.Errorf("%s: not true: %s in %s", p.SKU, what, eval[string](t, page, `document.querySelector("main").outerHTML`))
			}
		}
		if p.SKU == "lamp" && eval[int](t, page, `document.querySelectorAll("iframe").length`) != 1 {
			t.Error("the video's frame is gone")
		}
		now := f.edit(t, 0, p.Rev, `{"description":"<p style='text-align:center'>Wash at 60</p>"}`)
		shows(t, page, now.Rev)
		if text := eval[string](t, page, `document.body.innerText`); strings.Count(text, "Wash at") != 1 ||
			!strings.Contains(text, "Wash at 60") {
			t.Errorf("%s: after an edit the page says %s", p.SKU, text)
		}
		got := eval[string](t, page, `getComputedStyle(document.querySelector(".description p")).textAlign`)
		if got != "center" {
			t.Errorf("an update's text is %s", got)
		}
		if wrong := eval[[]string](t, page, `wrong`); len(wrong) > 0 {
			t.Errorf("%s: %q", p.SKU, wrong)
		}
	}
}

// HTML that is removed from a description is reported to its sender, on each route.
func TestRemovedHTMLIsReported(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	const bad, said = `<p onclick=a()>x<script>y</script></p>`, `"removed":"\u003cp onclick\u003e, \u003cscript\u003e"`
	edits := fmt.Sprintf(`{"edits":[{"id":%d,"version":%d,`+
		`"set":{"description":"<iframe src=//www.youtube.com/embed/x></iframe>"}}]}`, mug.ID, mug.Version)
	csv := "Handle,Title,Body (HTML),Variant SKU,Variant Price\npot,Pot," + bad + ",pot,1.00\n"
	for _, c := range []struct {
		status             int
		method, path, body string
		seen               *store.Rev
		want               string
	}{
		{200, "PATCH", productPath(lamp), `{"description":"` + bad + `"}`, &lamp.Rev, said},
		{201, "POST", "/api/v1/products",
			`{"sku":"x","title":"x","price":"1","currency":"EUR","description":"` + bad + `"}`, nil, said},
		{200, "POST", "/api/v1/products:batch", edits, nil, `"removed":"\u003ciframe\u003e"`},
		{200, "POST", "/api/v1/products:import", csv, nil, `"cleaned":1`},
		{200, "POST", "/api/v1/products:import", csv, nil, said}, // again, although nothing changes
	} {
		h := bearer(token)
		if c.seen != nil {
			h.Set("If-Match", etag(*c.seen))
		}
		if strings.HasSuffix(c.path, ":import") {
			h.Set("Content-Type", "text/csv")
		}
		status, _, answer := f.admin(t, 0, c.method, c.path, c.body, h)
		answer = strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(answer)
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, answer)
		}
	}

	d := f.signedIn(t, browser(t), 1, "")
	l := d.line(mug.Rev)
	l.click(".toggle")
	l.edit("description", bad)
	l.click(".save")
	d.until(l.is(".problem") + `.innerText.includes("<p onclick>, <script>")`)
	if got := l.value("description"); got != "<p>x</p>" {
		t.Errorf("the description is %q", got)
	}
}
