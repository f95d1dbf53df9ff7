package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/store"
)

// Invalid requests of the admin API are answered with the right status and problem
// details, and change nothing.
func TestAdminAPIRejectsBadInput(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"stock":5,"description":"<p>Warm<script>x()</script></p>"}`)
	if lamp.Description != "<p>Warm</p>" {
		t.Errorf("description %q", lamp.Description)
	}
	path := fmt.Sprintf("/api/v1/products/%d", lamp.ID)
	current, stale := etag(lamp.Rev), etag(store.Rev{ID: lamp.ID, Version: lamp.Version - 1})
	for name, c := range map[string]struct {
		method, path, body, ifMatch string
		status                      int
		says                        string
	}{
		"bad JSON":           {"PATCH", path, `{"price":`, current, 400, ""},
		"no object":          {"PATCH", path, `[]`, current, 422, ""},
		"a price of abc":     {"PATCH", path, `{"price":"abc"}`, current, 422, "price"},
		"a price of -1":      {"PATCH", path, `{"price":"-1"}`, current, 422, "price is negative"},
		"a price of 1.999":   {"PATCH", path, `{"price":"1.999"}`, current, 422, "digits"},
		"a price as a float": {"PATCH", path, `{"price":1.99}`, current, 422, "price"},
		"compare_at of -1":   {"PATCH", path, `{"compare_at_price":"-1"}`, current, 422, "compare_at_price"},
		"a stock of -1":      {"PATCH", path, `{"stock":-1}`, current, 422, "stock"},
		"no title":           {"PATCH", path, `{"title":""}`, current, 422, "title"},
		"an unknown field":   {"PATCH", path, `{"prize":"1"}`, current, 422, "prize"},
		"another's SKU":      {"PATCH", path, `{"sku":"mug"}`, current, 409, "SKU"},
		"a stale If-Match":   {"PATCH", path, `{"stock":1}`, stale, 412, "changed since"},
		"no If-Match":        {"PATCH", path, `{"stock":1}`, "", 428, "If-Match"},
		"a bad If-Match":     {"PATCH", path, `{"stock":1}`, `"abc"`, 400, "If-Match"},
		"an unknown product": {"PATCH", "/api/v1/products/9999", `{"stock":1}`, current, 404, "no such product"},
		"a product of abc":   {"GET", "/api/v1/products/abc", "", "", 422, "id"},
		"a bad cursor":       {"GET", "/api/v1/products?cursor=xyz", "", "", 400, "cursor"},
		"a limit of 9999":    {"GET", "/api/v1/products?limit=9999", "", "", 422, "limit"},
		"a new one unpriced": {"POST", "/api/v1/products", `{"sku":"new","title":"New","currency":"EUR"}`, "", 422,
			"price is required"},
		"a taken SKU": {"POST", "/api/v1/products", `{"sku":"lamp","title":"New","currency":"EUR","price":"1"}`, "",
			409, "SKU"},
		"2 MiB": {"PATCH", path, `{"title":"` + strings.Repeat("x", 2<<20) + `"}`, current, 413,
			"at most 1048576 bytes"},
		"archive, stale": {"POST", path + "/archive", "", stale, 412, "changed since"},
		"no such route":  {"GET", "/api/v1/nothing", "", "", 404, ""},
	} {
		headers := http.Header{}
		if c.ifMatch != "" {
			headers.Set("If-Match", c.ifMatch)
		}
		status, got, answer := f.admin(t, 0, c.method, c.path, c.body, headers)
		if status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s, want %d and %q", name, status, answer, c.status, c.says)
		}
		if kind := got.Get("Content-Type"); kind != "application/problem+json" {
			t.Errorf("%s: content type %q", name, kind)
		}
		if status == 412 && got.Get("ETag") != current {
			t.Errorf("%s: the answer names %s, current is %s", name, got.Get("ETag"), current)
		}
	}
	for _, authorization := range []string{"", "Bearer wrong", "Basic " + token, "Bearer " + token + "x"} {
		status, headers, _ := call(t, "PATCH", "http://"+f.instances[1].AdminAddr()+path, `{"stock":1}`,
			http.Header{"Authorization": {authorization}, "If-Match": {current}})
		if status != http.StatusUnauthorized || headers.Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %d", authorization, status)
		}
	}
	for _, p := range []store.Product{lamp, mug} {
		if now, err := f.db.Product(t.Context(), p.ID); err != nil || now.Rev != p.Rev {
			t.Errorf("%s has changed: %v, %v", p.SKU, now.Rev, err)
		}
	}
	if all, _, err := f.db.List(t.Context(), store.Filter{Archived: store.WithArchived}, store.Page{}); err != nil ||
		len(all) != 2 {
		t.Errorf("%d products, %v", len(all), err)
	}
}

func TestNullRemovesThePriceBeforeASale(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	lamp = f.edit(t, 0, lamp.Rev, `{"compare_at_price":"25"}`)
	mug = f.edit(t, 0, mug.Rev, `{"compare_at_price":"25","price":"20"}`)
	if lamp.CompareAtPrice.String() != "25.00" {
		t.Errorf("got %v", lamp.CompareAtPrice)
	}
	again := f.edit(t, 1, lamp.Rev, `{"stock":7}`) // unchanged, so no new version
	if again.Rev != lamp.Rev || again.CompareAtPrice == nil {
		t.Errorf("got %v, %v", again.Rev, again.CompareAtPrice)
	}
	if lamp = f.edit(t, 1, lamp.Rev, `{"compare_at_price":null}`); lamp.CompareAtPrice != nil {
		t.Errorf("got %v", lamp.CompareAtPrice)
	}
	_, _, answer := f.admin(t, 0, "GET", fmt.Sprintf("/api/v1/products/%d", mug.ID), "", nil)
	for _, want := range []string{`"price":"20.00"`, `"compare_at_price":"25.00"`, `"archived_at":null`} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
}

func TestAdminListPaginates(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	for n := range 5 {
		f.product(t, fmt.Sprint("p", n))
	}
	type list struct {
		Products []store.Product
		Next     string
	}
	seen := map[string]bool{}
	query := "?limit=2"
	for pages := 1; ; pages++ {
		status, _, answer := f.admin(t, pages%2, "GET", "/api/v1/products"+query, "", nil)
		if status != http.StatusOK {
			t.Fatal(status, answer)
		}
		page := parse[list](t, answer)
		for _, p := range page.Products {
			seen[p.SKU] = true
		}
		if page.Next == "" {
			if pages != 3 || len(seen) != 5 {
				t.Errorf("%d pages, %v", pages, seen)
			}
			break
		}
		query = "?limit=2&cursor=" + page.Next
	}
	_, _, answer := f.admin(t, 0, "GET", "/api/v1/products?sku=p3", "", nil)
	if page := parse[list](t, answer); len(page.Products) != 1 || page.Products[0].SKU != "p3" {
		t.Errorf("got %s", answer)
	}
	status, _, document := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/api/openapi.json", "", nil)
	for _, want := range []string{`"/api/v1/products/{id}/archive"`, `"compare_at_price":{"type":["string","null"]}`,
		`"price":{"type":"string"}`} {
		if status != http.StatusOK || !strings.Contains(document, want) {
			t.Errorf("%d, no %s in %s", status, want, document)
		}
	}
}

func TestPublicAppRejectsBadInput(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp := f.product(t, "lamp")
	for path, status := range map[string]int{
		"/fragments/card/9999": 404, "/fragments/card/abc": 400, "/fragments/card/-1": 400,
		"/fragments/poster/1": 404, "/fragments/card/1?v=abc": 400, "/fragments/card/1?v=-5": 400,
		"/shop/products/9999": 404, "/shop/products/abc": 404, "/shop?after=x": 400, "/shop?before=0": 400,
		"/assets/../web.go": 404, "/assets/nothing.js": 404, "/nothing": 404,
		"/live": 426,
	} {
		got, headers, answer := call(t, "GET", f.public(0, path), "", nil)
		if got != status {
			t.Errorf("%s: %d %s, want %d", path, got, answer, status)
		}
		if page := strings.HasPrefix(path, "/shop"); page != strings.HasPrefix(headers.Get("Content-Type"), "text/html") {
			t.Errorf("%s: content type %q", path, headers.Get("Content-Type"))
		}
		data := strings.HasPrefix(path, "/fragments") || path == "/live" // not a page, so scripts cannot run
		if !data && !strings.Contains(headers.Get("Content-Security-Policy"), "script-src 'self'") ||
			headers.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, headers)
		}
	}
	status, _, answer := call(t, "POST", f.public(0, "/product/tree/sync"), strings.Repeat("x", 100<<10), nil)
	if status != 413 {
		t.Errorf("a body of 100 KiB: %d %s", status, answer)
	}
	for body, want := range map[string]string{
		`{"jsonrpc":"2.0","id":7,"params":{"product_id":%d}}`: `"id":7,"result":{"html":"`,
		`{"id":"x","params":{"product_id":"%d"}}`:             `"id":"x","result":`,
		`{"params":{"product_id":%d.7,"context":{}}}`:         `"id":null,"result":`,
		`{"id":1,"params":{"product_id":9%d99}}`:              `"error":{"code":404`,
		`{"id":1,"params":{"product_id":"lamp%d"}}`:           `"error":{"code":-32602`,
		`{"id":1,"params":{},"n":%d}`:                         `"error":{"code":-32602`,
	} {
		body = fmt.Sprintf(body, lamp.ID)
		status, _, answer := call(t, "POST", f.public(1, "/product/tree/sync"), body, nil)
		if status != http.StatusOK || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	for _, body := range []string{"", "{", "[]", `"x"`} {
		status, _, answer := call(t, "POST", f.public(1, "/product/tree/sync"), body, nil)
		if status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", body, status, answer)
		}
	}
}

func TestFragmentCacheControl(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	old := f.product(t, "lamp")
	lamp := f.edit(t, 0, old.Rev, `{"stock":1}`)
	path := fmt.Sprintf("/fragments/detail/%d", lamp.ID)
	for query, cache := range map[string]string{
		"":                                "no-cache",
		fmt.Sprint("?v=", lamp.Version):   "public, max-age=31536000, immutable",
		fmt.Sprint("?v=", old.Version):    "no-cache", // the answer is newer
		fmt.Sprint("?v=", lamp.Version+1): "no-cache", // this version does not exist
	} {
		for n := range f.instances {
			status, headers, answer := call(t, "GET", f.public(n, path+query), "", nil)
			if status != http.StatusOK || headers.Get("Cache-Control") != cache ||
				!strings.Contains(answer, fmt.Sprint(lamp.Version)) {
				t.Errorf("%q: %d %q %s", query, status, headers.Get("Cache-Control"), answer)
			}
			if key := headers.Get("Surrogate-Key"); !strings.HasPrefix(key, fmt.Sprintf("product-%d templates-", lamp.ID)) {
				t.Errorf("surrogate key %q", key)
			}
			status, _, _ = call(t, "GET", f.public(n, path+query), "", http.Header{"If-None-Match": {headers.Get("ETag")}})
			if status != http.StatusNotModified {
				t.Errorf("%q again: %d", query, status)
			}
		}
	}
}

func TestOtherOriginsCannotOpenSessions(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	for origin, status := range map[string]int{
		"http://" + f.instances[0].PublicAddr(): http.StatusSwitchingProtocols,
		"":                                      http.StatusSwitchingProtocols,
		"https://evil.example":                  http.StatusForbidden,
		"null":                                  http.StatusForbidden,
	} {
		headers := http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "X-Forwarded-Host": {"evil.example"},
		}
		if origin != "" {
			headers.Set("Origin", origin)
		}
		request, err := http.NewRequest("GET", f.public(0, "/live"), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = headers
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%q: %s, want %d", origin, response.Status, status)
		}
	}
}

// A violation of the protocol or a limit is answered, the session is closed with the
// right code, and other sessions continue.
func TestBadFramesCloseSession(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	bystander := f.shopper(t, 0, "")
	bystander.watch("card", lamp.Rev, mug.Rev)
	bystander.settled()
	text := func(s string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))) }
	var many []string
	for id := range 501 {
		many = append(many, fmt.Sprintf(`{"id":%d,"view":"card"}`, id+1))
	}
	fragmented := ws.MaskFrame(ws.NewFrame(ws.OpText, false, bytes.Repeat([]byte("x"), 9<<10)))
	rest := ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, bytes.Repeat([]byte("x"), 9<<10)))
	for name, c := range map[string]struct {
		bytes []byte
		error string
		code  ws.StatusCode
	}{
		"bad JSON":              {text(`{"watch":`), "bad_json", 1007},
		"bad UTF-8":             {text("{\"watch\":[],\"x\":\"\xff\"}"), "bad_utf8", 1007},
		"a product of abc":      {text(`{"watch":[{"id":"abc"}]}`), "bad_json", 1007},
		"no such view":          {text(`{"watch":[{"id":1,"view":"poster"}]}`), "unknown_view", 1008},
		"a negative product":    {text(`{"watch":[{"id":-1,"view":"card"}]}`), "bad_product", 1008},
		"17 KiB":                {text(strings.Repeat("x", 17<<10)), "too_large", 1009},
		"18 KiB, fragmented":    {append(ws.MustCompileFrame(fragmented), ws.MustCompileFrame(rest)...), "too_large", 1009},
		"501 products":          {text(`{"watch":[` + strings.Join(many, ",") + `]}`), "too_many_products", 1008},
		"unmasked":              {ws.MustCompileFrame(ws.NewTextFrame([]byte(`{}`))), "protocol", 1002},
		"binary":                {ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame([]byte(`{}`)))), "binary", 1003},
		"a stray continuation":  {ws.MustCompileFrame(rest), "protocol", 1002},
		"compressed, uninvited": {[]byte{0xc1, 0x80, 1, 2, 3, 4}, "protocol", 1002},
	} {
		t.Run(name, func(t *testing.T) {
			s := f.shopper(t, 0, "")
			if _, err := s.conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			for {
				got := s.next()
				if got.Error == nil || got.Error.Code == "unknown_product" {
					continue
				}
				if got.Error.Code != c.error || got.Error.Message == "" {
					t.Errorf("got %+v, want %s", got.Error, c.error)
				}
				break
			}
			if code := s.closed(); code != c.code {
				t.Errorf("closed with %d, want %d", code, c.code)
			}
		})
	}
	edited := f.edit(t, 1, lamp.Rev, `{"stock":1}`)
	if got := bystander.next().Fragments; len(got) != 1 || got[0].Rev != edited.Rev {
		t.Errorf("the bystander got %v", got)
	}
}

// Slow requests are cut off, and others are served meanwhile.
func TestSlowRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	addresses := []string{f.instances[0].PublicAddr(), f.instances[1].AdminAddr()}
	ended := make(chan string)
	for _, address := range addresses {
		for name, begin := range map[string]string{
			"headers that do not end": "GET /shop HTTP/1.1\r\nHost: x\r\nX-A: ",
			"a body that does not":    "POST /product/tree/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		} {
			go func() {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					ended <- err.Error()
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(30 * time.Second))
				_, _ = conn.Write([]byte(begin))
				go func() { // a byte now and then does not count as activity
					drip := time.NewTicker(time.Second)
					defer drip.Stop()
					for range drip.C {
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				}()
				_, err = io.Copy(io.Discard, conn)
				if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
					ended <- name + ": it is still open"
					return
				}
				ended <- ""
			}()
		}
	}
	for _, p := range []store.Product{lamp, mug} {
		status, _, _ := call(t, "GET", f.public(0, fmt.Sprintf("/shop/products/%d", p.ID)), "", nil)
		if status != http.StatusOK {
			t.Errorf("somebody else: %d", status)
		}
	}
	for range 2 * len(addresses) {
		if fault := <-ended; fault != "" {
			t.Error(fault)
		}
	}
}
