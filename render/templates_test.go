package render_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t testing.TB, cfg render.Config) *render.Templates {
	t.Helper()
	cfg.Files = append(cfg.Files, web.Templates)
	templates, err := render.Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return templates
}

func price(s string) store.Price {
	p, err := store.ParsePrice(s)
	if err != nil {
		panic(err)
	}
	return p
}

func lamp() store.Product {
	return store.Product{
		Rev: store.Rev{ID: 42, Version: 1795433536820389}, SKU: "lamp-1", Title: "Ember Lamp", Vendor: "Nordlicht",
		Description: "<p>Warm <em>light</em>.</p>", ImageURL: "https://pictures.example/lamp.jpg",
		Price: price("1979.00"), Currency: "EUR", Stock: 12, Published: true,
	}
}

func TestFragmentsMatchGoldenFiles(t *testing.T) {
	was := price("2099.00")
	for name, change := range map[string]func(*store.Product){
		"plain":       func(*store.Product) {},
		"sale":        func(p *store.Product) { p.CompareAtPrice = &was; p.Stock = 3 },
		"sold-out":    func(p *store.Product) { p.Stock = 0 },
		"bare":        func(p *store.Product) { p.ImageURL, p.Vendor, p.Description = "", "", "" },
		"unpublished": func(p *store.Product) { p.Published = false },
		"hostile": func(p *store.Product) {
			p.Title, p.SKU, p.Vendor = `<script>alert("t")</script>`, `"><img src=x onerror=alert(1)>`, `A&B's`
			p.ImageURL = `/x" onerror="alert(1)`
			// Written by plain SQL.
			p.Description = `<p onclick="x()">a<script>alert(1)</script><a href="javascript:x()">b</a></p></div></section>`
		},
	} {
		p := lamp()
		change(&p)
		templates := load(t, render.Config{})
		for _, view := range []render.View{render.Card, render.Detail} {
			got, err := templates.Render(view, p)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", string(view)+"-"+name+".html")
			if *update {
				if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got+"\n" != string(want) {
				t.Errorf("%s is not what it was; go test -update, if that is meant. Now:\n%s", file, got)
			}
		}
	}
}

func TestHTMLInTextIsEscaped(t *testing.T) {
	p := lamp()
	p.Title, p.SKU = "<b>x</b>", `"><script>y</script>`
	for _, view := range []render.View{render.Card, render.Detail} {
		html, err := load(t, render.Config{}).Render(view, p)
		if err != nil || strings.Contains(html, "<b>") || strings.Contains(html, "<script") ||
			!strings.Contains(html, "&lt;b&gt;x") {
			t.Errorf("%v: %s", err, html)
		}
	}
}

func TestPricesFollowLocale(t *testing.T) {
	for _, c := range []struct{ locale, currency, price, want string }{
		{"en", "EUR", "1979.00", "€1,979.00"},
		{"de", "EUR", "1979.00", "1.979,00 €"},
		{"en", "JPY", "1979", "¥1,979"},
		{"en", "KWD", "1.500", "KWD 1.500"},
		{"en", "XQQ", "5", "5 XQQ"}, // another program's row
	} {
		p := lamp()
		p.Currency, p.Price = c.currency, price(c.price)
		html, err := load(t, render.Config{Locales: []string{c.locale}}).Render(render.Card, p)
		if err != nil || !strings.Contains(strings.ReplaceAll(html, "\u00a0", " "), c.want) {
			t.Errorf("%v: %v %s", c, err, html)
		}
	}
}

func TestTemplateFolderOverridesBuiltIn(t *testing.T) {
	const html = `<li data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="card">mine</li>`
	mine := fstest.MapFS{"card.html": {Data: []byte(html)}}
	ours, theirs := load(t, render.Config{}), load(t, render.Config{Files: []fs.FS{mine}})
	card, err := theirs.Render(render.Card, lamp())
	if err != nil || !strings.Contains(card, "mine") {
		t.Errorf("%v %s", err, card)
	}
	detail, err := theirs.Render(render.Detail, lamp())
	if err != nil || !strings.Contains(detail, "Ember Lamp") {
		t.Errorf("%v %s", err, detail)
	}
	if ours.Hash() == theirs.Hash() || ours.Hash() == load(t, render.Config{Locales: []string{"de"}}).Hash() ||
		ours.Hash() == load(t, render.Config{Videos: true}).Hash() {
		t.Error("different templates have the same hash")
	}
	if ours.Hash() != load(t, render.Config{ShopName: "Another"}).Hash() {
		t.Error("equal templates have different hashes")
	}
}

// Each file in views/ is a view: of the shop owner's own, and of ours that he
// puts his own before, there or beside the pages.
func TestTemplateFolderAddsViews(t *testing.T) {
	const row = `<tr data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="{{.View}}">` +
		`<td>{{template "amount" .}}</td></tr>`
	mine := fstest.MapFS{
		"views/row.html":     {Data: []byte(row)},
		"views/.#row.html":   {Data: []byte("{{an editor's own")},
		"views/card.html":    {Data: []byte(strings.ReplaceAll(row, "tr", "li"))},
		"detail.html":        {Data: []byte(strings.ReplaceAll(row, "tr", "ol"))},
		"parts/amount.html":  {Data: []byte(`{{define "amount"}}{{.Price}} each{{end}}`)},
		"views/notes.txt":    {Data: []byte("{{what is this")},
		"views/deep/no.html": {Data: []byte("{{what is this")},
	}
	templates := load(t, render.Config{Files: []fs.FS{mine}})
	if got := templates.Views(); !slices.Equal(got, []render.View{"card", "detail", "odoo", "row"}) {
		t.Errorf("the views are %v", got)
	}
	for view, tag := range map[render.View]string{"row": "<tr ", "card": "<li ", "detail": "<ol "} {
		loan := []byte(view)
		parsed, ok := templates.ParseView(string(loan))
		if loan[0] = 'x'; !ok || parsed != view {
			t.Errorf("%s is read as %q", view, parsed)
		}
		for _, p := range []store.Product{lamp(), {Rev: rev(42, 7)}} {
			html, err := templates.Render(view, p)
			if err != nil || !strings.HasPrefix(html, tag) || !strings.Contains(html, fmt.Sprintf(`data-view="%s"`, view)) {
				t.Errorf("%s: %v %s", view, err, html)
			}
		}
	}
	for _, name := range []string{"", "row.html", "Row", "deep/no", "shop", "../card"} {
		if view, ok := templates.ParseView(name); ok {
			t.Errorf("%q is the view %q", name, view)
		}
	}
	if _, err := templates.Render("no", lamp()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown view: error %v", err)
	}
	if templates.Hash() == load(t, render.Config{}).Hash() {
		t.Error("an added view does not change the hash")
	}
}

func TestBadTemplateFailsToLoad(t *testing.T) {
	const good = `<p data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="{{.View}}">`
	for name, c := range map[string]struct{ file, text, says string }{
		"a syntax error":   {"card.html", "<!-- mine -->\n" + `<p data-product-id="{{.ID}"></p>`, "card.html:2"},
		"no such field":    {"views/row.html", "\n\n" + good + `{{.Colour}}</p>`, "views/row.html:3:"},
		"no such function": {"views/row.html", "\n" + good + `{{colour .Title}}</p>`, "views/row.html:2"},
		"no version": {"views/row.html", "\n" + `<p data-product-id="{{.ID}}" data-view="row"></p>`,
			`views/row.html:2: its element <p> lacks data-product-version="17"`},
		"another's view": {"card.html", strings.ReplaceAll(good, "{{.View}}", "detail") + `</p>`,
			`card.html:1: its element <p> lacks data-view="card"`},
		"only if it's sold": {"views/card.html", `{{if .Available}}` + good + `</p>{{end}}`,
			"views/card.html:1: it must render one element"},
		"only if it's low": {"views/card.html", `{{if not .Low}}` + good + `</p>{{end}}`,
			"views/card.html:1: it must render one element"},
		"two elements":    {"views/row.html", good + `</p><p></p>`, "views/row.html:1: it must render one element"},
		"not on the root": {"views/row.html", `<div>` + good + `</p></div>`, "views/row.html:1: its element <div> lacks"},
		"a name":          {"views/Row 1.html", good + `</p>`, "views/Row 1.html: the name of a view is"},
		"no such message": {"views/row.html", "\n" + good + `{{t "colour"}}</p>`,
			`views/row.html:2:89: executing "views/row.html" at <t "colour">: error calling t: ` +
				`there is no message "colour" in the language en`},
		"of a bad message": {"views/row.html", good + `{{t "left"}}{{t "left" .Title}}</p>`, `views/row.html:1:`},
		"a broken message": {"locales/en.json", `{"sold_out": "{{.Colour"}`, `message "sold_out" in the language en`},
		"broken messages":  {"locales/en.json", "{\n\n\"sold_out\" \"x\"}", `messages locales/en.json: line 3`},
		"a page":           {"shop.html", "{{define \"content\"}}\n{{.Colour}}{{end}}", "shop.html:2"},
		"a layout":         {"layout.html", `{{define "layout"}}`, "layout.html:1"},
		"a page's state": {"message.html", `{{define "content"}}{{if eq .Status 503}}{{.Colour}}{{end}}{{end}}`,
			"message.html:1"},
		"a part": {"parts/x.html", "\n{{define", "parts/x.html:2"},
	} {
		files := fstest.MapFS{c.file: {Data: []byte(c.text)}}
		_, err := render.Load(render.Config{Files: []fs.FS{files, web.Templates}})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got error %v, want %q", name, err, c.says)
		}
	}
}

func TestPagesMatchGoldenFiles(t *testing.T) {
	templates := load(t, render.Config{ShopName: `A & "B"`, Locales: []string{"de", "en"}})
	controls := render.ListControls{Query: "<lamp>", Next: "/shop?after=9"}
	for name, page := range map[string]render.Page{
		"shop":    {List: controls},
		"product": {Title: "<Lamp>"},
		"message": {Status: 404},
		"admin":   {},
	} {
		page.Assets = "/assets/abc"
		var html strings.Builder
		if err := templates.Page(&html, name, page); err != nil {
			t.Fatal(err)
		}
		lang := `<html lang="de">`
		if name == "admin" { // whose words are English, and whose numbers are the shop's
			lang = `<html lang="en" data-locale="de">`
		}
		for _, want := range []string{lang, "/assets/abc/", "A &amp; "} {
			if !strings.Contains(html.String(), want) {
				t.Errorf("%s: no %q in %s", name, want, html.String())
			}
		}
		for _, not := range []string{"<Lamp>", "<lamp>", " style=", " onclick="} {
			if strings.Contains(html.String(), not) {
				t.Errorf("%s: %q in %s", name, not, html.String())
			}
		}
	}
	if err := templates.Page(&strings.Builder{}, "nothing", render.Page{}); err == nil {
		t.Error("an unknown page was rendered")
	}
}

// BenchmarkDeflate is what permessage-deflate (RFC 7692) would do to a frame:
// how many bytes it leaves, and what it costs, once a version for the server
// and once a delivery for the browser. A context of its own for each session,
// which would leave fewer, takes some 300 KB of memory, a hundred times a
// session.
func BenchmarkDeflate(b *testing.B) {
	templates := load(b, render.Config{})
	p := store.Product{Rev: store.Rev{ID: 42, Version: 1795433536820389}, Title: "Ember Lamp", Vendor: "Nordlicht",
		Published: true, Stock: 7,
		Description: strings.Repeat("<p>A lamp of smoked glass, blown by hand; no two are alike.</p>", 6),
		ImageURL:    "https://pictures.example/lamp.jpg", Price: price("19.90"), Currency: "EUR"}
	for _, view := range []render.View{render.Card, render.Detail} {
		html, err := templates.Render(view, p)
		if err != nil {
			b.Fatal(err)
		}
		f, err := render.NewFragment(view, p, html)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("view="+string(view), func(b *testing.B) {
			var out bytes.Buffer
			w, err := flate.NewWriter(&out, flate.BestSpeed)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				out.Reset()
				w.Reset(&out)
				w.Write(f.JSON())
				w.Flush()
			}
			b.ReportMetric(float64(len(f.JSON())), "bytes")
			b.ReportMetric(float64(out.Len()), "bytes-deflated")
		})
	}
}
