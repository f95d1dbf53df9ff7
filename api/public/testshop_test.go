package public

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"golang.org/x/net/html"

	"shelfcast/api/httpx"
	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/web"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A testShop is the public app over a database and a Redis, without sessions.
type testShop struct {
	t       testing.TB
	db      *store.DB
	cache   *render.Cache
	metrics *prometheus.Registry // of the cache
	public  *App
	browser *fasthttp.HostClient
}

func newTestShop(t testing.TB, dsn string, locales []string, change func(*App)) *testShop {
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
	assets, err := httpx.LoadAssets(web.Assets...)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: testkit.StartRedis(t).Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	metrics := prometheus.NewRegistry()
	f := &testShop{t: t, db: db, metrics: metrics}
	f.cache = render.NewCache(db, rdb, store.NamedShop("tests"), templates, render.CacheConfig{Log: log, Metrics: metrics})
	f.cache.TrustUntil(time.Now().Add(time.Hour), time.Time{})
	f.public = &App{DB: db, Cache: f.cache, Templates: templates,
		Assets: assets, PageSize: 4, PublicURL: "https://shop.example", Log: log}
	if change != nil {
		change(f.public)
	}
	app, listener := f.public.Fiber(), fasthttputil.NewInmemoryListener()
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(app.Shutdown(), <-ended); err != nil {
			t.Error(err)
		}
	})
	f.browser = &fasthttp.HostClient{Addr: "visited.example",
		Dial: func(string) (net.Conn, error) { return listener.Dial() }}
	t.Cleanup(f.browser.CloseIdleConnections)
	return f
}

// product creates a product and tells the cache.
func (f *testShop) product(edit string) store.Product {
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
	f.cache.Observe(p.Rev)
	return p
}

func (f *testShop) edit(p store.Product, edit string) store.Product {
	f.t.Helper()
	p, err := f.db.Update(f.t.Context(), p.Rev, parseEdit(f.t, edit))
	if err != nil {
		f.t.Fatal(err)
	}
	f.cache.Observe(p.Rev)
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
func (f *testShop) stock(n int) (all []store.Product) {
	f.t.Helper()
	for i := range n {
		all = append(all, f.product(fmt.Sprintf(`{"sku":"p%d","title":"%s %d","vendor":"%s","price":"%d.50",`+
			`"currency":"EUR","stock":9,"image_url":"/p%d.jpg"}`,
			i, []string{"Lamp", "Mug", "Chair"}[i%3], i, []string{"Nordlicht", "Kiln & Co"}[i%2], 40-i%7, i)))
	}
	return all
}

// ask sends a request, with headers as name, value.
func (f *testShop) ask(method, path string, headers ...string) *fasthttp.Response {
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

// page returns a page, which has to have that status.
func (f *testShop) page(status int, path string) *html.Node {
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

// all returns the elements of a name that have the attribute with that value; "": any.
func all(doc *html.Node, name, attribute, value string) (found []*html.Node) {
	for n := range doc.Descendants() {
		has := func(a html.Attribute) bool { return a.Key == attribute && (value == "" || a.Val == value) }
		if n.Type == html.ElementNode && n.Data == name && (attribute == "" || slices.ContainsFunc(n.Attr, has)) {
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
