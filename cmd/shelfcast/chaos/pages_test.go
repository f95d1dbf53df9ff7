package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// browsers are processes with many pages each, which run the client of real browsers.
// web/test/browsers.js has their protocol.
type browsers struct {
	pages int
	talk  []io.WriteCloser

	mu     sync.Mutex
	events []event
	seen   map[int][]observation // what each page shows, since look
}

// An event is what happened to a page.
type event struct {
	at   time.Time
	page int
	what string // load, shown, live, offline, left
	news []observation
}

// An observation is a product as a page shows it.
type observation struct {
	id, version int64
	view, title string
}

func (s *observation) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&s.id, &s.version, &s.view, &s.title})
}

// open opens pages in several processes, which end with the test.
func open(t testing.TB, origin string, pages int, paths []string) *browsers {
	t.Helper()
	b := &browsers{pages: pages}
	for _, cmd := range fleettest.Pages(t, origin, pages, paths...) {
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
		b.talk = append(b.talk, in)
		read := make(chan error, 1)
		go func() { read <- b.listen(out) }()
		t.Cleanup(func() {
			in.Close()
			if err := <-read; err != nil {
				t.Errorf("reading from the browsers: %v", err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the browsers: %v", err)
			}
		})
	}
	return b
}

func (b *browsers) listen(out io.Reader) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var raw []json.RawMessage
		if err := json.Unmarshal(lines.Bytes(), &raw); err != nil {
			return fmt.Errorf("%w: %s", err, lines.Bytes())
		}
		if err := b.note(raw); err != nil {
			return fmt.Errorf("%w: %s", err, lines.Bytes())
		}
	}
	return lines.Err()
}

func (b *browsers) note(raw []json.RawMessage) error {
	e := event{}
	if len(raw) == 4 || len(raw) == 3 && string(raw[0]) == `"seen"` {
		if err := json.Unmarshal(raw[len(raw)-1], &e.news); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(raw[1], &e.page); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if string(raw[0]) == `"seen"` {
		b.seen[e.page] = e.news
		return nil
	}
	var ms float64
	if err := json.Unmarshal(raw[0], &ms); err != nil {
		return err
	}
	e.at = time.UnixMicro(int64(ms * 1000))
	b.events = append(b.events, e)
	return json.Unmarshal(raw[2], &b.events[len(b.events)-1].what)
}

// say sends a command to all of them.
func (b *browsers) say(t testing.TB, command string) {
	t.Helper()
	for _, in := range b.talk {
		if _, err := fmt.Fprintln(in, command); err != nil {
			t.Fatal(err)
		}
	}
}

// history returns all events, in order for each page.
func (b *browsers) history() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// connected returns the number of connected pages.
func (b *browsers) connected() int {
	live := map[int]bool{}
	for _, e := range b.history() {
		switch e.what {
		case "live":
			live[e.page] = true
		case "offline", "left":
			delete(live, e.page)
		}
	}
	return len(live)
}

// look returns what each page shows now.
func (b *browsers) look(t testing.TB) map[int][]observation {
	t.Helper()
	b.mu.Lock()
	b.seen = map[int][]observation{}
	b.mu.Unlock()
	b.say(t, "look")
	testkit.Eventually(t, "all pages say what they show", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.seen) == b.pages
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}
