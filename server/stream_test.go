package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A listener is a page on an event stream.
type listener struct {
	t        testing.TB
	response *http.Response
	events   *bufio.Scanner
}

func (f *fleet) listener(t testing.TB, n int, query string) *listener {
	t.Helper()
	return listenAt(t, f.public(n, "/live/sse?"+query))
}

func listenAt(t testing.TB, url string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(response.Status, response.Header)
	}
	l := &listener{t, response, bufio.NewScanner(response.Body)}
	l.events.Buffer(nil, 1<<20)
	if got := l.event(); got != "{}" {
		t.Errorf("the first event is %q", got)
	}
	return l
}

// event returns the data of the next event, and fails the test if none arrives.
func (l *listener) event() string {
	l.t.Helper()
	for l.events.Scan() {
		if data, ok := strings.CutPrefix(l.events.Text(), "data: "); ok {
			return data
		}
	}
	l.t.Fatalf("the stream has ended: %v", l.events.Err())
	return ""
}

func inURL(view string, products ...store.Rev) string {
	items := make([]string, len(products))
	for i, r := range products {
		items[i] = fmt.Sprintf("%d:%d:%s", r.ID, r.Version, view)
	}
	return strings.Join(items, ",")
}

// Pages on both instances receive edits of either, over event streams.
func TestEventStreamReceivesEdits(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	pages := []*listener{
		f.listener(t, 0, "watch="+inURL("card", lamp.Rev, mug.Rev)),
		f.listener(t, 1, "watch="+inURL("card", store.Rev{ID: mug.ID})),
		f.listener(t, 1, "mode=notify&watch="+inURL("detail", lamp.Rev)),
	}
	if got := parse[frame](t, pages[1].event()); len(got.Fragments) != 1 || got.Fragments[0].Rev != mug.Rev {
		t.Errorf("who shows nothing yet is sent %v", got)
	}
	lamp = f.edit(t, 1, lamp.Rev, `{"price":"17.50"}`)
	if got := parse[frame](t, pages[0].event()); len(got.Fragments) != 1 || got.Fragments[0].Rev != lamp.Rev ||
		!strings.Contains(got.Fragments[0].HTML, "17.50") {
		t.Errorf("got %v", got)
	}
	if got := parse[frame](t, pages[2].event()); len(got.Changed) != 1 || got.Changed[0].Rev != lamp.Rev ||
		got.Changed[0].View != "detail" {
		t.Errorf("got %v", got)
	}
	mug = f.edit(t, 0, mug.Rev, `{"price":"7.50"}`)
	for _, page := range pages[:2] {
		if got := parse[frame](t, page.event()); len(got.Fragments) != 1 || got.Fragments[0].Rev != mug.Rev {
			t.Errorf("got %v", got)
		}
	}
	header := pages[0].response.Header
	if header.Get("Cache-Control") != "no-store, no-transform" || header.Get("X-Accel-Buffering") != "no" ||
		header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v", header)
	}
	if n := f.counter(t, "shelfcast_sessions_opened_total", "event-stream"); n != 3 {
		t.Errorf("%v were counted", n)
	}
	// A stopping instance ends its streams.
	f.stop[0]()
	if pages[0].events.Scan(); pages[0].events.Err() != nil {
		t.Errorf("it ended with %v", pages[0].events.Err())
	}
	lamp = f.edit(t, 1, lamp.Rev, `{"price":"18.50"}`)
	if got := parse[frame](t, pages[2].event()); got.Changed[0].Rev != lamp.Rev {
		t.Errorf("got %v", got)
	}
}

func TestPollReceivesEdits(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	poll := func(n int, query string) frame {
		t.Helper()
		status, headers, body := call(t, "GET", f.public(n, "/live/poll?"+query), "", nil)
		if status != http.StatusOK || headers.Get("Cache-Control") != "no-store" {
			t.Fatal(status, headers, body)
		}
		return parse[frame](t, body)
	}
	if got := poll(1, "watch="+inURL("card", lamp.Rev, mug.Rev)); got.Fragments == nil || len(got.Fragments) != 0 {
		t.Errorf("got %v", got)
	}
	edited := f.edit(t, 0, mug.Rev, `{"title":"A better mug"}`)
	testkit.Eventually(t, "the other instance has heard of it", func() bool {
		got := poll(1, "watch="+inURL("card", lamp.Rev, mug.Rev))
		return len(got.Fragments) == 1 && got.Fragments[0].Rev == edited.Rev &&
			strings.Contains(got.Fragments[0].HTML, "A better mug")
	})
	got := poll(0, "mode=notify&watch="+inURL("card", lamp.Rev, mug.Rev))
	if len(got.Changed) != 1 || got.Changed[0].Rev != edited.Rev {
		t.Errorf("got %v", got)
	}
	if got := poll(0, "watch=1:1"); len(got.Fragments) != 0 && got.Fragments[0].ID != 1 {
		t.Errorf("got %v", got)
	}
}

// Invalid requests are refused with a reason, on the WebSocket, the stream and the
// poll.
func TestEventStreamRefusals(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Origins = []string{"https://shop.example"} })
	lamp := f.product(t, "lamp")
	for path, want := range map[string]int{
		"/live/sse?watch=nonsense": 400, "/live/poll?watch=1:2:nosuchview": 400,
		"/live/sse?mode=loud": 400, "/live/poll?mode=loud": 400,
		"/fragments?ids=": 400, "/fragments?ids=x": 400,
		"/fragments?ids=" + strings.Repeat("1,", 100) + "1": 400, "/fragments/nosuchview/1": 404,
	} {
		status, _, body := call(t, "GET", f.public(0, path), "", nil)
		if status != want || !strings.Contains(body, `"detail"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/live/sse", "/live/poll"} {
		if status, headers, _ := call(t, "HEAD", f.public(0, path), "", nil); status != 405 || headers.Get("Allow") != "GET" {
			t.Errorf("HEAD %s: %d %v", path, status, headers)
		}
		status, _, _ := call(t, "GET", f.public(0, path), "", http.Header{"Origin": {"https://elsewhere.example"}})
		if status != 403 {
			t.Errorf("%s of another origin: %d", path, status)
		}
	}
	if n := f.instances[0].Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	f.listener(t, 0, "watch="+inURL("card", lamp.Rev)) // a valid request is accepted
}

// Many fragments are one request, which a CDN may cache if it names exactly the
// current versions.
func TestFragmentsEndpointManyProducts(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	get := func(n int, path string) (http.Header, frame) {
		t.Helper()
		status, headers, body := call(t, "GET", f.public(n, path), "", nil)
		if status != http.StatusOK {
			t.Fatal(status, body)
		}
		return headers, parse[frame](t, body)
	}
	exact := "/fragments?ids=" + inURL("card", lamp.Rev, mug.Rev) + "," + inURL("detail", mug.Rev)
	for n := range f.instances {
		headers, got := get(n, exact)
		if len(got.Fragments) != 3 || got.Fragments[0].Rev != lamp.Rev || got.Fragments[1].View != "card" ||
			got.Fragments[2].View != "detail" {
			t.Errorf("got %v", got)
		}
		if headers.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			!strings.HasPrefix(headers.Get("Surrogate-Key"), fmt.Sprintf("product-%d product-%d", lamp.ID, mug.ID)) ||
			headers.Get("Vary") != "" {
			t.Errorf("got %v", headers)
		}
		status, _, body := call(t, "GET", f.public(n, exact), "", http.Header{"If-None-Match": {headers.Get("ETag")}})
		if status != http.StatusNotModified || body != "" {
			t.Errorf("%d %s", status, body)
		}
	}
	before, _ := get(0, exact)
	edited := f.edit(t, 0, mug.Rev, `{"stock":1}`)
	headers, got := get(0, exact)
	if got.Fragments[1].Rev != edited.Rev || headers.Get("Cache-Control") != "no-cache" ||
		headers.Get("ETag") == before.Get("ETag") {
		t.Errorf("what is not what the URL names may be kept: %v %v", got, headers)
	}
	for _, query := range []string{inURL("card", lamp.Rev) + ",999999", fmt.Sprint(lamp.ID)} {
		headers, got := get(1, "/fragments?ids="+query)
		if len(got.Fragments) != 1 || got.Fragments[0].Rev != lamp.Rev || headers.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: got %v %v", query, got, headers)
		}
	}
}

// Pages of allowed origins may fetch public resources, without credentials; what is
// cached for one origin is not served to another.
func TestCORSForFragments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed            []string
		origin, want, vary string
	}{
		{nil, "https://a.example", "", ""},
		{[]string{"*"}, "https://a.example", "*", ""},
		{[]string{"https://a.example", "https://b.example"}, "https://b.example", "https://b.example", "Origin"},
		{[]string{"https://a.example", "https://b.example"}, "https://c.example", "", "Origin"},
		{[]string{"https://a.example", "https://b.example"}, "", "", "Origin"},
	} {
		f := startFleet(t, func(s *server.Settings) { s.Origins = c.allowed })
		lamp := f.product(t, "lamp")
		for _, path := range []string{"/fragments/card/%d", "/fragments?ids=%d"} {
			headers := http.Header{}
			if c.origin != "" {
				headers.Set("Origin", c.origin)
			}
			_, got, _ := call(t, "GET", f.public(0, fmt.Sprintf(path, lamp.ID)), "", headers)
			if got.Get("Access-Control-Allow-Origin") != c.want || got.Get("Vary") != c.vary ||
				got.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%v for %q: %v", c.allowed, c.origin, got)
			}
		}
	}
}
