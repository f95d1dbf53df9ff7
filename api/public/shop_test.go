package public

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"shelfcast/api/auth"
	"shelfcast/api/httpx"
	"shelfcast/store"
	"shelfcast/testkit"
)

// For every search and order, following the next links shows each matching product once, and going back shows the same
// pages.
func TestShopPagesShowEachProductOnce(t *testing.T) {
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, nil)
	f.stock(11)
	f.product(`{"sku":"hidden","title":"Lamp hidden","vendor":"Nordlicht","price":"1","currency":"EUR","published":false}`)
	for query, want := range map[string]int{
		"": 11, "?sort=price": 11, "?sort=-price": 11, "?sort=title": 11, "?sort=new": 11,
		"?vendor=Kiln+%26+Co": 5, "?q=lamp": 4,
		"?q=lamp&vendor=Nordlicht&sort=price": 2, "?q=+LAMP%09nord": 2, "?q=nothing": 0,
		"?q=%3Cscript%3Ealert(1)%3C/script%3E": 0, "?q=%27+OR+1%3D1+--+": 0, "?q=&vendor=&sort=&after=": 11,
	} {
		for _, shop := range []string{"/shop", "/de/shop"} {
			var forth, back []string
			seen := map[string]bool{}
			path, last := shop+query, ""
			for path != "" && len(forth) < 30 {
				doc := f.page(200, path)
				page := cards(doc)
				forth = append(forth, strings.Join(page, " "))
				for _, id := range page {
					if seen[id] {
						t.Errorf("%s%s: product %s is there twice", shop, query, id)
					}
					seen[id] = true
				}
				last, path = path, ""
				if next := all(doc, "a", "rel", "next"); len(next) == 1 {
					path = attr(next[0], "href")
				}
			}
			if len(seen) != want {
				t.Errorf("%s%s: %d products, want %d", shop, query, len(seen), want)
			}
			for path = last; path != "" && len(back) < 30; {
				doc := f.page(200, path)
				back = append([]string{strings.Join(cards(doc), " ")}, back...)
				path = ""
				if previous := all(doc, "a", "rel", "prev"); len(previous) == 1 {
					path = attr(previous[0], "href")
				}
			}
			if !slices.Equal(forth, back) && want > 4 {
				t.Errorf("%s%s: forth %q, back %q", shop, query, forth, back)
			}
			doc := f.page(200, shop+query)
			noindex := len(all(doc, "meta", "content", "noindex")) == 1
			if noindex != (strings.Contains(query, "q=") && !strings.Contains(query, "q=&")) {
				t.Errorf("%s%s: noindex is %v", shop, query, noindex)
			}
			for _, n := range slices.Concat(all(doc, "script", "", ""), all(doc, "b", "", "")) {
				if attr(n, "src") == "" && attr(n, "type") != "application/ld+json" {
					t.Errorf("%s%s: what was looked for has become HTML", shop, query)
				}
			}
		}
	}
	for _, bad := range []string{"?sort=stock", "?after=x", "?after=0", "?after=1&before=2",
		"?sort=price&after=cheap~3", "?sort=title&after=3", "?after=a~3", "?before=-1"} {
		if doc := f.page(400, "/de/shop"+bad); !strings.Contains(text(doc), "Dieser Link funktioniert nicht") {
			t.Errorf("%s: %s", bad, text(doc))
		}
	}
	long := f.page(200, "/shop?q="+strings.Repeat("%C3%A4", 1000)+"%FF")
	if q := attr(all(long, "input", "name", "q")[0], "value"); q != strings.Repeat("ä", maxSearchLength) {
		t.Errorf("it looks for %q", q)
	}
}

// A page keeps its ETag until a product on it changes, in that language and in no other list.
func TestShopPageETagChangesOnlyWithItsProducts(t *testing.T) {
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, nil)
	made := f.stock(6)
	paths := []string{"/shop", "/de/shop", "/shop?after=" + fmt.Sprint(made[3].ID),
		fmt.Sprintf("/shop/products/%d", made[0].ID), fmt.Sprintf("/de/shop/products/%d", made[5].ID)}
	tags := map[string]string{}
	look := func(changed ...string) {
		t.Helper()
		for _, path := range paths {
			r := f.ask("GET", path)
			tag := string(r.Header.Peek("ETag"))
			if r.StatusCode() != 200 || !strings.HasPrefix(tag, `"`) ||
				string(r.Header.Peek("Cache-Control")) != "no-cache" || len(r.Header.Peek("Vary")) > 0 {
				t.Errorf("%s: %s", path, r.Header.String())
			}
			if (tags[path] != tag) != slices.Contains(changed, path) {
				t.Errorf("%s: the tag was %s and is %s", path, tags[path], tag)
			}
			tags[path] = tag
			head := f.ask("HEAD", path)
			if string(head.Header.Peek("ETag")) != tag || head.Header.ContentLength() != len(r.Body()) {
				t.Errorf("HEAD %s: %s", path, head.Header.String())
			}
			for _, header := range []string{tag, `"other", W/` + tag, "*"} {
				if again := f.ask("GET", path, "If-None-Match", header); again.StatusCode() != 304 ||
					len(again.Body()) > 0 || string(again.Header.Peek("ETag")) != tag {
					t.Errorf("%s with %s: %d", path, header, again.StatusCode())
				}
			}
			if again := f.ask("GET", path, "If-None-Match", `"other"`); again.StatusCode() != 200 {
				t.Errorf("%s with another tag: %d", path, again.StatusCode())
			}
		}
	}
	look(paths...)
	look()
	first := f.edit(made[0], `{"price":"77.70"}`) // on the first page, at once
	look("/shop", "/de/shop", paths[3])
	if got := string(f.ask("GET", "/de/shop").Body()); !strings.Contains(got, "77,70\u00a0€") {
		t.Error("the price is not that of the edit")
	}
	f.edit(made[5], `{"title":"Another title"}`)
	look(paths[2], paths[4])
	if err := f.public.Templates.Reload(); err != nil { // to the same
		t.Fatal(err)
	}
	look()
	f.edit(first, `{"published":false}`) // and may be on the list still
	if got := cards(f.page(200, "/shop")); slices.Contains(got, fmt.Sprint(first.ID)) {
		t.Errorf("the shop shows %v", got)
	}
}

// Without MySQL the shop goes on with what is known to be current.
func TestShopGoesOnWithoutMySQL(t *testing.T) {
	server := testkit.StartMySQL(t)
	f := newTestShop(t, server.Database(t), nil, nil)
	made := f.stock(8)
	shown := map[string][]string{}
	paths := []string{"/shop", "/shop?sort=price", fmt.Sprintf("/shop/products/%d", made[1].ID)}
	for _, path := range paths {
		shown[path] = cards(f.page(200, path))
	}
	server.Kill()
	f.cache.TrustUntil(time.Now().Add(-time.Second), time.Time{}) // the feed sees it too
	again := time.Now().Add(listAge)
	testkit.Eventually(t, "lists are no longer fresh", func() bool { return time.Now().After(again) })
	for range 2 {
		for _, path := range paths {
			if got := cards(f.page(200, path)); !slices.Equal(got, shown[path]) {
				t.Errorf("%s shows %v, and did show %v", path, got, shown[path])
			}
		}
	}
	// A card of which something newer is known that cannot be had is left out.
	f.cache.Observe(store.Rev{ID: made[2].ID, Version: made[2].Version + 1})
	want := slices.DeleteFunc(slices.Clone(shown["/shop"]), func(id string) bool { return id == fmt.Sprint(made[2].ID) })
	if got := cards(f.page(200, "/shop")); !slices.Equal(got, want) {
		t.Errorf("it shows %v, want %v", got, want)
	}
	if r := f.ask("GET", "/shop?q=never+asked"); r.StatusCode() != 503 ||
		len(r.Header.Peek("Retry-After")) == 0 || !strings.Contains(string(r.Body()), "Something went wrong") {
		t.Errorf("%d %s", r.StatusCode(), r.Body())
	}
	server.Start()
	testkit.Eventually(t, "the card is there again",
		func() bool { return slices.Equal(cards(f.page(200, "/shop")), shown["/shop"]) })
}

// A restored database is shown at once, and not the list that was read before.
func TestShopShowsRestoredDatabase(t *testing.T) {
	server := testkit.StartMySQL(t)
	dsn := server.Database(t)
	f := newTestShop(t, dsn, nil, nil)
	made := f.stock(3)
	lost := f.edit(made[1], `{"price":"77.70"}`)
	if body := string(f.ask("GET", "/shop").Body()); !strings.Contains(body, "€77.70") {
		t.Fatal(body)
	}
	name := dsn[strings.LastIndexByte(dsn, '/')+1:]
	name, _, _ = strings.Cut(name, "?")
	server.Exec(fmt.Sprintf("UPDATE %s.products SET price = '%s', version = %d WHERE id = %d",
		name, made[1].Price, made[1].Version, lost.ID))
	f.cache.Reset(t.Context())
	body := string(f.ask("GET", "/shop").Body())
	if strings.Contains(body, "€77.70") ||
		!strings.Contains(body, fmt.Sprintf(`data-product-version="%d"`, made[1].Version)) {
		t.Error(body)
	}
}

// A cursor in a URL is parsed as it was written.
func FuzzShopQuery(f *testing.F) {
	f.Add("price", "19.90~42", "Lamp")
	f.Add("title", "A~B~7", "~")
	f.Add("", "42", "\x00\xff ä")
	f.Fuzz(func(t *testing.T, sort, place, typed string) {
		b := shopQuery{sort: sort, text: normalizeText(typed, maxSearchLength)}
		if p, err := b.parseCursor(place); err == nil {
			if again, err := b.parseCursor(b.cursorText(p)); err != nil || again != p {
				t.Errorf("%q is %v, and then %v, %v", place, p, again, err)
			}
		}
		parsed, err := url.Parse(b.path("/shop"))
		if err != nil || parsed.Query().Get("q") != b.text || normalizeText(b.text, maxSearchLength) != b.text {
			t.Errorf("%q: %v, %v", typed, parsed, err)
		}
	})
}

// A list costs its address as much of the rate as the database worked, but never more than a tenth; the rest is given
// back in Redis.
func TestSearchCostsFollowDatabaseWork(t *testing.T) {
	const rate = 50
	f := newTestShop(t, testkit.DSN(t), []string{"en"}, func(p *App) {
		rdb := redis.NewClient(&redis.Options{Addr: testkit.StartRedis(t).Addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { rdb.Close() })
		p.Limiter = auth.NewLimiter(rdb, store.NamedShop("tests"), prometheus.NewRegistry(), p.Log)
		p.Searches, p.TrustedProxies = rate, []httpx.Network{netip.MustParsePrefix("0.0.0.0/0")}
	})
	f.stock(2)
	const slack = 3 // calls that come back meanwhile
	for n, c := range []struct {
		worked time.Duration
		cost   int
	}{{0, 1}, {workPerCall * 5 / 2, 3}, {time.Hour, rate / 10}} {
		f.public.lists.read = func(context.Context, string) ([]store.StorefrontItem, time.Duration, error) {
			return nil, c.worked, nil
		}
		passed := 0
		for i := range 2 * rate {
			if f.ask("GET", fmt.Sprintf("/shop?q=word%d-%d", n, i),
				"X-Forwarded-For", fmt.Sprint("203.0.113.", n)).StatusCode() == 200 {
				passed++
			}
		}
		// The last have to leave a tenth free before they may begin.
		if least, most := (rate-rate/10)/c.cost, rate/c.cost+slack; passed < least || passed > most {
			t.Errorf("lists of %v: %d were read, want %d to %d", c.worked, passed, least, most)
		}
		if r := f.ask("GET", "/shop", "X-Forwarded-For", fmt.Sprint("203.0.113.", n)); r.StatusCode() != 200 {
			t.Errorf("the shop's first page, when the rate is used up: %d", r.StatusCode())
		}
	}
}

// An address may have a limited number of lists read per minute: searches, and cursors that no page has. What is in
// memory costs nothing, and other addresses have their own limit.
func TestSearchesPerAddressAreLimited(t *testing.T) {
	const rate = 5
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, func(p *App) {
		rdb := redis.NewClient(&redis.Options{Addr: testkit.StartRedis(t).Addr(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { rdb.Close() })
		p.Limiter = auth.NewLimiter(rdb, store.NamedShop("tests"), prometheus.NewRegistry(), p.Log)
		p.Searches, p.TrustedProxies = rate, []httpx.Network{netip.MustParsePrefix("0.0.0.0/0")}
	})
	f.stock(11)
	ways := []string{"?q=word%d", "?vendor=brand%d", "?after=%d1", "?before=%d1", "?sort=price&after=%d.5~7"}
	for n, way := range ways {
		from := fmt.Sprint("203.0.113.", n)
		got := map[int]int{}
		for i := range 3 * rate {
			r := f.ask("GET", "/de/shop"+fmt.Sprintf(way, i+1), "X-Forwarded-For", from)
			got[r.StatusCode()]++
			if body := string(r.Body()); r.StatusCode() == 429 &&
				(!strings.Contains(body, "Die Suche ist gerade ausgelastet") || len(r.Header.Peek("Retry-After")) == 0) {
				t.Fatalf("a shopper reads %s %s", r.Header.String(), body)
			}
		}
		if got[200] < rate || got[200] > rate+2 || got[200]+got[429] != 3*rate { // one comes back each 12 s
			t.Errorf("%s: %v, want %d of 200", way, got, rate)
		}
	}
	f.public.lists.freshFor = time.Hour
	if r := f.ask("GET", "/shop?q=lamp", "X-Forwarded-For", "198.51.100.1"); r.StatusCode() != 200 {
		t.Errorf("another address: %d", r.StatusCode())
	}
	for range 3 * rate {
		if r := f.ask("GET", "/shop?q=lamp", "X-Forwarded-For", "203.0.113.0"); r.StatusCode() != 200 {
			t.Errorf("what is in memory: %d", r.StatusCode())
		}
	}
}
