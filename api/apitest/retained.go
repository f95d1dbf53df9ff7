package apitest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// A retained string can be reached from an app. now shares its memory; was is a copy made when it was first seen.
type retained struct{ where, now, was string }

// retainedBy returns all strings that can be reached from the roots by reflection, through otter's caches too.
func retainedBy(roots map[string]any) (all []retained) {
	seen := map[[2]any]bool{}
	var walk func(where string, v reflect.Value, depth int)
	walk = func(where string, v reflect.Value, depth int) {
		if depth > 24 {
			return
		}
		switch v.Kind() {
		case reflect.String:
			all = append(all, retained{where, v.String(), strings.Clone(v.String())})
		case reflect.Pointer, reflect.Map, reflect.Slice:
			if v.IsNil() || seen[[2]any{v.Pointer(), v.Type()}] {
				return
			}
			seen[[2]any{v.Pointer(), v.Type()}] = true
		}
		switch v.Kind() {
		case reflect.Pointer:
			if strings.HasPrefix(v.Type().Elem().Name(), "Cache[") { // of otter, which holds its entries behind unsafe pointers
				cache := reflect.NewAt(v.Type().Elem(), v.UnsafePointer()) // callable, though the field is not exported
				for key, value := range cache.MethodByName("All").Call(nil)[0].Seq2() {
					walk(where+"[key]", key, depth+1)
					walk(where+"[]", value, depth+1)
				}
			}
			walk(where, v.Elem(), depth+1)
		case reflect.Interface:
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

// NothingOfARequestIsRetained fails if a string that can be reached from the roots after a request is memory of that
// request: in a cache, a counter, a limit, a label or an error. Each request is made with a word of its own in all
// that it says, and after it another one in the same memory.
func NothingOfARequestIsRetained(t *testing.T, app *fiber.App, roots func() map[string]any, paths ...string) {
	t.Helper()
	serve, ctx := app.Handler(), &fasthttp.RequestCtx{}
	request := func(method, path, word string) {
		ctx.Request.Reset()
		ctx.Response.Reset()
		ctx.Request.Header.SetMethod(method)
		ctx.Request.SetRequestURI(strings.ReplaceAll(path, "WORD", word))
		ctx.Request.Header.SetHost("127.0.0.1")
		for _, name := range []string{
			"Origin", "Authorization", "Idempotency-Key", "If-None-Match", "If-Match",
			"Prefer", "Traceparent", "Tracestate", "Accept-Language", "Accept", "Cookie",
			"User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Content-Type", word,
		} {
			ctx.Request.Header.Set(name, "Bearer "+word)
		}
		ctx.Request.SetBodyString(`{"jsonrpc":"2.0","id":"` + word + `","title":"` + word + `","params":{"product_id":42}}`)
		serve(ctx)
	}
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		for _, path := range append([]string{
			"/shop?q=WORD", "/shop?vendor=WORD", "/shop?sort=title&after=WORD~7",
			"/shop?sort=title&before=WORD~7", "/shop/products/42?WORD=WORD", "/shop/WORD", "/WORD",
			"/fragments/card/42?v=17&WORD", "/fragments/WORD/42",
			"/robots.txt?WORD", "/sitemap.xml?WORD", "/product/tree/sync?WORD",
			"/assets/WORD", "/admin?WORD", "/metrics?WORD", "/readyz?WORD", "/api/v1/products/WORD",
			"/api/v1/products:import?currency=WORD", "/api/v1/tokens?name=WORD",
			"/api/docs?WORD", "/api/openapi.json?WORD",
		}, paths...) {
			request(method, path, "aaaaaaaaaaaa")
			before := retainedBy(roots())
			request(method, path, "bbbbbbbbbbbb")
			for _, s := range before {
				if s.now != s.was {
					t.Errorf("%s %s: %s said %q, and says %q since the next request", method, path, s.where, s.was, s.now)
				}
			}
			if len(before) < 200 {
				t.Fatalf("only %d strings were found", len(before))
			}
		}
	}
}
