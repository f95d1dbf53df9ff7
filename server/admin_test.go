package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"shelfcast/store"
)

func ifMatch(r store.Rev) http.Header { return http.Header{"If-Match": {etag(r)}} }

// ask calls instance n, and fails the test if the status is another.
func (f *fleet) ask(t testing.TB, n, status int, method, path, body string, headers http.Header) (http.Header, string) {
	t.Helper()
	got, header, answer := f.admin(t, n, method, path, body, headers)
	if got != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return header, answer
}

func productPath(p store.Product) string { return fmt.Sprint("/api/v1/products/", p.ID) }

func TestProductLifecycle(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	mug := f.product(t, "mug")
	header, answer := f.ask(t, 0, 201, "POST", "/api/v1/products",
		`{"sku":"lamp","title":" Lamp ","price":"19.9","currency":"EUR","vendor":"Co","description":"<p>x</p>"}`, nil)
	lamp := parse[store.Product](t, answer)
	if header.Get("Location") != productPath(lamp) || header.Get("ETag") != etag(lamp.Rev) || lamp.Title != "Lamp" ||
		lamp.Published || lamp.Price.String() != "19.90" {
		t.Errorf("%v %s", header, answer)
	}
	for _, step := range []struct {
		action string
		is     func(store.Product) bool
	}{
		{"publish", func(p store.Product) bool { return p.Published }},
		{"archive", func(p store.Product) bool { return p.Archived && p.ArchivedAt != nil }},
		{"restore", func(p store.Product) bool { return p.Published && !p.Archived && p.ArchivedAt == nil }},
		{"unpublish", func(p store.Product) bool { return !p.Published }},
	} {
		seen := lamp.Rev
		_, answer := f.ask(t, 1, 200, "POST", productPath(lamp)+"/"+step.action, "", ifMatch(seen))
		if lamp = parse[store.Product](t, answer); !step.is(lamp) || lamp.Version <= seen.Version {
			t.Errorf("%s: %s", step.action, answer)
		}
		header, _ := f.ask(t, 0, 412, "POST", productPath(lamp)+"/"+step.action, "", ifMatch(seen))
		if header.Get("ETag") != etag(lamp.Rev) {
			t.Errorf("%s, stale: current is %s", step.action, header.Get("ETag"))
		}
		f.ask(t, 0, 428, "POST", productPath(lamp)+"/"+step.action, "", nil)
	}
	_, answer = f.ask(t, 0, 200, "PUT", productPath(lamp),
		`{"sku":"lamp","title":"Lamp 2","price":"5","currency":"EUR","stock":1}`, ifMatch(lamp.Rev))
	if lamp = parse[store.Product](t, answer); lamp.Vendor != "" || lamp.Description != "" || lamp.Stock != 1 ||
		lamp.Title != "Lamp 2" {
		t.Errorf("replaced: %s", answer)
	}
	f.ask(t, 0, 422, "PUT", productPath(lamp), `{"title":"Lamp 3"}`, ifMatch(lamp.Rev))

	// Conditional reads, and answers without a body.
	f.ask(t, 1, 304, "GET", productPath(lamp), "", http.Header{"If-None-Match": {`"1", W/` + etag(lamp.Rev)}})
	f.ask(t, 1, 200, "GET", productPath(lamp), "", http.Header{"If-None-Match": {etag(mug.Rev)}})
	merge := http.Header{"If-Match": {etag(lamp.Rev)}, "Prefer": {"respond-async, return=minimal"},
		"Content-Type": {"application/merge-patch+json"}}
	header, answer = f.ask(t, 0, 204, "PATCH", productPath(lamp), `{"vendor":"New","description":null}`, merge)
	if answer != "" || header.Get("Preference-Applied") != "return=minimal" || header.Get("ETag") == etag(lamp.Rev) {
		t.Errorf("%v %q", header, answer)
	}
	header, _ = f.ask(t, 0, 204, "POST", "/api/v1/products", `{"sku":"pot","title":"Pot","price":"1","currency":"EUR"}`,
		http.Header{"Prefer": {"return=minimal"}})
	if header.Get("Location") == "" {
		t.Errorf("%v", header)
	}
	f.ask(t, 0, 415, "PATCH", productPath(lamp), `x=1`,
		http.Header{"If-Match": {etag(lamp.Rev)}, "Content-Type": {"application/x-www-form-urlencoded"}})

	type history struct {
		Entries []store.HistoryEntry
		Next    string
	}
	_, answer = f.ask(t, 1, 200, "GET", productPath(lamp)+"/history?limit=2", "", nil)
	first := parse[history](t, answer)
	_, answer = f.ask(t, 0, 200, "GET", productPath(lamp)+"/history?limit=100&cursor="+first.Next, "", nil)
	rest := parse[history](t, answer)
	if entries := append(first.Entries, rest.Entries...); len(entries) != 7 || rest.Next != "" ||
		entries[6].Action != store.Created || entries[0].Author != "admin token" {
		t.Errorf("%+v", entries)
	}
	if change := first.Entries[0].Changes[0]; change.Field != "vendor" || string(change.To) != `"New"` {
		t.Errorf("%+v", first.Entries[0])
	}
	f.ask(t, 0, 404, "GET", "/api/v1/products/9999/history", "", nil)
	if now, err := f.db.Product(t.Context(), mug.ID); err != nil || now.Rev != mug.Rev {
		t.Errorf("the other: %v, %v", now.Rev, err)
	}
}

func TestAdminListFiltersAndSorts(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	for n := range 6 {
		f.product(t, fmt.Sprint("p", n))
	}
	type list struct {
		Products []map[string]json.RawMessage
		Next     string
	}
	read := func(n int, query string) list {
		t.Helper()
		_, answer := f.ask(t, n, 200, "GET", "/api/v1/products?"+query, "", nil)
		return parse[list](t, answer)
	}
	var skus []string
	query := "sort=-price&limit=4&fields=sku,price&q=P"
	for n := 0; ; n++ {
		page := read(n%2, query)
		for _, p := range page.Products {
			if len(p) != 4 {
				t.Errorf("got the fields %v", p)
			}
			skus = append(skus, string(p["sku"]))
		}
		if page.Next == "" {
			break
		}
		query = "sort=-price&limit=4&fields=sku,price&q=P&cursor=" + page.Next
	}
	// Equal prices are ordered by id, descending.
	if !slices.Equal(skus, []string{`"p5"`, `"p4"`, `"p3"`, `"p2"`, `"p1"`, `"p0"`}) {
		t.Errorf("got %v", skus)
	}
	page := read(0, "limit=1")
	f.ask(t, 0, 400, "GET", "/api/v1/products?sort=title&cursor="+page.Next, "", nil)
	for _, bad := range []string{"sort=colour", "fields=colour", "colour=red", "published=maybe", "archived=some",
		"changed_since=-1", "changed_since=x"} {
		f.ask(t, 0, 422, "GET", "/api/v1/products?"+bad, "", nil)
	}
	if got := read(1, "published=false"); len(got.Products) != 0 {
		t.Errorf("got %v", got)
	}
	if got := read(1, "vendor=Co&published=true&archived=any"); len(got.Products) != 6 {
		t.Errorf("got %v", got)
	}
}

// Concurrent calls with the same idempotency key on two instances are run once, and
// all get the same answer.
func TestIdempotencyKeyRunsCallOnce(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	key := func(name string, more http.Header) http.Header {
		h := http.Header{"Idempotency-Key": {name}}
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	var mu sync.Mutex
	answers, replayed := map[string]int{}, 0
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			header, answer := f.ask(t, n%2, 201, "POST", "/api/v1/products",
				`{"sku":"pot","title":"Pot","price":"1","currency":"EUR"}`, key("k1", nil))
			mu.Lock()
			defer mu.Unlock()
			answers[header.Get("ETag")+header.Get("Location")+answer]++
			if header.Get("Idempotency-Replayed") == "true" {
				replayed++
			}
		})
	}
	all.Wait()
	if len(answers) != 1 || replayed != 9 {
		t.Errorf("%d answers, %d of them again: %v", len(answers), replayed, answers)
	}
	raise := func(n int) string {
		_, answer := f.ask(t, n, 200, "POST", "/api/v1/products:reprice", `{"filter":{"vendor":"Co"},"percent":"100"}`,
			key("k2", nil))
		return answer
	}
	if first, second := raise(0), raise(1); first != second {
		t.Errorf("%s, then %s", first, second)
	}
	lamp, err := f.db.Product(t.Context(), lamp.ID)
	if err != nil || lamp.Price.String() != "39.80" {
		t.Errorf("%v, %v", lamp.Price, err)
	}
	// The key with another body, path or If-Match is refused.
	for _, other := range [][2]string{{"/api/v1/products", `{"sku":"pot","title":"Pot","price":"2","currency":"EUR"}`},
		{"/api/v1/products:refresh", `{"ids":[1]}`}} {
		_, answer := f.ask(t, 0, 422, "POST", other[0], other[1], key("k1", nil))
		if !strings.Contains(answer, "idempotency-key-reused") {
			t.Error(answer)
		}
	}
	// A failed call gets its answer again; another caller may use the same key.
	stale := store.Rev{ID: mug.ID, Version: mug.Version - 1}
	f.ask(t, 0, 412, "PATCH", productPath(mug), `{"stock":1}`, key("k3", ifMatch(stale)))
	mug = f.edit(t, 0, now(t, f, mug).Rev, `{"stock":2}`)
	header, _ := f.ask(t, 1, 412, "PATCH", productPath(mug), `{"stock":1}`, key("k3", ifMatch(stale)))
	if header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v", header)
	}
	mine := f.token(t, "erp", store.WriteProducts)
	header, _ = f.ask(t, 1, 200, "PATCH", productPath(mug), `{"stock":1}`,
		key("k3", http.Header{"If-Match": {etag(now(t, f, mug).Rev)}, "Authorization": {"Bearer " + mine}}))
	if header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%v", header)
	}
	f.ask(t, 0, 422, "POST", "/api/v1/products:refresh", `{"ids":[1]}`, key(strings.Repeat("x", 256), nil))
}

// now returns the product in the database.
func now(t testing.TB, f *fleet, p store.Product) store.Product {
	t.Helper()
	p, err := f.db.Product(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Editors on two instances make 200 concurrent conditional edits of one product: of
// those that had seen the same version exactly one succeeds.
func TestOneConcurrentPatchWinsPerVersion(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	var mu sync.Mutex
	won, tried := map[string]int{}, map[string]int{}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			for i := range 10 {
				header, _ := f.ask(t, n%2, 200, "GET", productPath(lamp), "", nil)
				seen := header.Get("ETag")
				match := http.Header{"If-Match": {seen}}
				status, _, answer := f.admin(t, n%2, "PATCH", productPath(lamp), fmt.Sprintf(`{"stock":%d}`, 1000+10*n+i), match)
				mu.Lock()
				tried[seen]++
				if status == http.StatusOK {
					won[seen]++
				} else if status != http.StatusPreconditionFailed {
					t.Errorf("%d %s", status, answer)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for seen, n := range won {
		if n != 1 {
			t.Errorf("%d edits of version %s were taken", n, seen)
		}
	}
	if len(won) < 2 || len(won) < len(tried)-1 { // no winner may have seen the last version
		t.Errorf("%d versions were edited, %d were seen", len(won), len(tried))
	}
	if p := now(t, f, mug); p.Rev != mug.Rev {
		t.Errorf("the other: %v", p.Rev)
	}
}
