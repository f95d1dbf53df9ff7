package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// factsSource has a product on sale, one that is archived, and their templates.
func factsSource(t *testing.T) (*rows, *redis.Client, *render.Templates) {
	source, server := newRows(10, 10), testkit.StartRedis(t)
	onSale, gone := lamp(), store.Product{Rev: rev(2, 10), Archived: true, Title: "secret"}
	onSale.Rev = rev(1, 10)
	onSale.Description = "<p>Warm&nbsp;&amp; <em>light</em>.</p><p>" + strings.Repeat("Really ", 100) + "</p>"
	source.all[1], source.all[2] = onSale, gone
	return source, client(t, server.Addr()), load(t, render.Config{})
}

func TestDetailFragmentHasPageMeta(t *testing.T) {
	source, rdb, templates := factsSource(t)
	for _, from := range []string{"the database", "Redis"} {
		c := cache(t, source, rdb, templates)
		f, err := c.Fragment(t.Context(), render.Detail, rev(1, 10))
		if err != nil {
			t.Fatal(err)
		}
		facts := f.PageMeta()
		if !facts.Available || !facts.InStock || facts.Title != "Ember Lamp" || facts.Price.String() != "1979.00" ||
			facts.CompareAt != nil {
			t.Errorf("from %s: %+v", from, facts)
		}
		if !strings.HasPrefix(facts.Summary, "Warm & light. Really ") || !strings.HasSuffix(facts.Summary, "Really …") ||
			len(facts.Summary) > 310 {
			t.Errorf("from %s: the summary is %q", from, facts.Summary)
		}
		if text := string(f.JSON()); strings.Contains(text, "summary") || strings.Contains(text, "\n") ||
			!strings.HasSuffix(text, "}") {
			t.Errorf("from %s: page meta is sent to clients: %s", from, text)
		}
		if f, err = c.Fragment(t.Context(), render.Detail, rev(2, 10)); err != nil {
			t.Fatal(err)
		}
		if facts = f.PageMeta(); facts.Available || !facts.Archived || facts.Title != "" {
			t.Errorf("from %s: %+v of an archived product", from, facts)
		}
		if f, err = c.Fragment(t.Context(), render.Card, rev(1, 10)); err != nil || f.PageMeta() != nil {
			t.Errorf("from %s: a card has page meta: %v, %v", from, f.PageMeta(), err)
		}
	}
}

// Fragments that were stored without facts, or with broken ones, are loaded anew.
func TestDetailFragmentWithoutPageMetaIsCacheMiss(t *testing.T) {
	source, rdb, templates := factsSource(t)
	f, err := cache(t, source, rdb, templates).Fragment(t.Context(), render.Detail, rev(1, 10))
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("shelfcast:tests:fragment:detail:%s:{1}:10", templates.Hash())
	for n, facts := range []string{"", "\n", "\nnull", "\n{"} {
		if err := rdb.Set(t.Context(), key, string(f.JSON())+facts, 0).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := cache(t, source, rdb, templates).Fragment(t.Context(), render.Detail, rev(1, 10))
		if err != nil || got.PageMeta().Title != "Ember Lamp" || source.reads.Load() != int64(n+2) {
			t.Errorf("with facts %q: %v, %v after %d reads", facts, got, err, source.reads.Load())
		}
	}
}
