package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"golang.org/x/net/html"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/store/storetest"
	"shelfcast/web"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// A front is the public app over a database and a Redis, without sessions.
type front struct {
	t       testing.TB
	db      *store.DB
	cache   *render.Cache
	public  *Public
	browser *fasthttp.HostClient
}

func newFront(t testing.TB, dsn string, locales []string, change func(*Public)) *front {
	t.Helper()
	db, err := store.Open(dsn, store.Config{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	templates, err := render.Load(render.Config{Files: []fs.FS{web.Templates}, Locales: locales, ShopName: "Test & Sons"})
	if err != nil {
		t.Fatal(err)
	}
	assets, err := LoadAssets(web.Assets)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: storetest.StartRedis(t).Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	f := &front{t: t, db: db, cache: render.NewCache(db, rdb, templates, render.CacheConfig{Log: log})}
	f.cache.Trust(time.Now().Add(time.Hour))
	f.public = &Public{DB: db, Cache: f.cache, Templates: templates, Assets: assets, PageSize: 4, PublicURL: "https://shop.example", Log: log}
	if change != nil {
		change(f.public)
	}
	app, listener := f.public.App(), fasthttputil.NewInmemoryListener()
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(app.Shutdown(), <-ended); err != nil {
			t.Error(err)
		}
	})
	f.browser = &fasthttp.HostClient{Addr: "visited.example", Dial: func(string) (net.Conn, error) { return listener.Dial() }}
	t.Cleanup(f.browser.CloseIdleConnections)
	return f
}

// product makes one, of which the cache hears.
func (f *front) product(edit string) store.Product {
	f.t.Helper()
	e := parseEdit(f.t, edit)
	if e.Published == nil {
		yes := true
		e.Published = &yes
	}
	p, err := f.db.Create(f.t.Context(), e)
	if err != nil {
		f.t.Fatal(err)
	}
	f.cache.Heard(p.Rev)
	return p
}

func (f *front) edit(p store.Product, edit string) store.Product {
	f.t.Helper()
	p, err := f.db.Update(f.t.Context(), p.Rev, parseEdit(f.t, edit))
	if err != nil {
		f.t.Fatal(err)
	}
	f.cache.Heard(p.Rev)
	return p
}

func parseEdit(t testing.TB, text string) (e store.Edit) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// stock fills the shop with products of two vendors.
func (f *front) stock(n int) (all []store.Product) {
	f.t.Helper()
	for i := range n {
		all = append(all, f.product(fmt.Sprintf(`{"sku":"p%d","title":"%s %d","vendor":"%s","price":"%d.50","currency":"EUR","stock":9,"image_url":"/p%d.jpg"}`,
			i, []string{"Lamp", "Mug", "Chair"}[i%3], i, []string{"Nordlicht", "Kiln & Co"}[i%2], 40-i%7, i)))
	}
	return all
}

// ask asks for a path, with headers as Name, value.
func (f *front) ask(method, path string, headers ...string) *fasthttp.Response {
	f.t.Helper()
	var request fasthttp.Request
	request.Header.SetMethod(method)
	request.SetRequestURI("http://visited.example" + path)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	var response fasthttp.Response
	if err := f.browser.Do(&request, &response); err != nil {
		f.t.Fatal(err)
	}
	return &response
}

// page is a page that has to come with that status.
func (f *front) page(status int, path string) *html.Node {
	f.t.Helper()
	r := f.ask("GET", path)
	if r.StatusCode() != status {
		f.t.Fatalf("%s: %d %s", path, r.StatusCode(), r.Body())
	}
	doc, err := html.Parse(bytes.NewReader(r.Body()))
	if err != nil {
		f.t.Fatal(err)
	}
	return doc
}

// all are the elements of a name that have an attribute of that value; "": any.
func all(doc *html.Node, name, attribute, value string) (found []*html.Node) {
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == name && (attribute == "" || slices.ContainsFunc(n.Attr, func(a html.Attribute) bool {
			return a.Key == attribute && (value == "" || a.Val == value)
		})) {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func cards(doc *html.Node) (ids []string) {
	for _, n := range all(doc, "article", "data-product-id", "") {
		ids = append(ids, attr(n, "data-product-id"))
	}
	return ids
}

// Whatever is looked for and in whatever order, going on from page to page shows
// each product that is meant once, and going back the same pages.
func TestTheShopPageByPage(t *testing.T) {
	f := newFront(t, storetest.DSN(t), []string{"en", "de"}, nil)
	f.stock(11)
	f.product(`{"sku":"hidden","title":"Lamp hidden","vendor":"Nordlicht","price":"1","currency":"EUR","published":false}`)
	for query, want := range map[string]int{
		"": 11, "?sort=price": 11, "?sort=-price": 11, "?sort=title": 11, "?sort=new": 11,
		"?vendor=Kiln+%26+Co": 5, "?q=lamp": 4, "?q=lamp&vendor=Nordlicht&sort=price": 2, "?q=+LAMP%09nord": 2, "?q=nothing": 0,
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
	for _, bad := range []string{"?sort=stock", "?after=x", "?after=0", "?after=1&before=2", "?sort=price&after=cheap~3", "?sort=title&after=3", "?after=a~3", "?before=-1"} {
		if doc := f.page(400, "/de/shop"+bad); !strings.Contains(text(doc), "Diese Adresse sagt zu viel") {
			t.Errorf("%s: %s", bad, text(doc))
		}
	}
	long := f.page(200, "/shop?q="+strings.Repeat("%C3%A4", 1000)+"%FF")
	if q := attr(all(long, "input", "name", "q")[0], "value"); q != strings.Repeat("ä", longestText) {
		t.Errorf("it looks for %q", q)
	}
}

// A page is asked for anew by its tag, and is another once a product of it is, in
// that language and in no other list.
func TestAPageIsTheSameUntilAProductOfItIsNot(t *testing.T) {
	f := newFront(t, storetest.DSN(t), []string{"en", "de"}, nil)
	made := f.stock(6)
	paths := []string{"/shop", "/de/shop", "/shop?after=" + fmt.Sprint(made[3].ID), fmt.Sprintf("/shop/products/%d", made[0].ID), fmt.Sprintf("/de/shop/products/%d", made[5].ID)}
	tags := map[string]string{}
	look := func(changed ...string) {
		t.Helper()
		for _, path := range paths {
			r := f.ask("GET", path)
			tag := string(r.Header.Peek("ETag"))
			if r.StatusCode() != 200 || !strings.HasPrefix(tag, `"`) || string(r.Header.Peek("Cache-Control")) != "no-cache" || len(r.Header.Peek("Vary")) > 0 {
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
				if again := f.ask("GET", path, "If-None-Match", header); again.StatusCode() != 304 || len(again.Body()) > 0 || string(again.Header.Peek("ETag")) != tag {
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

// Without MySQL the shop goes on, with what is known to be current.
func TestTheShopGoesOnWithoutMySQL(t *testing.T) {
	server := storetest.StartMySQL(t)
	f := newFront(t, server.Database(t), nil, nil)
	made := f.stock(8)
	shown := map[string][]string{}
	paths := []string{"/shop", "/shop?sort=price", fmt.Sprintf("/shop/products/%d", made[1].ID)}
	for _, path := range paths {
		shown[path] = cards(f.page(200, path))
	}
	server.Kill()
	f.cache.Trust(time.Now().Add(-time.Second)) // the feed sees it too
	again := time.Now().Add(listAge)
	storetest.Eventually(t, "lists are no longer fresh", func() bool { return time.Now().After(again) })
	for range 2 {
		for _, path := range paths {
			if got := cards(f.page(200, path)); !slices.Equal(got, shown[path]) {
				t.Errorf("%s shows %v, and did show %v", path, got, shown[path])
			}
		}
	}
	// A card of which something newer is known that cannot be had is left out.
	f.cache.Heard(store.Rev{ID: made[2].ID, Version: made[2].Version + 1})
	if got, want := cards(f.page(200, "/shop")), slices.DeleteFunc(slices.Clone(shown["/shop"]), func(id string) bool { return id == fmt.Sprint(made[2].ID) }); !slices.Equal(got, want) {
		t.Errorf("it shows %v, want %v", got, want)
	}
	if r := f.ask("GET", "/shop?q=never+asked"); r.StatusCode() != 503 || len(r.Header.Peek("Retry-After")) == 0 || !strings.Contains(string(r.Body()), "Something went wrong") {
		t.Errorf("%d %s", r.StatusCode(), r.Body())
	}
	server.Start()
	storetest.Eventually(t, "the card is there again", func() bool { return slices.Equal(cards(f.page(200, "/shop")), shown["/shop"]) })
}

// A database that was restored from a backup is what the shop shows at once, and
// not the list that was read before.
func TestARestoredDatabaseIsWhatTheShopShows(t *testing.T) {
	server := storetest.StartMySQL(t)
	dsn := server.Database(t)
	f := newFront(t, dsn, nil, nil)
	made := f.stock(3)
	lost := f.edit(made[1], `{"price":"77.70"}`)
	if body := string(f.ask("GET", "/shop").Body()); !strings.Contains(body, "€77.70") {
		t.Fatal(body)
	}
	name := dsn[strings.LastIndexByte(dsn, '/')+1:]
	name, _, _ = strings.Cut(name, "?")
	server.Exec(fmt.Sprintf("UPDATE %s.products SET price = '%s', version = %d WHERE id = %d", name, made[1].Price, made[1].Version, lost.ID))
	f.cache.Restored(t.Context())
	body := string(f.ask("GET", "/shop").Body())
	if strings.Contains(body, "€77.70") || !strings.Contains(body, fmt.Sprintf(`data-product-version="%d"`, made[1].Version)) {
		t.Error(body)
	}
}

// decimalPoint is how Google wants a price.
var decimalPoint = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// structured reads the JSON-LD of a page, as the browser has it.
func structured(t *testing.T, doc *html.Node) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, n := range all(doc, "script", "type", "application/ld+json") {
		var v map[string]any
		if err := json.Unmarshal([]byte(n.FirstChild.Data), &v); err != nil {
			t.Fatalf("%v: %s", err, n.FirstChild.Data)
		}
		if v["@context"] != "https://schema.org" {
			t.Errorf("the context is %v", v["@context"])
		}
		found[fmt.Sprint(v["@type"])] = v
	}
	return found
}

// The product's page says to machines what it says to people, by the rules of
// Google's merchant listings; and a hostile title ends no script.
func TestStructuredData(t *testing.T) {
	f := newFront(t, storetest.DSN(t), []string{"en", "de"}, nil)
	lamp := f.product(`{"sku":"lamp-1","title":"</script><script>alert(1)</script> & \"Co\" <!--","vendor":"Nord & Licht","price":"1979.00","compare_at_price":"2099","currency":"EUR","stock":3,
		"image_url":"/pictures/lamp.jpg","description":"<p>Warm <em>light</em> &amp; more.</p>"}`)
	yen := f.product(`{"sku":"yen","title":"Bare","price":"1979","currency":"JPY","stock":0}`)
	for path, want := range map[string]struct {
		p            store.Product
		price, state string
	}{
		fmt.Sprintf("/shop/products/%d", lamp.ID):    {lamp, "1979.00", "InStock"},
		fmt.Sprintf("/de/shop/products/%d", lamp.ID): {lamp, "1979.00", "InStock"},
		fmt.Sprintf("/shop/products/%d", yen.ID):     {yen, "1979", "OutOfStock"},
	} {
		doc := f.page(200, path)
		if n := len(all(doc, "script", "", "")); n != 3 {
			t.Errorf("%s: %d scripts: one, and two of data", path, n)
		}
		data := structured(t, doc)
		product, offer := data["Product"], data["Product"]["offers"].(map[string]any)
		for _, required := range []string{"name", "offers"} {
			if product[required] == nil {
				t.Errorf("%s: no %s", path, required)
			}
		}
		if product["name"] != want.p.Title || product["sku"] != want.p.SKU {
			t.Errorf("%s: %v", path, product)
		}
		if price := fmt.Sprint(offer["price"]); price != want.price || !decimalPoint.MatchString(price) {
			t.Errorf("%s: the price is %v", path, price)
		}
		if offer["priceCurrency"] != want.p.Currency || offer["availability"] != "https://schema.org/"+want.state || offer["@type"] != "Offer" {
			t.Errorf("%s: the offer is %v", path, offer)
		}
		canonical := attr(all(doc, "link", "rel", "canonical")[0], "href")
		if canonical != "https://shop.example"+path || offer["url"] != canonical || product["url"] != canonical || attr(all(doc, "meta", "property", "og:url")[0], "content") != canonical {
			t.Errorf("%s: the URLs are %v, %v, %v", path, canonical, offer["url"], product["url"])
		}
		if want.p.SKU == "lamp-1" {
			if product["image"] != "https://shop.example/pictures/lamp.jpg" || product["description"] != "Warm light & more." || product["brand"].(map[string]any)["name"] != "Nord & Licht" {
				t.Errorf("%s: %v", path, product)
			}
			was := offer["priceSpecification"].(map[string]any)
			if was["price"] != "2099.00" || was["priceType"] != "https://schema.org/StrikethroughPrice" || was["priceCurrency"] != "EUR" {
				t.Errorf("%s: before it cost %v", path, was)
			}
			if og := attr(all(doc, "meta", "property", "og:image")[0], "content"); og != product["image"] {
				t.Errorf("%s: og:image is %s", path, og)
			}
		} else if product["image"] != nil || product["brand"] != nil || offer["priceSpecification"] != nil {
			t.Errorf("%s: %v", path, product)
		}
		items := data["BreadcrumbList"]["itemListElement"].([]any)
		for i, item := range items {
			if item := item.(map[string]any); item["position"] != float64(i+1) || item["name"] == "" || i < len(items)-1 && !strings.HasPrefix(fmt.Sprint(item["item"]), "https://shop.example/") {
				t.Errorf("%s: crumb %v", path, item)
			}
		}
		if announce := attr(all(doc, "p", "class", "price")[0], "data-live-announce"); announce != want.p.Title {
			t.Errorf("%s: announced is %q", path, announce)
		}
		alternates := all(doc, "link", "rel", "alternate")
		if len(alternates) != 3 || attr(alternates[1], "href") != "https://shop.example/de/shop/products/"+fmt.Sprint(want.p.ID) || attr(alternates[2], "hreflang") != "x-default" {
			t.Errorf("%s: the alternates are %v", path, alternates)
		}
	}
	list := structured(t, f.page(200, "/de/shop"))["ItemList"]["itemListElement"].([]any)
	if len(list) != 2 || list[0].(map[string]any)["url"] != fmt.Sprintf("https://shop.example/de/shop/products/%d", lamp.ID) {
		t.Errorf("the list is %v", list)
	}
	// Of what is not available there is nothing to say.
	f.edit(yen, `{"published":false}`)
	gone := f.page(404, fmt.Sprintf("/shop/products/%d", yen.ID))
	if data := structured(t, gone); len(data) > 0 || len(all(gone, "section", "data-product-id", fmt.Sprint(yen.ID))) != 1 {
		t.Errorf("%v", data)
	}
	archived, err := f.db.Archive(t.Context(), lamp.Rev)
	if err != nil {
		t.Fatal(err)
	}
	f.cache.Heard(archived.Rev)
	f.page(410, fmt.Sprintf("/de/shop/products/%d", lamp.ID))
	if doc := f.page(404, "/de/shop/products/4711"); !strings.Contains(text(doc), "Nicht gefunden") {
		t.Error(text(doc))
	}
}

// The sitemap has each page of each product that shoppers may see, in files that
// are no longer than they may be.
func TestSitemap(t *testing.T) {
	f := newFront(t, storetest.DSN(t), []string{"en", "de"}, nil)
	made := f.stock(3)
	f.edit(made[1], `{"published":false}`)
	type loc struct {
		Loc     string `xml:"loc"`
		Lastmod string `xml:"lastmod"`
		Links   []struct {
			Lang string `xml:"hreflang,attr"`
			Href string `xml:"href,attr"`
		} `xml:"http://www.w3.org/1999/xhtml link"`
	}
	robots := string(f.ask("GET", "/robots.txt").Body())
	_, at, ok := strings.Cut(robots, "Sitemap: https://shop.example")
	if !ok {
		t.Fatal(robots)
	}
	var index struct {
		XMLName xml.Name `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 sitemapindex"`
		Files   []loc    `xml:"sitemap"`
	}
	if err := xml.Unmarshal(f.ask("GET", strings.TrimSpace(at)).Body(), &index); err != nil || len(index.Files) != 1 {
		t.Fatalf("%v: %+v", err, index)
	}
	path := strings.TrimPrefix(index.Files[0].Loc, "https://shop.example")
	for _, encoding := range []string{"", "gzip"} {
		r := f.ask("GET", path, "Accept-Encoding", encoding)
		body := r.Body()
		if string(r.Header.Peek("Content-Encoding")) != encoding || string(r.Header.Peek("Vary")) != "Accept-Encoding" {
			t.Errorf("%q: %s", encoding, r.Header.String())
		}
		if encoding == "gzip" {
			unpacked, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(unpacked); err != nil {
				t.Fatal(err)
			}
		}
		var urls struct {
			XMLName xml.Name `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 urlset"`
			URLs    []loc    `xml:"url"`
		}
		if err := xml.Unmarshal(body, &urls); err != nil || len(urls.URLs) != 4 {
			t.Fatalf("%v: %s", err, body)
		}
		last := urls.URLs[3]
		if last.Loc != fmt.Sprintf("https://shop.example/de/shop/products/%d", made[2].ID) || len(last.Links) != 2 || last.Links[0].Href != urls.URLs[2].Loc {
			t.Errorf("%+v", last)
		}
		if when, err := time.Parse(time.RFC3339, last.Lastmod); err != nil || when.Unix() != made[2].Version/1e6 {
			t.Errorf("%v: changed %v", err, last.Lastmod)
		}
	}
	for _, none := range []string{"/sitemaps/products-0.xml", "/sitemaps/products-2.xml", "/sitemaps/products-x.xml", "/sitemaps/products--1.xml"} {
		if r := f.ask("GET", none); r.StatusCode() != 404 {
			t.Errorf("%s: %d", none, r.StatusCode())
		}
	}
}

// Without a public URL pages name the one that they were asked for by; who is no
// trusted proxy cannot say another. Visitors are sent to their language.
func TestWhereTheShopIs(t *testing.T) {
	f := newFront(t, storetest.DSN(t), []string{"en", "de"}, func(p *Public) { p.PublicURL = "" })
	f.stock(1)
	r := f.ask("GET", "/shop", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https")
	if body := string(r.Body()); !strings.Contains(body, `href="http://visited.example/shop"`) || strings.Contains(body, "evil") {
		t.Error(body)
	}
	for _, c := range [][2]string{{"", "/shop"}, {"de-CH, en;q=0.5", "/de/shop"}, {"fr, en", "/shop"}, {"fr", "/shop"}, {"garbage;;q", "/shop"}} {
		r := f.ask("GET", "/", "Accept-Language", c[0])
		if r.StatusCode() != 302 || string(r.Header.Peek("Location")) != c[1] && !strings.HasSuffix(string(r.Header.Peek("Location")), "example"+c[1]) || string(r.Header.Peek("Vary")) != "Accept-Language" {
			t.Errorf("%q: %d %s", c[0], r.StatusCode(), r.Header.String())
		}
	}
	if _, err := ParseOrigin("https://Shop.example/"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"shop.example", "ftp://shop.example", "https://shop.example/x", "https://u@shop.example", "https://shop.example?x", ""} {
		if got, err := ParseOrigin(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

// A place in a URL is read as it was written.
func FuzzBrowse(f *testing.F) {
	f.Add("price", "19.90~42", "Lamp")
	f.Add("title", "A~B~7", "~")
	f.Add("", "42", "\x00\xff ä")
	f.Fuzz(func(t *testing.T, sort, place, typed string) {
		b := browse{sort: sort, text: plainText(typed, longestText)}
		if p, err := b.parsePlace(place); err == nil {
			if again, err := b.parsePlace(b.placeText(p)); err != nil || again != p {
				t.Errorf("%q is %v, and then %v, %v", place, p, again, err)
			}
		}
		parsed, err := url.Parse(b.path("/shop"))
		if err != nil || parsed.Query().Get("q") != b.text || plainText(b.text, longestText) != b.text {
			t.Errorf("%q: %v, %v", typed, parsed, err)
		}
	})
}
