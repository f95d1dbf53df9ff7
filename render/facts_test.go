package render_test

import (
	"strings"
	"testing"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestFacts(t *testing.T) {
	source, server := newRows(10, 10), storetest.StartRedis(t)
	templates := load(t, render.Config{})
	if _, ok := templates.ParseView("facts"); ok {
		t.Error("a browser can ask for facts")
	}
	lampFacts, gone := lamp(), store.Product{Rev: rev(2, 10), Archived: true, Title: "secret"}
	lampFacts.Rev, lampFacts.Description = rev(1, 10), "<p>Warm&nbsp;&amp; <em>light</em>.</p><p>"+strings.Repeat("Really ", 100)+"</p>"
	source.all[1], source.all[2] = lampFacts, gone
	for range 2 { // made, and from Redis
		c := cache(t, source, client(t, server.Addr()), templates)
		f, err := c.Fragment(t.Context(), render.Facts, rev(1, 10))
		if err != nil {
			t.Fatal(err)
		}
		facts, err := f.Facts()
		if err != nil || !facts.Available || !facts.InStock || facts.Title != "Ember Lamp" || facts.Price.String() != "1979.00" || facts.CompareAt != nil {
			t.Errorf("%v: %+v", err, facts)
		}
		if !strings.HasPrefix(facts.Summary, "Warm & light. Really ") || !strings.HasSuffix(facts.Summary, "Really …") || len(facts.Summary) > 310 {
			t.Errorf("the summary is %q", facts.Summary)
		}
		if f, err = c.Fragment(t.Context(), render.Facts, rev(2, 10)); err != nil || strings.Contains(f.HTML, "secret") {
			t.Fatal(err, f)
		}
		if facts, err = f.Facts(); err != nil || facts.Available || !facts.Archived {
			t.Errorf("%v: %+v", err, facts)
		}
	}
}
