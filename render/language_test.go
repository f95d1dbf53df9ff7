package render_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"shelfcast/render"
	"shelfcast/web"
)

// The same product in two languages: its words, its prices and its links are
// of the view's.
func TestProductIsRenderedInEachLanguage(t *testing.T) {
	templates := load(t, render.Config{Locales: []string{"en", "de"}})
	want := []render.View{"card", "card.de", "detail", "detail.de", "odoo", "odoo.de"}
	if got := templates.Views(); !slices.Equal(got, want) {
		t.Errorf("the views are %v", got)
	}
	p := lamp()
	p.Stock = 3
	for view, want := range map[render.View][]string{
		"card":      {"€1,979.00", "Only 3 left", `href="/shop/products/42"`, `data-view="card"`},
		"card.de":   {"1.979,00 €", "Nur noch 3 Stück", `href="/de/shop/products/42"`, `data-view="card.de"`},
		"detail":    {"€1,979.00", "Add to cart", `data-view="detail"`},
		"detail.de": {"1.979,00 €", "In den Warenkorb", `data-view="detail.de"`},
	} {
		html, err := templates.Render(view, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range want {
			if !strings.Contains(strings.ReplaceAll(html, "\u00a0", " "), s) {
				t.Errorf("%s: no %q in %s", view, s, html)
			}
		}
		f, err := render.NewFragment(view, p, html)
		if err != nil || (f.Title != "") != strings.HasPrefix(string(view), "detail") {
			t.Errorf("%s: the title is %q, %v", view, f.Title, err)
		}
	}
	for lang, want := range map[string]string{"en": "Nothing found", "de": "Nichts gefunden"} {
		var html strings.Builder
		if err := templates.Page(&html, "shop", render.Page{Lang: lang, List: render.ListControls{Query: "x"}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(html.String(), `<html lang="`+lang+`">`) || !strings.Contains(html.String(), want) {
			t.Errorf("%s: %s", lang, html.String())
		}
	}
}

// A shop owner brings a language that we do not have, says one thing otherwise
// in one that we have, and another in one of its countries.
func TestTemplateFolderAddsAndOverridesMessages(t *testing.T) {
	ours, err := fs.ReadFile(web.Templates, "locales/en.json")
	if err != nil {
		t.Fatal(err)
	}
	// In Polish the form depends on the count in a way that English does not know.
	polish := strings.ReplaceAll(string(ours), `"one": "Only {{.Count}} left",`,
		`"one": "{{.Count}} sztuka", "few": "{{.Count}} sztuki", "many": "{{.Count}} sztuk",`)
	mine := fstest.MapFS{
		"locales/pl.json":    {Data: []byte(polish)},
		"locales/de.json":    {Data: []byte(`{"sold_out": "Leider weg"}`)},
		"locales/de-AT.json": {Data: []byte(`{"add_to_cart": "Ins Sackerl"}`)},
	}
	templates := load(t, render.Config{Files: []fs.FS{mine}, Locales: []string{"de-at", "pl", "en"}})
	for _, c := range []struct {
		view  render.View
		stock int64
		want  string
	}{
		{"detail", 0, "Leider weg"},
		{"detail", 9, "Ins Sackerl"},
		{"detail", 9, "€ 1.979,00"}, // as Austria writes it
		{"detail", 9, "Auf Lager"},
		{"card.pl", 1, "1 sztuka"},
		{"card.pl", 2, "2 sztuki"},
		{"card.pl", 5, "5 sztuk<"},
		{"card.en", 0, "Sold out"},
	} {
		p := lamp()
		p.Stock = c.stock
		html, err := templates.Render(c.view, p)
		if err != nil || !strings.Contains(strings.ReplaceAll(html, "\u00a0", " "), c.want) {
			t.Errorf("%v: no %q in %s", err, c.want, html)
		}
	}
	languages := templates.Languages()
	if len(languages) != 3 || languages[0] != (render.Language{Tag: "de-AT", Name: "Deutsch"}) ||
		languages[1].Prefix != "/pl" {
		t.Errorf("the languages are %+v", languages)
	}
	const german = `{"add_to_cart": "Kaufen"}`
	files := fstest.MapFS{"locales/de.json": {Data: []byte(german)}}
	other := load(t, render.Config{Files: []fs.FS{files}, Locales: []string{"de"}})
	if other.Hash() == load(t, render.Config{Locales: []string{"de"}}).Hash() {
		t.Error("templates with different messages have the same hash")
	}
}

func TestInvalidLocaleIsRejected(t *testing.T) {
	for _, c := range []struct {
		locales []string
		says    string
	}{
		{[]string{"en", "what is this"}, `"what is this" is not a language`},
		{[]string{"en", "de", "de"}, "the language de is given twice"},
		{[]string{"en", "fr"}, "there are no messages in the language fr: add locales/fr.json"},
	} {
		_, err := render.Load(render.Config{Files: []fs.FS{web.Templates}, Locales: c.locales})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got error %v", c.locales, err)
		}
	}
	// Of a language of which one message is missing it is said where that is.
	few := fstest.MapFS{"locales/fr.json": {Data: []byte(`{"language": "Français"}`)}}
	_, err := render.Load(render.Config{Files: []fs.FS{few, web.Templates}, Locales: []string{"en", "fr"}})
	if err == nil || !strings.Contains(err.Error(), ".html:") ||
		!strings.Contains(err.Error(), "in the language fr (locales/fr.json)") {
		t.Errorf("got error %v", err)
	}
}
