package serve_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
)

func ifMatch(r store.Rev) http.Header { return http.Header{"If-Match": {etag(r)}} }

// ask calls instance n and wants that status.
func (f *fleet) ask(t testing.TB, n, status int, method, path, body string, headers http.Header) (http.Header, string) {
	t.Helper()
	got, header, answer := f.admin(t, n, method, path, body, headers)
	if got != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return header, answer
}

func productPath(p store.Product) string { return fmt.Sprint("/api/v1/products/", p.ID) }

func TestTheLifeOfAProduct(t *testing.T) {
	f := startFleet(t, nil)
	mug := f.product(t, "mug")
	header, answer := f.ask(t, 0, 201, "POST", "/api/v1/products", `{"sku":"lamp","title":" Lamp ","price":"19.9","currency":"EUR","vendor":"Co","description":"<p>x</p>"}`, nil)
	lamp := parse[store.Product](t, answer)
	if header.Get("Location") != productPath(lamp) || header.Get("ETag") != etag(lamp.Rev) || lamp.Title != "Lamp" || lamp.Published || lamp.Price.String() != "19.90" {
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
		if header, _ := f.ask(t, 0, 412, "POST", productPath(lamp)+"/"+step.action, "", ifMatch(seen)); header.Get("ETag") != etag(lamp.Rev) {
			t.Errorf("%s, stale: current is %s", step.action, header.Get("ETag"))
		}
		f.ask(t, 0, 428, "POST", productPath(lamp)+"/"+step.action, "", nil)
	}
	_, answer = f.ask(t, 0, 200, "PUT", productPath(lamp), `{"sku":"lamp","title":"Lamp 2","price":"5","currency":"EUR","stock":1}`, ifMatch(lamp.Rev))
	if lamp = parse[store.Product](t, answer); lamp.Vendor != "" || lamp.Description != "" || lamp.Stock != 1 || lamp.Title != "Lamp 2" {
		t.Errorf("replaced: %s", answer)
	}
	f.ask(t, 0, 422, "PUT", productPath(lamp), `{"title":"Lamp 3"}`, ifMatch(lamp.Rev))

	// Conditional reads, and answers without a body.
	f.ask(t, 1, 304, "GET", productPath(lamp), "", http.Header{"If-None-Match": {`"1", W/` + etag(lamp.Rev)}})
	f.ask(t, 1, 200, "GET", productPath(lamp), "", http.Header{"If-None-Match": {etag(mug.Rev)}})
	merge := http.Header{"If-Match": {etag(lamp.Rev)}, "Prefer": {"respond-async, return=minimal"}, "Content-Type": {"application/merge-patch+json"}}
	header, answer = f.ask(t, 0, 204, "PATCH", productPath(lamp), `{"vendor":"New","description":null}`, merge)
	if answer != "" || header.Get("Preference-Applied") != "return=minimal" || header.Get("ETag") == etag(lamp.Rev) {
		t.Errorf("%v %q", header, answer)
	}
	header, _ = f.ask(t, 0, 204, "POST", "/api/v1/products", `{"sku":"pot","title":"Pot","price":"1","currency":"EUR"}`, http.Header{"Prefer": {"return=minimal"}})
	if header.Get("Location") == "" {
		t.Errorf("%v", header)
	}
	f.ask(t, 0, 415, "PATCH", productPath(lamp), `x=1`, http.Header{"If-Match": {etag(lamp.Rev)}, "Content-Type": {"application/x-www-form-urlencoded"}})

	type history struct {
		Entries []store.Entry
		Next    string
	}
	_, answer = f.ask(t, 1, 200, "GET", productPath(lamp)+"/history?limit=2", "", nil)
	first := parse[history](t, answer)
	_, answer = f.ask(t, 0, 200, "GET", productPath(lamp)+"/history?limit=100&cursor="+first.Next, "", nil)
	rest := parse[history](t, answer)
	if entries := append(first.Entries, rest.Entries...); len(entries) != 7 || rest.Next != "" || entries[6].Action != store.Created || entries[0].Author != "admin token" {
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

func TestListsOfTheAPI(t *testing.T) {
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
	if !slices.Equal(skus, []string{`"p5"`, `"p4"`, `"p3"`, `"p2"`, `"p1"`, `"p0"`}) { // one price: by id, the other way round
		t.Errorf("got %v", skus)
	}
	page := read(0, "limit=1")
	f.ask(t, 0, 400, "GET", "/api/v1/products?sort=title&cursor="+page.Next, "", nil)
	for _, bad := range []string{"sort=colour", "fields=colour", "colour=red", "published=maybe", "archived=some", "changed_since=-1", "changed_since=x"} {
		f.ask(t, 0, 422, "GET", "/api/v1/products?"+bad, "", nil)
	}
	if got := read(1, "published=false"); len(got.Products) != 0 {
		t.Errorf("got %v", got)
	}
	if got := read(1, "vendor=Co&published=true&archived=any"); len(got.Products) != 6 {
		t.Errorf("got %v", got)
	}
}

// A batch is on a page as one frame, on both instances, with no more than the
// products that the page watches.
func TestABatchIsOneFrame(t *testing.T) {
	f := startFleet(t, nil)
	f.whole(t)
	var edits []string
	var watched []store.Rev
	for n := range 60 {
		p := f.product(t, fmt.Sprint("p", n))
		if n%3 == 0 {
			watched = append(watched, p.Rev)
		}
		edits = append(edits, fmt.Sprintf(`{"id":%d,"version":%d,"set":{"stock":%d}}`, p.ID, p.Version, 100+n))
	}
	shoppers := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
	for _, s := range shoppers {
		s.watch("card", watched...)
		s.settled()
	}
	_, answer := f.ask(t, 0, 200, "POST", "/api/v1/products:batch", `{"all_or_nothing":true,"edits":[`+strings.Join(edits, ",")+`]}`, nil)
	made := parse[struct {
		Made, Failed int
		Results      []struct {
			Status int
			store.Rev
		}
	}](t, answer)
	if made.Made != 60 || made.Failed != 0 || len(made.Results) != 60 || made.Results[59].Status != 200 {
		t.Errorf("%s", answer)
	}
	for n, s := range shoppers {
		got := s.next().Fragments
		if len(got) != len(watched) {
			t.Errorf("instance %d: a frame of %d, want %d", n, len(got), len(watched))
		}
		if more := s.settled(); len(more) > 0 {
			t.Errorf("instance %d: %d frames more", n, len(more))
		}
	}

	// The same again: each is stale, and each for itself says so.
	_, answer = f.ask(t, 1, 200, "POST", "/api/v1/products:batch", `{"edits":[`+edits[0]+`,`+edits[1]+`,{"action":"create","set":{"sku":"new","title":"New","price":"1","currency":"EUR"}}]}`, nil)
	if !strings.Contains(answer, `"made":1,"failed":2`) || strings.Count(answer, "problem:stale-version") != 2 || !strings.Contains(answer, fmt.Sprint(made.Results[1].Version)) {
		t.Errorf("%s", answer)
	}
	_, answer = f.ask(t, 1, 409, "POST", "/api/v1/products:batch", `{"all_or_nothing":true,"edits":[`+edits[0]+`,{"action":"create","set":{"sku":"newer","title":"New","price":"1","currency":"EUR"}}]}`, nil)
	if !strings.Contains(answer, "problem:batch-failed") || !strings.Contains(answer, `"body.edits[0]"`) || strings.Contains(answer, `"body.edits[1]"`) {
		t.Errorf("%s", answer)
	}
	for _, bad := range []string{`{"edits":[]}`, `{"edits":[{"set":{}}]}`, `{"edits":[{"action":"create","id":1,"set":{}}]}`, `{"edits":[{"action":"burn","id":1,"version":1}]}`, `{"edits":[{"id":1,"version":1,"set":{"price":"abc"}}]}`} {
		f.ask(t, 0, 422, "POST", "/api/v1/products:batch", bad, nil)
	}
	if all, err := f.db.List(t.Context(), store.Filter{}, store.Page{Limit: 100}); err != nil || len(all) != 61 {
		t.Errorf("%d products, %v", len(all), err)
	}
}

func TestRepriceAndItsDryRun(t *testing.T) {
	f := startFleet(t, nil)
	f.whole(t)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	f.edit(t, 0, f.product(t, "other").Rev, `{"vendor":"Else"}`)
	a, b := f.shopper(t, 0, ""), f.shopper(t, 1, "")
	a.watch("card", lamp.Rev, mug.Rev)
	b.watch("card", lamp.Rev)
	for _, s := range []*shopper{a, b} {
		s.settled()
	}
	const body = `{"filter":{"vendor":"Co"},"percent":"-10","compare_at_price":"set"}`
	_, answer := f.ask(t, 1, 200, "POST", "/api/v1/products:reprice?dry_run=true", body, nil)
	for _, want := range []string{`"dry_run":true`, `"matched":2`, `"changed":2`, `"pages":2,`, `"complete":true`, `"rounding":"half-away-from-zero"`} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
	if frames := a.settled(); len(frames) > 0 {
		t.Errorf("a dry run was told: %v", frames)
	}
	f.ask(t, 0, 200, "POST", "/api/v1/products:reprice", body, nil)
	if got := a.next().Fragments; len(got) != 2 || !strings.Contains(got[0].HTML, "€17.91") {
		t.Errorf("%+v", got)
	}
	if got := b.next().Fragments; len(got) != 1 || !strings.Contains(got[0].HTML, "€19.90") {
		t.Errorf("%+v", got)
	}
	_, answer = f.ask(t, 0, 200, "GET", fmt.Sprintf("/api/v1/pages?ids=%d,%d,9999", lamp.ID, mug.ID), "", nil)
	if want := fmt.Sprintf(`"products":{"%d":2,"%d":1}`, lamp.ID, mug.ID); !strings.Contains(answer, want) || !strings.Contains(answer, `"instances":2`) {
		t.Errorf("no %s in %s", want, answer)
	}
	for _, bad := range []string{`{"filter":{},"percent":"-100"}`, `{"filter":{},"percent":"0"}`, `{"filter":{},"percent":"ten"}`, `{"percent":"1"}`, `{"filter":{"colour":"red"},"percent":"1"}`, `{"filter":{},"percent":"1","compare_at_price":"burn"}`} {
		f.ask(t, 0, 422, "POST", "/api/v1/products:reprice", bad, nil)
	}
	f.ask(t, 0, 422, "GET", "/api/v1/pages", "", nil)
}

func TestRefreshShowsWhatPlainSQLWrote(t *testing.T) {
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := f.shopper(t, 1, "")
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	_, answer := f.ask(t, 0, 200, "POST", "/api/v1/products:refresh", fmt.Sprintf(`{"ids":[%d,%d,9999]}`, lamp.ID, mug.ID), nil)
	if !strings.Contains(answer, `"missing":[9999]`) {
		t.Error(answer)
	}
	seen := map[int64]bool{}
	for len(seen) < 2 { // in one frame, unless the feed was faster than the bus
		for _, got := range s.next().Fragments {
			seen[got.ID] = true
			if got.Version <= lamp.Version || !strings.Contains(got.HTML, "€19.90") {
				t.Errorf("%+v", got)
			}
		}
	}
	f.ask(t, 0, 422, "POST", "/api/v1/products:refresh", `{"ids":[]}`, nil)
	f.ask(t, 0, 422, "POST", "/api/v1/products:refresh", `{"ids":[0]}`, nil)
}

// The same call with the same key at the same moment on two instances is made
// once, and all get the same answer.
func TestACallWithAKeyIsMadeOnce(t *testing.T) {
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
			header, answer := f.ask(t, n%2, 201, "POST", "/api/v1/products", `{"sku":"pot","title":"Pot","price":"1","currency":"EUR"}`, key("k1", nil))
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
		_, answer := f.ask(t, n, 200, "POST", "/api/v1/products:reprice", `{"filter":{"vendor":"Co"},"percent":"100"}`, key("k2", nil))
		return answer
	}
	if first, second := raise(0), raise(1); first != second {
		t.Errorf("%s, then %s", first, second)
	}
	lamp, err := f.db.Product(t.Context(), lamp.ID)
	if err != nil || lamp.Price.String() != "39.80" {
		t.Errorf("%v, %v", lamp.Price, err)
	}
	// Another call with the key, be it another body, path or If-Match.
	for _, other := range [][2]string{{"/api/v1/products", `{"sku":"pot","title":"Pot","price":"2","currency":"EUR"}`}, {"/api/v1/products:refresh", `{"ids":[1]}`}} {
		if _, answer := f.ask(t, 0, 422, "POST", other[0], other[1], key("k1", nil)); !strings.Contains(answer, "idempotency-key-reused") {
			t.Error(answer)
		}
	}
	// A call that failed for good is answered as it was; its key is another caller's own affair.
	stale := store.Rev{ID: mug.ID, Version: mug.Version - 1}
	f.ask(t, 0, 412, "PATCH", productPath(mug), `{"stock":1}`, key("k3", ifMatch(stale)))
	mug = f.edit(t, 0, now(t, f, mug).Rev, `{"stock":2}`)
	header, _ := f.ask(t, 1, 412, "PATCH", productPath(mug), `{"stock":1}`, key("k3", ifMatch(stale)))
	if header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v", header)
	}
	mine := f.token(t, "erp", store.WriteProducts)
	header, _ = f.ask(t, 1, 200, "PATCH", productPath(mug), `{"stock":1}`, key("k3", http.Header{"If-Match": {etag(now(t, f, mug).Rev)}, "Authorization": {"Bearer " + mine}}))
	if header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%v", header)
	}
	f.ask(t, 0, 422, "POST", "/api/v1/products:refresh", `{"ids":[1]}`, key(strings.Repeat("x", 256), nil))
}

// now is the product as the database has it.
func now(t testing.TB, f *fleet, p store.Product) store.Product {
	t.Helper()
	p, err := f.db.Product(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// token makes one of these scopes.
func (f *fleet) token(t testing.TB, name string, scopes ...string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"name": name, "scopes": scopes})
	if err != nil {
		t.Fatal(err)
	}
	_, answer := f.ask(t, 0, 201, "POST", "/api/v1/tokens", string(text), nil)
	return parse[struct{ Secret string }](t, answer).Secret
}

func bearer(secret string) http.Header { return http.Header{"Authorization": {"Bearer " + secret}} }

func TestWhoMayWhat(t *testing.T) {
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	readers, writers, admins := f.token(t, "reader", store.ReadProducts), f.token(t, "writer", store.WriteProducts), f.token(t, "boss", store.AdminTokens)
	with := func(secret string, more http.Header) http.Header {
		h := bearer(secret)
		for k, v := range more {
			h[k] = v
		}
		return h
	}
	for _, c := range []struct {
		method, path, body string
		more               http.Header
		may                []string
	}{
		{"GET", "/api/v1/products", "", nil, []string{readers, writers}},
		{"GET", productPath(lamp) + "/history", "", nil, []string{readers, writers}},
		{"GET", "/api/v1/changes?wait=0", "", nil, []string{readers, writers}},
		{"POST", "/api/v1/products:refresh", fmt.Sprintf(`{"ids":[%d]}`, mug.ID), nil, []string{writers}},
		{"POST", "/api/v1/products:reprice?dry_run=true", `{"filter":{},"percent":"1"}`, nil, []string{writers}},
		{"GET", "/api/v1/tokens", "", nil, []string{admins}},
		{"GET", "/api/v1/caller", "", nil, []string{readers, writers, admins}},
	} {
		for n, secret := range []string{readers, writers, admins} {
			want := http.StatusForbidden
			if slices.Contains(c.may, secret) {
				want = http.StatusOK
			}
			header, answer := f.ask(t, n%2, want, c.method, c.path, c.body, with(secret, c.more))
			if want == http.StatusForbidden && (!strings.Contains(header.Get("WWW-Authenticate"), "insufficient_scope") || !strings.Contains(answer, "lacks the scope")) {
				t.Errorf("%s: %v %s", c.path, header, answer)
			}
		}
	}
	_, answer := f.ask(t, 1, 200, "PATCH", productPath(lamp), `{"stock":1}`, with(writers, ifMatch(lamp.Rev)))
	lamp = parse[store.Product](t, answer)
	_, answer = f.ask(t, 0, 200, "GET", productPath(lamp)+"/history?limit=1", "", bearer(readers))
	if !strings.Contains(answer, `"author":"writer"`) {
		t.Error(answer)
	}
	_, answer = f.ask(t, 0, 200, "GET", "/api/v1/tokens", "", bearer(admins))
	tokens := parse[struct{ Tokens []store.Token }](t, answer).Tokens
	if len(tokens) != 3 || strings.Contains(answer, "shelfcast_") || tokens[1].Name != "writer" || tokens[1].CreatedBy != "admin token" {
		t.Errorf("%s", answer)
	}
	revoke := fmt.Sprint("/api/v1/tokens/", tokens[1].ID)
	f.ask(t, 0, 403, "DELETE", revoke, "", bearer(writers))
	f.ask(t, 0, 200, "DELETE", revoke, "", bearer(admins))
	f.ask(t, 0, 404, "DELETE", "/api/v1/tokens/999", "", bearer(admins))
	f.ask(t, 0, 401, "GET", "/api/v1/products", "", bearer(writers)) // at once where it was revoked
	f.ask(t, 0, 422, "POST", "/api/v1/tokens", `{"name":"x","scopes":["everything"]}`, bearer(admins))
	// A key that is used again does not show the secret again.
	h := with(admins, http.Header{"Idempotency-Key": {"k"}})
	_, first := f.ask(t, 0, 201, "POST", "/api/v1/tokens", `{"name":"x","scopes":["products:read"],"expires_in_days":90}`, h)
	_, second := f.ask(t, 1, 201, "POST", "/api/v1/tokens", `{"name":"x","scopes":["products:read"],"expires_in_days":90}`, h)
	if !strings.Contains(first, `"secret":"shelfcast_`) || strings.Contains(second, "secret") || parse[store.Token](t, first).ID != parse[store.Token](t, second).ID {
		t.Errorf("%s, then %s", first, second)
	}
}

func TestRatesAreSharedByTheFleet(t *testing.T) {
	f := startFleet(t, func(s *serve.Settings) { s.AdminCalls, s.AdminTries = 10, 5 })
	one, other := f.token(t, "one", store.ReadProducts), f.token(t, "other", store.ReadProducts)
	for n := range 10 {
		header, _ := f.ask(t, n%2, 200, "GET", "/api/v1/products", "", bearer(one))
		if want := fmt.Sprintf(`"calls";r=%d;t=`, 9-n); n < 3 && !strings.HasPrefix(header.Get("RateLimit"), want) || header.Get("RateLimit-Policy") != `"calls";q=10;w=60` {
			t.Errorf("call %d: %s, %s", n, header.Get("RateLimit"), header.Get("RateLimit-Policy"))
		}
	}
	header, answer := f.ask(t, 1, 429, "GET", "/api/v1/products", "", bearer(one))
	if header.Get("Retry-After") == "" || !strings.Contains(answer, "problem:too-many-requests") {
		t.Errorf("%v %s", header, answer)
	}
	f.ask(t, 0, 200, "GET", "/api/v1/products", "", bearer(other))
	// Who tries tokens is answered no more, wherever he tries; those that work go on.
	for n := range 5 {
		f.ask(t, n%2, 401, "GET", "/api/v1/products", "", bearer(fmt.Sprint("shelfcast_NONE", n)))
	}
	for n := range 2 {
		f.ask(t, n, 429, "GET", "/api/v1/products", "", bearer("shelfcast_NONE"))
	}
	f.ask(t, 0, 200, "GET", "/api/v1/products", "", bearer(other))
}

// Whoever follows the changes misses none, long-polling or with a stream, and is
// answered when something happens and not before.
func TestFollowingTheChanges(t *testing.T) {
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	type answer struct {
		Changes []store.Rev
		Next    string
	}
	poll := func(n int, query string) answer {
		t.Helper()
		_, text := f.ask(t, n, 200, "GET", "/api/v1/changes?"+query, "", nil)
		return parse[answer](t, text)
	}
	got := poll(0, fmt.Sprintf("since=%d&wait=0", mug.Version))
	if !slices.Contains(got.Changes, lamp.Rev) || !slices.Contains(got.Changes, mug.Rev) { // of the overlap
		t.Errorf("%+v", got)
	}
	if again := poll(1, "wait=0&since="+got.Next); len(again.Changes) != 0 {
		t.Errorf("%+v", again)
	}
	answered := make(chan answer)
	for n := range 2 {
		go func() { answered <- poll(n, "wait=20&since="+got.Next) }()
	}
	start := time.Now()
	lamp = f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	for range 2 {
		if a := <-answered; !slices.Equal(a.Changes, []store.Rev{lamp.Rev}) {
			t.Errorf("%+v, want %v", a, lamp.Rev)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	// One at a time, and no end that is none.
	page := poll(0, "limit=1&wait=0&since=0")
	var seen []store.Rev
	for len(page.Changes) > 0 && len(seen) < 10 {
		seen = append(seen, page.Changes...)
		page = poll(1, "limit=1&wait=0&since="+page.Next)
	}
	if !slices.Contains(seen, lamp.Rev) || !slices.Contains(seen, mug.Rev) || len(seen) > 4 {
		t.Errorf("%v", seen)
	}
	for _, bad := range []string{"since=x", "since=-1", "wait=31", "limit=0"} {
		if status, _, text := f.admin(t, 0, "GET", "/api/v1/changes?"+bad, "", nil); status != 400 && status != 422 {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
}

// A stream of events goes on by itself, and goes on where it ended.
func TestAStreamOfChanges(t *testing.T) {
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	first := f.events(t, 0, fmt.Sprint(mug.Version))
	seen := map[store.Rev]bool{}
	for range first.next(t).Changes {
		seen[lamp.Rev], seen[mug.Rev] = true, true
	}
	if !seen[lamp.Rev] || !seen[mug.Rev] {
		t.Errorf("%v", seen)
	}
	second := f.events(t, 1, "") // from now on
	for n, seen := range []store.Rev{lamp.Rev, mug.Rev} {
		edited := f.edit(t, n, seen, `{"stock":1}`)
		for _, s := range []*events{first, second} {
			if got := s.next(t); len(got.Changes) != 1 || got.Changes[0] != edited.Rev {
				t.Errorf("%+v, want %v", got, edited.Rev)
			}
		}
	}
	second.body.Close()
	lamp = f.edit(t, 0, now(t, f, lamp).Rev, `{"stock":2}`)
	if got := f.events(t, 1, second.last).next(t); len(got.Changes) != 1 || got.Changes[0] != lamp.Rev {
		t.Errorf("%+v, want %v", got, lamp.Rev)
	}
	f.stop[0]() // nobody waits for those who follow
	if _, err := io.Copy(io.Discard, first.body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

// events is a stream of changes.
type events struct {
	body  io.ReadCloser
	lines *bufio.Scanner
	last  string // id
}

func (f *fleet) events(t testing.TB, n int, lastID string) *events {
	t.Helper()
	request, err := http.NewRequest("GET", "http://"+f.instances[n].AdminAddr()+"/api/v1/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Authorization": {"Bearer " + token}, "Accept": {"text/event-stream"}, "Last-Event-Id": {lastID}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%s %s", response.Status, kind)
	}
	return &events{body: response.Body, lines: bufio.NewScanner(response.Body)}
}

// next is the next event, which has to come.
func (e *events) next(t testing.TB) (got struct {
	Changes []store.Rev
	Next    string
}) {
	t.Helper()
	late := time.AfterFunc(15*time.Second, func() { e.body.Close() })
	defer late.Stop()
	for e.lines.Scan() {
		if id, ok := strings.CutPrefix(e.lines.Text(), "id: "); ok {
			e.last = id
		}
		if data, ok := strings.CutPrefix(e.lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &got); err != nil || got.Next != e.last {
				t.Errorf("%v: %s", err, data)
			}
			return got
		}
	}
	t.Fatalf("the stream has ended: %v", e.lines.Err())
	return got
}

// A catalogue goes out of one shop and into another by the API alone.
func TestACatalogueMovesByTheAPI(t *testing.T) {
	from, to := startFleet(t, nil), startFleet(t, nil)
	for n := range 30 {
		p := from.product(t, fmt.Sprint("p", n))
		from.edit(t, 0, p.Rev, fmt.Sprintf(`{"title":"The \"%d\", né","description":"<p>a,\nb</p>","compare_at_price":"%d.50"}`, n, 50+n))
	}
	gone := from.product(t, "gone")
	from.ask(t, 0, 200, "POST", productPath(gone)+"/archive", "", ifMatch(gone.Rev))
	var many []string // more than an export reads at a time
	for n := range 520 {
		many = append(many, fmt.Sprintf(`{"action":"create","set":{"sku":"m%d","title":"M","price":"1","currency":"JPY"}}`, n))
	}
	from.ask(t, 0, 200, "POST", "/api/v1/products:batch", `{"edits":[`+strings.Join(many, ",")+`]}`, nil)
	csv := http.Header{"Content-Type": {"text/csv"}}
	header, file := from.ask(t, 1, 200, "GET", "/api/v1/products:export?archived=any", "", nil)
	if !strings.HasPrefix(header.Get("Content-Type"), "text/csv") || strings.Count(file, "\n") < 552 {
		t.Fatalf("%v\n%s", header, file)
	}
	type report struct {
		Created, Changed, Unchanged, Failed, Omitted int
		Lines                                        []map[string]any
	}
	load := func(n int, query, file string, headers http.Header) report {
		t.Helper()
		for k, v := range csv {
			headers[k] = v
		}
		_, answer := to.ask(t, n, 200, "POST", "/api/v1/products:import"+query, file, headers)
		return parse[report](t, answer)
	}
	if got := load(0, "?report=all", file, http.Header{"Idempotency-Key": {"k"}}); got.Created != 551 || got.Failed != 0 || len(got.Lines) != 551 || got.Lines[0]["id"] == nil {
		t.Errorf("%+v", got)
	}
	if got := load(1, "?report=all", file, http.Header{"Idempotency-Key": {"k"}}); got.Created != 551 { // the first answer
		t.Errorf("%+v", got)
	}
	if got := load(1, "", file, http.Header{}); got.Unchanged != 551 || len(got.Lines) != 0 {
		t.Errorf("%+v", got)
	}
	to.ask(t, 0, 422, "POST", "/api/v1/products:import?report=all", file+"x", http.Header{"Idempotency-Key": {"k"}, "Content-Type": {"text/csv"}})
	if _, back := to.ask(t, 0, 200, "GET", "/api/v1/products:export?archived=any", "", nil); back != file {
		t.Error("the file that comes back is another one")
	}
	if got := load(0, "", file+"bad,Bad,,,TRUE,bad,1,free,,,active,EUR,\n", http.Header{}); got.Failed != 2 || got.Lines[0]["line"] == nil || got.Lines[0]["error"] == "" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "no,such,columns\n1,2,3\n"} {
		if status, _, answer := to.admin(t, 0, "POST", "/api/v1/products:import", bad, http.Header{"Content-Type": {"text/csv"}}); status != 400 && status != 422 {
			t.Errorf("%q: %d %s", bad, status, answer)
		}
	}
	_, answer := to.ask(t, 0, 200, "GET", "/api/v1/products?limit=1", "", nil)
	if !strings.Contains(answer, `né`) {
		t.Error(answer)
	}
}

// The document has an example of every operation, is a page for people too, and
// knows all that there is.
func TestTheDocumentOfTheAPI(t *testing.T) {
	f := startFleet(t, nil)
	_, _, text := call(t, "GET", "http://"+f.instances[1].AdminAddr()+"/api/openapi.json", "", nil)
	type content map[string]struct{ Example any }
	document := parse[struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Security             []map[string][]string
			RequestBody          *struct{ Content content }
			Responses            map[string]struct{ Content content }
		}
	}](t, text)
	status, headers, page := call(t, "GET", "http://"+f.instances[0].AdminAddr()+"/api/docs", "", nil)
	if status != 200 || !strings.Contains(headers.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(page, "<script") {
		t.Errorf("%d %v", status, headers)
	}
	count := 0
	for path, operations := range document.Paths {
		for method, op := range operations {
			count++
			if op.Summary == "" || op.OperationID == "" || len(op.Security) != 1 || !strings.Contains(page, `id="`+op.OperationID+`"`) {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			examples := 0
			if op.RequestBody != nil {
				for kind, c := range op.RequestBody.Content {
					if c.Example == nil && kind != "text/csv" {
						t.Errorf("%s %s: no example of the body %s", method, path, kind)
					}
				}
			}
			for code, r := range op.Responses {
				for _, c := range r.Content {
					if c.Example != nil && code < "300" {
						examples++
					}
				}
			}
			if examples == 0 {
				t.Errorf("%s %s: no example of an answer", method, path)
			}
		}
	}
	if document.OpenAPI != "3.1.0" || count < 20 {
		t.Errorf("%s with %d operations", document.OpenAPI, count)
	}
}

// Editors on two instances make 200 conditional edits of one product, many at a
// time: of those that had seen the same version exactly one is taken.
func TestOfEditsOfOneVersionOneWins(t *testing.T) {
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
				status, _, answer := f.admin(t, n%2, "PATCH", productPath(lamp), fmt.Sprintf(`{"stock":%d}`, 1000+10*n+i), http.Header{"If-Match": {seen}})
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
	if len(won) < 2 || len(won) < len(tried)-1 { // the last version may have been seen by nobody who won
		t.Errorf("%d versions were edited, %d were seen", len(won), len(tried))
	}
	if p := now(t, f, mug); p.Rev != mug.Rev {
		t.Errorf("the other: %v", p.Rev)
	}
}
