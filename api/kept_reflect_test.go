//go:build !race

// The walk reads what goroutines of the caches write, unsynchronised as reflection is: the race detector is right about
// it. make test runs it without.

package api

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// A held string is one that can be reached from an app, and what it said when it was
// first seen.
type held struct{ where, now, was string }

// heldBy has all strings that can be reached from a value, for as far as reflection
// goes: what caches hold behind unsafe pointers is to be handed over apart.
func heldBy(roots map[string]any) (all []held) {
	seen := map[[2]any]bool{}
	var walk func(where string, v reflect.Value, depth int)
	walk = func(where string, v reflect.Value, depth int) {
		if depth > 24 {
			return
		}
		switch v.Kind() {
		case reflect.String:
			all = append(all, held{where, v.String(), strings.Clone(v.String())})
		case reflect.Pointer, reflect.Map, reflect.Slice:
			if v.IsNil() || seen[[2]any{v.Pointer(), v.Type()}] {
				return
			}
			seen[[2]any{v.Pointer(), v.Type()}] = true
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(where, v.Elem(), depth+1)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(where+"."+v.Type().Field(i).Name, v.Field(i), depth+1)
			}
		case reflect.Slice, reflect.Array:
			if kind := v.Type().Elem().Kind(); kind == reflect.Uint8 || kind == reflect.Int64 {
				return
			}
			for i := range v.Len() {
				walk(where+"[]", v.Index(i), depth+1)
			}
		case reflect.Map:
			for key, value := range v.Seq2() {
				walk(where+"[key]", key, depth+1)
				walk(where+"[]", value, depth+1)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		walk(name, reflect.ValueOf(roots[name]), 0)
	}
	return all
}

// Nothing that an app keeps beyond a request is text of that request: be it in a cache,
// a counter, a limit, a label or an error. Each request is made with words of its own
// in all that it says, and after it another one in the same memory.
func TestNothingThatIsKeptIsOfARequest(t *testing.T) {
	b := newBare(t)
	roots := func() map[string]any {
		families, err := b.admin.Registerer.(prometheus.Gatherer).Gather()
		if err != nil {
			t.Fatal(err)
		}
		s := &b.public.storefront
		return map[string]any{
			"public": b.public, "admin": b.admin, "metrics": families,
			"pages": slices.Collect(s.pages.Keys()), "made": maps.Collect(s.pages.All()),
			"lists": slices.Collect(s.lists.values.Keys()), "vendors": slices.Collect(s.vendors.values.Keys()),
			"parts": slices.Collect(s.parts.values.Keys()), "maps": slices.Collect(s.maps.values.Keys()),
			"tokens": maps.Collect(b.admin.gate.known.All()), "counted": b.admin.Limiter.alone.byKey,
		}
	}
	request := func(serve fasthttp.RequestHandler, ctx *fasthttp.RequestCtx, method, path, word string) {
		ctx.Request.Reset()
		ctx.Response.Reset()
		ctx.Request.Header.SetMethod(method)
		ctx.Request.SetRequestURI(strings.ReplaceAll(path, "WORD", word))
		ctx.Request.Header.SetHost("127.0.0.1")
		for _, name := range []string{
			"Origin", "Authorization", "Idempotency-Key", "If-None-Match", "If-Match", "Prefer", "Traceparent", "Tracestate", "Accept-Language", "Accept", "Cookie",
			"User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Content-Type", word,
		} {
			ctx.Request.Header.Set(name, "Bearer "+word)
		}
		ctx.Request.SetBodyString(`{"jsonrpc":"2.0","id":"` + word + `","title":"` + word + `","params":{"product_id":42}}`)
		serve(ctx)
	}
	tried := 0
	for name, serve := range map[string]fasthttp.RequestHandler{"public": b.publicApp.Handler(), "admin": b.adminApp.Handler()} {
		ctx := &fasthttp.RequestCtx{}
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
			for _, path := range []string{
				"/shop?q=WORD", "/shop?vendor=WORD", "/shop?sort=title&after=WORD~7", "/shop?sort=title&before=WORD~7", "/shop/products/42?WORD=WORD", "/shop/WORD", "/WORD",
				"/fragments/card/42?v=17&WORD", "/fragments/WORD/42", "/fragments?ids=42:17:WORD", "/robots.txt?WORD", "/sitemap.xml?WORD", "/product/tree/sync?WORD",
				"/assets/WORD", "/admin?WORD", "/metrics?WORD", "/readyz?WORD", "/api/v1/products/WORD", "/api/v1/products:import?currency=WORD", "/api/v1/tokens?name=WORD",
				"/api/docs?WORD", "/api/openapi.json?WORD",
			} {
				if name == "public" && strings.Contains(path, "ids=") {
					continue // it asks the hub, which a bare has none of
				}
				request(serve, ctx, method, path, "aaaaaaaaaaaa")
				before := heldBy(roots())
				request(serve, ctx, method, path, "bbbbbbbbbbbb")
				for _, h := range before {
					if h.now != h.was {
						t.Errorf("%s %s: %s said %q, and says %q since the next request", method, path, h.where, h.was, h.now)
					}
				}
				if len(before) < 200 {
					t.Fatalf("only %d strings were found", len(before))
				}
				tried++
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests were made", tried)
	}
}
