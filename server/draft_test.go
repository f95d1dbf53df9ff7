package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"shelfcast/store"
)

// A product that was never published looks like one that does not exist, on every
// route and in sessions: nobody outside learns that it is created or edited. When it
// is published watchers are told; when it is unpublished it is gone, like other
// products.
func TestDraftIsNotVisible(t *testing.T) {
	t.Parallel()
	f := startFleet(t, once)
	lamp := f.product(t, "lamp")
	staff := f.events(t, 1, "")
	_, _, made := f.admin(t, 0, "POST", "/api/v1/products",
		`{"sku":"secret","title":"Secret","price":"1","currency":"EUR"}`, nil)
	draft := parse[store.Product](t, made)
	const unknown = 4242 // no product ever had this id
	hears := func(want store.Rev) {
		t.Helper()
		for !slices.Contains(staff.next(t).Changes, want) {
		}
	}
	hears(draft.Rev)

	for n := range f.instances {
		for _, path := range []string{
			"/shop/products/%d", "/fragments/card/%d", "/fragments/detail/%d?v=1", "/fragments?ids=%d:0:card",
			"/fragments?ids=%d:1:detail",
			"/live/poll?watch=%d:0:card", "/live/poll?watch=%d:1:detail", "/live/poll?mode=notify&watch=%d:1:card",
		} {
			status, _, body := call(t, "GET", f.public(n, fmt.Sprintf(path, draft.ID)), "", nil)
			want, _, other := call(t, "GET", f.public(n, fmt.Sprintf(path, unknown)), "", nil)
			if other = strings.ReplaceAll(other, fmt.Sprint(unknown), fmt.Sprint(draft.ID)); status != want || body != other {
				t.Errorf("%s: a draft is %d %s, and what there is not %d %s", path, status, body, want, other)
			}
		}
		for _, path := range []string{"/shop", "/sitemaps/products-1.xml"} {
			_, _, body := call(t, "GET", f.public(n, path), "", nil)
			if strings.Contains(body, fmt.Sprintf("products/%d<", draft.ID)) || strings.Contains(body, "Secret") {
				t.Errorf("%s has the draft", path)
			}
		}
		const rpc = `{"jsonrpc":"2.0","id":1,"params":{"product_id":%d}}`
		_, _, body := call(t, "POST", f.public(n, "/product/tree/sync"), fmt.Sprintf(rpc, draft.ID), nil)
		if _, _, other := call(t, "POST", f.public(n, "/product/tree/sync"), fmt.Sprintf(rpc, unknown), nil); body != other {
			t.Errorf("a draft is %s, and what there is not %s", body, other)
		}
	}

	// Watchers, on the other instance too, are told of the lamp next.
	var sessions []*shopper
	var streams []*listener
	var followers []*odooSocket
	for n := range f.instances {
		for _, mode := range []string{"", "mode=notify"} {
			s := f.shopper(t, n, "?"+mode)
			s.watch("card", lamp.Rev, draft.Rev)
			if got := s.next(); got.Error == nil || got.Error.Code != "unknown_product" {
				t.Errorf("who watches a draft is told %+v", got)
			}
			sessions = append(sessions, s)
			l := f.listener(t, n, mode+"&watch="+inURL("card", lamp.Rev, draft.Rev))
			if got := parse[frame](t, l.event()); got.Error == nil || got.Error.Code != "unknown_product" {
				t.Errorf("who watches a draft is told %+v", got)
			}
			streams = append(streams, l)
		}
		o := odooAt(t, f.instances[n].PublicAddr())
		o.following(f)
		followers = append(followers, o)
	}
	for _, o := range followers {
		o.hears(lamp.ID) // and not the draft
	}
	for n := range 4 {
		draft = f.edit(t, n%2, draft.Rev, fmt.Sprintf(`{"stock":%d}`, n+1))
		hears(draft.Rev)
	}
	lamp = f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	hears(lamp.Rev)
	only := func(got frame) {
		t.Helper()
		if len(got.Fragments)+len(got.Changed) != 1 || got.Error != nil ||
			len(got.Fragments) == 1 && got.Fragments[0].Rev != lamp.Rev ||
			len(got.Changed) == 1 && got.Changed[0].Rev != lamp.Rev {
			t.Errorf("heard %+v, want the lamp only", got)
		}
	}
	for _, s := range sessions {
		only(s.next())
	}
	for _, l := range streams {
		only(parse[frame](t, l.event()))
	}
	for _, o := range followers {
		o.hears(lamp.ID)
	}

	draft = f.edit(t, 1, draft.Rev, `{"published":true}`)
	for _, o := range followers {
		o.hears(draft.ID)
	}
	for n := range f.instances {
		status, _, body := call(t, "GET", f.public(n, fmt.Sprintf("/shop/products/%d", draft.ID)), "", nil)
		if status != http.StatusOK || !strings.Contains(body, "Secret") {
			t.Errorf("instance %d: what was published is %d", n, status)
		}
	}
	s := f.shopper(t, 0, "")
	s.watch("card", store.Rev{ID: draft.ID})
	if got := s.next(); len(got.Fragments) != 1 || got.Fragments[0].Rev != draft.Rev {
		t.Errorf("what was published is %+v", got)
	}
	draft = f.edit(t, 1, draft.Rev, `{"published":false}`)
	if got := s.next(); len(got.Fragments) != 1 || got.Fragments[0].Rev != draft.Rev || !got.Fragments[0].Unavailable {
		t.Errorf("what is published no more is %+v", got)
	}
	status, _, body := call(t, "GET", f.public(0, fmt.Sprintf("/fragments/card/%d", draft.ID)), "", nil)
	if status != http.StatusOK || !strings.Contains(body, `"unavailable":true`) {
		t.Errorf("what is published no more is %d %s", status, body)
	}
}
