package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"shelfcast/store"
)

// A batch reaches a page as one frame, on both instances, with only the products that
// the page watches.
func TestBatchIsDeliveredInOneFrame(t *testing.T) {
	t.Parallel()
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
	_, answer := f.ask(t, 0, 200, "POST", "/api/v1/products:batch",
		`{"all_or_nothing":true,"edits":[`+strings.Join(edits, ",")+`]}`, nil)
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

	// Sent again, each edit is stale, and is reported as such.
	_, answer = f.ask(t, 1, 200, "POST", "/api/v1/products:batch", `{"edits":[`+edits[0]+`,`+edits[1]+
		`,{"action":"create","set":{"sku":"new","title":"New","price":"1","currency":"EUR"}}]}`, nil)
	if !strings.Contains(answer, `"made":1,"failed":2`) || strings.Count(answer, "problem:stale-version") != 2 ||
		!strings.Contains(answer, fmt.Sprint(made.Results[1].Version)) {
		t.Errorf("%s", answer)
	}
	_, answer = f.ask(t, 1, 409, "POST", "/api/v1/products:batch", `{"all_or_nothing":true,"edits":[`+edits[0]+
		`,{"action":"create","set":{"sku":"newer","title":"New","price":"1","currency":"EUR"}}]}`, nil)
	if !strings.Contains(answer, "problem:batch-failed") || !strings.Contains(answer, `"body.edits[0]"`) ||
		strings.Contains(answer, `"body.edits[1]"`) {
		t.Errorf("%s", answer)
	}
	for _, bad := range []string{`{"edits":[]}`, `{"edits":[{"set":{}}]}`,
		`{"edits":[{"action":"create","id":1,"set":{}}]}`, `{"edits":[{"action":"burn","id":1,"version":1}]}`,
		`{"edits":[{"id":1,"version":1,"set":{"price":"abc"}}]}`} {
		f.ask(t, 0, 422, "POST", "/api/v1/products:batch", bad, nil)
	}
	if all, _, err := f.db.List(t.Context(), store.Filter{}, store.Page{Limit: 100}); err != nil || len(all) != 61 {
		t.Errorf("%d products, %v", len(all), err)
	}
}

func TestRepriceAndDryRun(t *testing.T) {
	t.Parallel()
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
	for _, want := range []string{`"dry_run":true`, `"matched":2`, `"changed":2`, `"pages":2,`, `"complete":true`,
		`"rounding":"half-away-from-zero"`} {
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
	if want := fmt.Sprintf(`"products":{"%d":2,"%d":1}`, lamp.ID, mug.ID); !strings.Contains(answer, want) ||
		!strings.Contains(answer, `"instances":2`) {
		t.Errorf("no %s in %s", want, answer)
	}
	for _, bad := range []string{`{"filter":{},"percent":"-100"}`, `{"filter":{},"percent":"0"}`,
		`{"filter":{},"percent":"ten"}`, `{"percent":"1"}`, `{"filter":{"colour":"red"},"percent":"1"}`,
		`{"filter":{},"percent":"1","compare_at_price":"burn"}`} {
		f.ask(t, 0, 422, "POST", "/api/v1/products:reprice", bad, nil)
	}
	f.ask(t, 0, 422, "GET", "/api/v1/pages", "", nil)
}

func TestRefreshDeliversPlainSQL(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := f.shopper(t, 1, "")
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	_, answer := f.ask(t, 0, 200, "POST", "/api/v1/products:refresh",
		fmt.Sprintf(`{"ids":[%d,%d,9999]}`, lamp.ID, mug.ID), nil)
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

// A catalogue is exported from one shop and imported into another through the API.
func TestExportAndImportThroughTheAPI(t *testing.T) {
	t.Parallel()
	from, to := startFleet(t, nil), startFleet(t, nil)
	for n := range 30 {
		p := from.product(t, fmt.Sprint("p", n))
		from.edit(t, 0, p.Rev,
			fmt.Sprintf(`{"title":"The \"%d\", né","description":"<p>a,\nb</p>","compare_at_price":"%d.50"}`, n, 50+n))
	}
	gone := from.product(t, "gone")
	from.ask(t, 0, 200, "POST", productPath(gone)+"/archive", "", ifMatch(gone.Rev))
	var many []string // more than an export reads in one query
	for n := range 520 {
		many = append(many,
			fmt.Sprintf(`{"action":"create","set":{"sku":"m%d","title":"M","price":"1","currency":"JPY"}}`, n))
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
	if got := load(0, "?report=all", file, http.Header{"Idempotency-Key": {"k"}}); got.Created != 551 || got.Failed != 0 ||
		len(got.Lines) != 551 || got.Lines[0]["id"] == nil {
		t.Errorf("%+v", got)
	}
	// The answer of the first call.
	if got := load(1, "?report=all", file, http.Header{"Idempotency-Key": {"k"}}); got.Created != 551 {
		t.Errorf("%+v", got)
	}
	if got := load(1, "", file, http.Header{}); got.Unchanged != 551 || len(got.Lines) != 0 {
		t.Errorf("%+v", got)
	}
	to.ask(t, 0, 422, "POST", "/api/v1/products:import?report=all", file+"x",
		http.Header{"Idempotency-Key": {"k"}, "Content-Type": {"text/csv"}})
	if _, back := to.ask(t, 0, 200, "GET", "/api/v1/products:export?archived=any", "", nil); back != file {
		t.Error("the file that comes back is another one")
	}
	if got := load(0, "", file+"bad,Bad,,,TRUE,bad,1,free,,,active,EUR,\n", http.Header{}); got.Failed != 2 ||
		got.Lines[0]["line"] == nil || got.Lines[0]["error"] == "" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "no,such,columns\n1,2,3\n"} {
		status, _, answer := to.admin(t, 0, "POST", "/api/v1/products:import", bad, http.Header{"Content-Type": {"text/csv"}})
		if status != 400 && status != 422 {
			t.Errorf("%q: %d %s", bad, status, answer)
		}
	}
	_, answer := to.ask(t, 0, 200, "GET", "/api/v1/products?limit=1", "", nil)
	if !strings.Contains(answer, `né`) {
		t.Error(answer)
	}
}
