package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// The sync call, as Odoo's client makes it.
func TestOdooSync(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Odoo.View = "odoo" })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"title":"<b>A</b> & \"q\" 's' é"}`)
	mug = f.edit(t, 0, mug.Rev, fmt.Sprintf(`{"external_id":"odoo:product.template:%d"}`, 9_000_009))
	const card = `<div class=\"js_replace_me_please\" data-product-id=\"%d\" data-product-version=\"%d\" ` +
		`data-view=\"odoo\">\n    <div>\n        <h6>\n            <a>%s</a>\n        </h6>\n    </div>\n</div>`
	ofLamp := fmt.Sprintf(card, lamp.ID, lamp.Version, `&lt;b&gt;A&lt;/b&gt; &amp; &#34;q&#34; &#39;s&#39; é`)
	ofMug := fmt.Sprintf(card, mug.ID, mug.Version, "The mug")
	for _, c := range []struct{ body, id, html string }{
		{`{"id":1,"jsonrpc":"2.0","method":"call","params":{"product_id":%d}}`, "1", ofLamp},
		{`{"id":0,"jsonrpc":"2.0","method":"call","params":{"product_id":%d}}`, "0", ofLamp},
		{`{"params":{"product_id":"%d"}}`, "null", ofLamp},
		{`{"id":"x","params":{"product_id":"%d ","context":{"lang":"de"},"unknown":1}}`, `"x"`, ofLamp},
		{`{"id":1.5,"params":{"product_id":%d.7}}`, "1.5", ofLamp},
		{`{"id":null,"params":{"product_id":9000009}}`, "null", ofMug},
	} {
		body := c.body
		if strings.Contains(body, "%d") {
			body = fmt.Sprintf(body, lamp.ID)
		}
		for n := range 2 {
			status, headers, answer := call(t, "POST", f.public(n, "/product/tree/sync"), body, nil)
			if status != 200 || headers.Get("Content-Type") != "application/json; charset=utf-8" ||
				!strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":`+c.id+`,"result":{"html":"`+c.html+`"`) {
				t.Errorf("%s: %d %s\nwant %s", body, status, answer, c.html)
			}
		}
	}
	for _, c := range []struct {
		body string
		code int
	}{
		{`{"id":0,"params":{"product_id":4711}}`, 404}, {`{"id":0,"params":{"product_id":-1}}`, -32602},
		{`{"id":0,"params":{}}`, -32602},
		{fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, mug.ID), 404}, // Odoo has another number for it
		{`{"id":0,"params":{"product_id":"9.7"}}`, -32602}, {`{"id":0}`, -32602},
	} {
		status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), c.body, nil)
		got := parse[struct {
			ID     *int
			Result any
			Error  struct {
				Code int
				Data map[string]any
			}
		}](t, answer)
		if status != 200 || got.ID == nil || *got.ID != 0 || got.Result != nil || got.Error.Code != c.code ||
			got.Error.Data["name"] == "" || strings.Contains(answer, "goroutine") {
			t.Errorf("%s: %d %s", c.body, status, answer)
		}
	}
	status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), `{"id":1,"params":{"product_id":true}}`, nil)
	if status != 200 || !strings.Contains(answer, `"id":1,`) {
		t.Errorf("%d %s", status, answer)
	}
	for body, kind := range map[string]string{`[]`: "application/json", `{`: "application/json",
		`{"params":{"product_id":1}}`: "text/plain"} {
		status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), body, http.Header{"Content-Type": {kind}})
		if status != 400 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, _, _ := call(t, "GET", f.public(0, "/product/tree/sync"), "", nil); status != 400 {
		t.Errorf("GET: %d", status)
	}
	f.edit(t, 0, lamp.Rev, `{"published":false}`)
	_, _, answer = call(t, "POST", f.public(0, "/product/tree/sync"),
		fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, lamp.ID), nil)
	if strings.Contains(answer, "&lt;b&gt;") || !strings.Contains(answer, "not available") {
		t.Errorf("unpublished: %s", answer)
	}
}

// An external id can move from one product to another, and takes precedence over a
// product with that number as its own id.
func TestOdooExternalIDMoves(t *testing.T) {
	t.Parallel()
	f := startFleet(t, once)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	shows := func(number int64, want store.Rev) {
		t.Helper()
		for n := range 2 {
			testkit.Eventually(t, fmt.Sprintf("instance %d shows %v for %d", n, want, number), func() bool {
				_, _, answer := call(t, "POST", f.public(n, "/product/tree/sync"),
					fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, number), nil)
				shown := fmt.Sprintf(`data-product-id=\"%d\" data-product-version=\"%d\"`, want.ID, want.Version)
				return strings.Contains(answer, shown)
			})
		}
	}
	const name = `{"external_id":"odoo:product.template:777"}`
	lamp = f.edit(t, 0, lamp.Rev, name)
	shows(777, lamp.Rev)
	lamp = f.edit(t, 1, lamp.Rev, `{"external_id":null}`)
	mug = f.edit(t, 0, mug.Rev, name)
	shows(777, mug.Rev)
	shows(lamp.ID, lamp.Rev)
	// Another system's external id is not Odoo's.
	lamp = f.edit(t, 1, lamp.Rev, `{"external_id":"erp:7"}`)
	shows(lamp.ID, lamp.Rev)
	s := odooAt(t, f.instances[1].PublicAddr())
	s.subscribe(0, "product_updates")
	if got := s.next(); len(got) != 2 || !slices.Contains(got, 777) || !slices.Contains(got, lamp.ID) {
		t.Errorf("heard of %v", got)
	}
}

// Odoo's client requests each notified product in every tab: a thousand concurrent
// requests render it once.
func TestOdooConcurrentSyncsRenderOnce(t *testing.T) {
	f := startFleet(t, func(s *server.Settings) { s.MaxPerAddress, s.Odoo.View = 0, "odoo" })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"external_id":"odoo:product.template:1042"}`)
	sync := func(n int, number int64) string {
		_, _, answer := call(t, "POST", f.public(n, "/product/tree/sync"),
			fmt.Sprintf(`{"id":0,"params":{"product_id":%d}}`, number), nil)
		return answer
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // an instance waits for connections that were opened and never used
	const clients = 1000
	var all []*odooSocket
	for n := range clients {
		s := odooAt(t, f.instances[n%2].PublicAddr())
		s.subscribe(0, "product_updates")
		s.next()
		all = append(all, s)
	}
	for n := range 2 { // the pages were loaded from here
		sync(n, 1042)
		sync(n, mug.ID)
	}
	testkit.Eventually(t, "the feed vouches", func() bool {
		for _, i := range f.instances {
			if status, _, _ := call(t, "GET", "http://"+i.AdminAddr()+"/readyz", "", nil); status != 200 {
				return false
			}
		}
		return true
	})
	for number, product := range map[int64]*store.Product{1042: &lamp, mug.ID: &mug} {
		renders, loads := f.counter(t, "shelfcast_fragment_renders_total"), f.counter(t, "shelfcast_fragment_loads_total")
		*product = f.edit(t, 0, product.Rev, `{"stock":4}`)
		queries := f.queries(t)
		answers := make(chan string, clients)
		for n, s := range all {
			go func() {
				for { // notifications of the start arrive first
					for _, news := range s.told() {
						if news.rev(t) == (store.Rev{ID: number, Version: product.Version}) {
							answers <- sync(n%2, number)
							return
						}
					}
				}
			}()
		}
		want := fmt.Sprintf(`data-product-version=\"%d\"`, product.Version)
		for range clients {
			if answer := <-answers; !strings.Contains(answer, want) {
				t.Fatalf("%s, want %s", answer, want)
			}
		}
		made := f.counter(t, "shelfcast_fragment_renders_total") - renders
		if read := f.counter(t, "shelfcast_fragment_loads_total") - loads; made != 1 || read != 1 {
			t.Errorf("%v renders and %v reads for %d clients", made, read, clients)
		}
		if asked := f.queries(t) - queries; asked != 0 {
			t.Errorf("%v look-ups of external ids", asked)
		}
	}
}

// queries returns how often the database was searched for an external id.
func (f *fleet) queries(t testing.TB) float64 { return f.counter(t, "shelfcast_odoo_id_lookups_total") }
