package server_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// An edit on one instance reaches those who watch the product on both, and nobody
// else.
func TestEditReachesEveryWatcher(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	a, b, other := f.shopper(t, 0, ""), f.shopper(t, 1, ""), f.shopper(t, 1, "")
	a.watch("card", lamp.Rev, mug.Rev)
	b.watch("detail", lamp.Rev)
	other.watch("card", mug.Rev)
	for _, s := range []*shopper{a, b, other} {
		if frames := s.settled(); len(frames) > 0 {
			t.Errorf("a page that is current was sent %v", frames)
		}
	}
	edited := f.edit(t, 0, lamp.Rev, `{"price":"17.50"}`)
	for s, view := range map[*shopper]string{a: "card", b: "detail"} {
		got := s.next().Fragments
		if len(got) != 1 || got[0].Rev != edited.Rev || got[0].View != view || !strings.Contains(got[0].HTML, "€17.50") {
			t.Errorf("%s: got %+v", view, got)
		}
	}
	edited = f.edit(t, 1, edited.Rev, `{"stock":0}`)
	for _, s := range []*shopper{a, b} {
		if got := s.next().Fragments; got[0].Rev != edited.Rev || !strings.Contains(got[0].HTML, "Sold out") {
			t.Errorf("got %+v", got)
		}
	}
	if frames := other.settled(); len(frames) > 0 {
		t.Errorf("who does not watch the lamp was sent %v", frames)
	}
}

func TestWatchBringsStalePageUpToDate(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	edited := f.edit(t, 0, lamp.Rev, `{"title":"New <b>title</b>"}`)
	for n := range f.instances {
		s := f.shopper(t, n, "")
		s.watch("card", lamp.Rev, mug.Rev, store.Rev{ID: 9999, Version: 1})
		for range 3 {
			switch got := s.next(); {
			case len(got.Fragments) == 1 && got.Fragments[0].ID == 9999:
				if !got.Fragments[0].Unavailable || got.Fragments[0].Version != 2 {
					t.Errorf("got %+v", got)
				}
			case got.Error != nil:
				if got.Error.Code != "unknown_product" {
					t.Errorf("got %+v", got.Error)
				}
			case len(got.Fragments) != 1 || got.Fragments[0].Rev != edited.Rev:
				t.Errorf("got %+v", got)
			case !strings.Contains(got.Fragments[0].HTML, "New &lt;b&gt;title&lt;/b&gt;"):
				t.Errorf("the title is not escaped: %s", got.Fragments[0].HTML)
			}
		}
		// The session continues; it has nothing of a new product yet.
		s.watch("detail", store.Rev{ID: mug.ID})
		if got := s.next().Fragments; len(got) != 1 || got[0].Rev != mug.Rev || got[0].View != "detail" {
			t.Errorf("got %+v", got)
		}
	}
}

func TestNotifyModeSendsNoHTML(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := f.shopper(t, 1, "?mode=notify")
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	edited := f.edit(t, 0, mug.Rev, `{"stock":3}`)
	got := s.next()
	if len(got.Fragments) > 0 || len(got.Changed) != 1 || got.Changed[0].Rev != edited.Rev ||
		got.Changed[0].View != "card" {
		t.Errorf("got %+v", got)
	}
}

func TestUnpublishedProductLeavesPage(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	s := f.shopper(t, 1, "")
	s.watch("card", lamp.Rev, mug.Rev)
	s.settled()
	f.edit(t, 0, lamp.Rev, `{"published":false}`)
	got := s.next().Fragments[0]
	if !got.Unavailable || strings.Contains(got.HTML, "lamp") || strings.Contains(got.HTML, "19.90") {
		t.Errorf("got %+v", got)
	}
	status, _, _ := f.admin(t, 0, "POST", fmt.Sprintf("/api/v1/products/%d/archive", mug.ID), "",
		http.Header{"If-Match": {etag(mug.Rev)}})
	if status != http.StatusOK {
		t.Fatal(status)
	}
	if got := s.next().Fragments[0]; !got.Unavailable || got.ID != mug.ID {
		t.Errorf("got %+v", got)
	}
	for n := range f.instances {
		if _, _, page := call(t, "GET", f.public(n, "/shop"), "", nil); strings.Contains(page, "data-product-id") {
			t.Error("the shop shows one of them")
		}
		// Unpublished, and archived.
		for id, want := range map[int64]int{lamp.ID: http.StatusNotFound, mug.ID: http.StatusGone} {
			status, _, page := call(t, "GET", f.public(n, fmt.Sprintf("/shop/products/%d", id)), "", nil)
			if status != want || !strings.Contains(page, "not available") || !strings.Contains(page, "data-product-id") {
				t.Errorf("%d %s", status, page)
			}
		}
	}
}

// Without Redis the feed delivers edits; when Redis is back the bus does, without a
// restart.
func TestRedisOutage(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	f.whole(t)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	shoppers := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
	for _, s := range shoppers {
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
	}
	see := func(want store.Rev) {
		t.Helper()
		for _, s := range shoppers {
			if got := s.next().Fragments; len(got) != 1 || got[0].Rev != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	f.redis.Kill()
	start := time.Now()
	lamp = f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	see(lamp.Rev)
	t.Logf("without Redis: %v", time.Since(start))
	if f.counter(t, "shelfcast_feed_repaired_total") == 0 || f.counter(t, "shelfcast_bus_publish_failures_total") == 0 {
		t.Error("it did not come from the feed")
	}
	testkit.Eventually(t, "both instances say that they are degraded, and not that they are unready", func() bool {
		said := 0
		for _, i := range f.instances {
			status, _, answer := call(t, "GET", "http://"+i.AdminAddr()+"/readyz", "", nil)
			if status != http.StatusOK {
				t.Fatalf("readyz without Redis: %d %s", status, answer)
			}
			if strings.Contains(answer, `"degraded"`) && strings.Contains(answer, `"bus":"published probes`) {
				said++
			}
		}
		return said == 2
	})

	gaps := f.counter(t, "shelfcast_bus_gaps_total")
	f.redis.Start()
	testkit.Eventually(t, "both instances have subscribed again", func() bool {
		return f.counter(t, "shelfcast_bus_gaps_total") >= gaps+2
	})
	f.whole(t)
	received := f.counter(t, "shelfcast_bus_received_total")
	start = time.Now()
	mug = f.edit(t, 0, mug.Rev, `{"stock":1}`)
	see(mug.Rev)
	t.Logf("with Redis: %v", time.Since(start))
	testkit.Eventually(t, "the bus carried it to both", func() bool {
		return f.counter(t, "shelfcast_bus_received_total") >= received+2
	})
}

// Without MySQL pages are served from the cache, edits are refused and sessions stay
// open; when MySQL is back everything works again.
func TestMySQLOutage(t *testing.T) {
	t.Parallel()
	mysqld := testkit.StartMySQL(t)
	f := startFleetOn(t, mysqld.Database(t), func(s *server.Settings) { s.Timeout = 500 * time.Millisecond })
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	shoppers := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
	for n, s := range shoppers {
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
		call(t, "GET", f.public(n, fmt.Sprintf("/shop/products/%d", lamp.ID)), "", nil)
	}
	mysqld.Kill()
	for n := range f.instances {
		path := fmt.Sprintf("/api/v1/products/%d", lamp.ID)
		status, headers, answer := f.admin(t, n, "PATCH", path, `{"stock":1}`, http.Header{"If-Match": {etag(lamp.Rev)}})
		if status != http.StatusServiceUnavailable || headers.Get("Retry-After") == "" ||
			!strings.Contains(answer, "problem:unavailable") {
			t.Errorf("an edit: %d %v %s", status, headers, answer)
		}
		status, _, page := call(t, "GET", f.public(n, fmt.Sprintf("/shop/products/%d", lamp.ID)), "", nil)
		if status != http.StatusOK || !strings.Contains(page, "€19.90") {
			t.Errorf("a page: %d %s", status, page)
		}
		if status, headers, page := call(t, "GET", f.public(n, "/shop"), "", nil); status != http.StatusServiceUnavailable ||
			headers.Get("Retry-After") == "" || !strings.Contains(page, "try again") {
			t.Errorf("the list: %d %s", status, page)
		}
		if status, _, answer := call(t, "GET", f.public(n, "/readyz"), "", nil); status != http.StatusOK ||
			!strings.Contains(answer, `"status":"degraded"`) || !strings.Contains(answer, `"mysql":"failed"`) {
			t.Errorf("readyz: %d %s", status, answer)
		}
		if status, _, _ := call(t, "GET", f.public(n, "/livez"), "", nil); status != http.StatusOK {
			t.Errorf("livez: %d", status)
		}
		if frames := shoppers[n].settled(); len(frames) > 0 {
			t.Errorf("got %v", frames)
		}
	}
	mysqld.Start()
	for n := range f.instances {
		testkit.Eventually(t, "the instance is well", func() bool {
			_, _, answer := call(t, "GET", f.public(n, "/readyz"), "", nil)
			return strings.Contains(answer, `"status":"ok"`)
		})
	}
	edited := f.edit(t, 0, lamp.Rev, `{"stock":1}`)
	for _, s := range shoppers {
		if got := s.next().Fragments; len(got) != 1 || got[0].Rev != edited.Rev {
			t.Errorf("got %v, want %v", got, edited.Rev)
		}
	}
}

// A thousand concurrent requests on two instances for two uncached products read each
// row and render it once.
func TestVersionIsRenderedOncePerFleet(t *testing.T) {
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	transport := &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var all sync.WaitGroup
	for n := range 2000 {
		p := []store.Product{lamp, mug}[n/2%2]
		all.Go(func() {
			response, err := client.Get(f.public(n%2, fmt.Sprintf("/fragments/card/%d", p.ID)))
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Error(response.Status)
			}
		})
	}
	all.Wait()
	loads := f.counter(t, "shelfcast_fragment_loads_total", "card")
	if renders := f.counter(t, "shelfcast_fragment_renders_total", "card"); loads != 2 || renders != 2 {
		t.Errorf("two products were read %v times and rendered %v times", loads, renders)
	}
}

func TestShutdownClosesSessions(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) { s.Drain = 2 * time.Second })
	lamp := f.product(t, "lamp")
	first, second, elsewhere := f.shopper(t, 0, ""), f.shopper(t, 0, ""), f.shopper(t, 1, "")
	for _, s := range []*shopper{first, second, elsewhere} {
		s.watch("card", lamp.Rev)
		s.settled()
	}
	done := make(chan struct{})
	go func() { f.stop[0](); close(done) }()
	testkit.Eventually(t, "it is not ready any more", func() bool {
		status, _, answer := call(t, "GET", f.public(0, "/readyz"), "", nil)
		return status == http.StatusServiceUnavailable && strings.Contains(answer, `"draining":"failed"`)
	})
	edited := f.edit(t, 1, lamp.Rev, `{"stock":1}`) // updates are still delivered
	for _, s := range []*shopper{first, second} {
		if got := s.next().Fragments; got[0].Rev != edited.Rev {
			t.Errorf("got %v", got)
		}
		if code := s.closed(); code != 1012 {
			t.Errorf("closed with %d", code)
		}
	}
	<-done
	if got := elsewhere.next().Fragments; got[0].Rev != edited.Rev {
		t.Errorf("got %v", got)
	}
}

// A stopped instance leaves no goroutines, not even those of sessions, feed and bus.
func TestStoppedInstanceLeavesNoGoroutines(t *testing.T) {
	dialer := http.DefaultTransport.(*http.Transport)
	dialer.CloseIdleConnections()
	before := goleak.IgnoreCurrent()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	for n := range f.instances {
		s := f.shopper(t, n, "")
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
		call(t, "GET", f.public(n, "/shop"), "", nil)
	}
	// Browsers and proxies open connections ahead of requests.
	for _, addr := range []string{f.instances[0].PublicAddr(), f.instances[1].AdminAddr()} {
		silent, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	for _, stop := range f.stop {
		stop()
	}
	f.db.Close()
	dialer.CloseIdleConnections()
	goleak.VerifyNone(t, before,
		// The test's own: one for each server that it started.
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"),
		goleak.IgnoreAnyFunction("shelfcast/testkit.init.func1.1"),
		// fasthttp's, which end after a while.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}
