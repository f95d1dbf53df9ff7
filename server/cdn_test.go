package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// cdn starts nginx in front of the fleet: it passes WebSockets and streams on and
// caches fragments as their headers allow. Its log has a line for each: the path and
// HIT or MISS.
func (f *fleet) cdn(t testing.TB) (url, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "fragments")
	var upstream strings.Builder
	for _, i := range f.instances {
		fmt.Fprintf(&upstream, "server %s; ", i.PublicAddr())
	}
	url, _ = nginx(t, "upstream tier { "+upstream.String()+"keepalive 32; }\n"+
		"log_format kept '$request_uri $upstream_cache_status';\n"+
		`map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`, `
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    location / { proxy_pass http://tier; }
    location /fragments {
      proxy_pass http://tier;
      proxy_set_header Connection '';
      proxy_cache fragments;
      proxy_cache_lock on;   # of those who ask for the same at once, one asks the tier
      add_header X-Cache $upstream_cache_status;
      access_log `+log+` kept;
    }`)
	return url, log
}

// kept returns how often fragments whose path has these words were requested from the
// fleet, and how often nginx had them.
func kept(t testing.TB, log, words string) (asked, had int) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		switch {
		case !strings.Contains(line, words):
		case strings.HasSuffix(line, " HIT\n"):
			had++
		default:
			asked++
		}
	}
	return asked, had
}

// With a thousand browsers in notify mode behind a caching proxy, an edit is one
// request at the fleet.
func TestCDNFetchesFragmentOnce(t *testing.T) {
	f := startFleet(t, func(s *server.Settings) { s.MaxPerAddress = 0 }) // all have the proxy's address
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	url, log := f.cdn(t)
	const pages = 1000
	shown := browse(t, url, pages, fmt.Sprintf("/shop/products/%d", lamp.ID), fmt.Sprintf("/shop/products/%d", mug.ID))
	for n, p := range []store.Product{lamp, mug} {
		edited := f.edit(t, n, p.Rev, `{"price":"17.50"}`)
		for range pages / 2 {
			if got := <-shown; got != edited.Rev {
				t.Fatalf("a page shows %v, and %v was edited", got, edited.Rev)
			}
		}
		path := fmt.Sprintf("/fragments/detail/%d?v=%d", p.ID, edited.Version)
		testkit.Eventually(t, "the proxy has told of all", func() bool {
			asked, had := kept(t, log, path)
			return asked+had == pages/2
		})
		if asked, had := kept(t, log, path); asked != 1 {
			t.Errorf("%s: the tier was asked %d times, and the proxy had it %d times", path, asked, had)
		}
	}
	if asked, had := kept(t, log, ""); asked+had != pages {
		t.Errorf("%d requests for fragments", asked+had)
	}
}

// browse opens pages, each in a browser context with the client in notify mode, and
// waits until all are live. It returns what they show.
func browse(t testing.TB, origin string, pages int, paths ...string) <-chan store.Rev {
	t.Helper()
	shown, live := make(chan store.Rev, pages), make(chan int, pages)
	const ended = -1
	for _, cmd := range fleettest.Pages(t, origin, pages, paths...) {
		cmd.Env = append(os.Environ(), "MODE=notify")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			defer func() { // do not wait for the rest
				select {
				case live <- ended:
				default:
				}
				select {
				case shown <- store.Rev{}:
				default:
				}
			}()
			for lines := bufio.NewScanner(out); lines.Scan(); {
				var said []json.RawMessage
				if err := json.Unmarshal(lines.Bytes(), &said); err != nil || len(said) < 3 {
					t.Errorf("%v: %s", err, lines.Bytes())
					return
				}
				switch string(said[2]) {
				case `"live"`:
					live <- 1
				case `"shown"`:
					var revs [][]any
					if err := json.Unmarshal(said[3], &revs); err != nil {
						t.Error(err)
						return
					}
					shown <- store.Rev{ID: int64(revs[0][0].(float64)), Version: int64(revs[0][1].(float64))}
				}
			}
		}()
		t.Cleanup(func() {
			in.Close()
			<-read
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		fmt.Fprintln(in, "stay")
	}
	for range pages {
		if <-live == ended {
			t.Fatal("browsers have ended")
		}
	}
	return shown
}

// The proxy caches what it may, of whichever instance, and nothing else; streams pass
// through it unbuffered.
func TestNotifyModeBehindCachingProxy(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	url, _ := f.cdn(t)
	get := func(path string) (cache string, _ frame) {
		t.Helper()
		status, headers, body := call(t, "GET", url+path, "", nil)
		if status != http.StatusOK {
			t.Fatal(status, body)
		}
		return headers.Get("X-Cache"), parse[frame](t, body)
	}
	many := "/fragments?ids=" + inURL("card", lamp.Rev, mug.Rev)
	one := fmt.Sprintf("/fragments/card/%d?v=%d", lamp.ID, lamp.Version)
	for _, path := range []string{many, one} {
		for n, want := range []string{"MISS", "HIT", "HIT"} {
			if got, _ := get(path); got != want {
				t.Errorf("%s, time %d: %s", path, n, got)
			}
		}
	}
	stream := listenAt(t, url+"/live/sse?watch="+inURL("card", lamp.Rev, mug.Rev))
	edited := f.edit(t, 0, lamp.Rev, `{"price":"17.50"}`)
	if got := parse[frame](t, stream.event()); len(got.Fragments) != 1 || got.Fragments[0].Rev != edited.Rev {
		t.Errorf("got %v", got)
	}
	if cache, got := get(many); cache != "HIT" || got.Fragments[0].Rev != lamp.Rev {
		t.Errorf("what the URL names is %s %v", cache, got)
	}
	for range 2 { // an old version, which was not cached
		stale := fmt.Sprintf("/fragments/detail/%d?v=%d", lamp.ID, lamp.Version)
		if cache, _ := get(stale); cache != "MISS" {
			t.Errorf("a newer version was kept for an older one's URL: %s", cache)
		}
	}
}
