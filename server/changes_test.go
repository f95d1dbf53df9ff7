package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
)

// changes is an answer of the change feed.
type changes struct {
	Changes []store.Rev
	Next    string
}

// changes requests the change feed of instance n.
func (f *fleet) changes(t testing.TB, n int, query string) changes {
	t.Helper()
	_, text := f.ask(t, n, 200, "GET", "/api/v1/changes?"+query, "", nil)
	return parse[changes](t, text)
}

// A reader of the change feed misses nothing, by long poll or stream, and a poll is
// answered only when something changes.
func TestChangeFeedLongPoll(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	poll := func(n int, query string) changes { t.Helper(); return f.changes(t, n, query) }
	got := poll(0, fmt.Sprintf("since=%d&wait=0", mug.Version))
	if !slices.Contains(got.Changes, lamp.Rev) || !slices.Contains(got.Changes, mug.Rev) { // within the overlap
		t.Errorf("%+v", got)
	}
	if again := poll(1, "wait=0&since="+got.Next); len(again.Changes) != 0 {
		t.Errorf("%+v", again)
	}
	answered := make(chan changes)
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
	// One change at a time, and an invalid cursor.
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

// A stream continues by itself, and resumes where it ended.
func TestChangeFeedStream(t *testing.T) {
	t.Parallel()
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
	second := f.events(t, 1, "") // starts now
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
	f.stop[0]() // shutdown does not wait for readers
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
	request.Header = http.Header{"Authorization": {"Bearer " + token}, "Accept": {"text/event-stream"},
		"Last-Event-Id": {lastID}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 ||
		!strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%s %s", response.Status, kind)
	}
	return &events{body: response.Body, lines: bufio.NewScanner(response.Body)}
}

// next returns the next event, and fails the test if none arrives.
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

// A token that reads the change feed continuously leaves room for others, on each
// instance.
func TestChangeFeedReadersLeaveRoomForCalls(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	other := f.token(t, "other", store.ReadProducts)
	for n := range f.instances {
		for range 40 {
			f.events(t, n, "")
		}
		_, answer := f.ask(t, n, 429, "GET", "/api/v1/changes?wait=0", "", nil)
		if !strings.Contains(answer, "too-many-waiting-calls-of-token") {
			t.Error(answer)
		}
		f.ask(t, n, 200, "GET", "/api/v1/changes?wait=0", "", bearer(other))
	}
}
