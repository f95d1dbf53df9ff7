package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// with returns the lines that contain a text.
func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// A refused origin is counted, on every endpoint, and logged once with both origins
// and the flag.
func TestRefusedOriginIsLogged(t *testing.T) {
	t.Parallel()
	var log lines
	f := startFleetWith(t, testkit.DSN(t), server.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	lamp := f.product(t, "lamp")
	const origin = "https://shop.example"
	refused := 0.0
	for n := range f.instances {
		for path, header := range map[string]http.Header{
			"/live":      upgradeHeaders,
			"/websocket": upgradeHeaders,
			"/live/sse?watch=" + inURL("card", lamp.Rev):  {},
			"/live/poll?watch=" + inURL("card", lamp.Rev): {},
		} {
			header := header.Clone()
			header.Set("Origin", origin)
			status, headers, answer := call(t, "GET", f.public(n, path), "", header)
			refused++
			if status != http.StatusForbidden || !strings.Contains(answer, "urn:shelfcast:problem:origin-not-allowed") {
				t.Errorf("%s: %d %s", path, status, answer)
			}
			if headers.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: the page's client cannot read why: %v", path, headers)
			}
		}
	}
	if n := f.counter(t, "shelfcast_sessions_refused_total", "origin"); n != refused {
		t.Errorf("%v were counted of %v", n, refused)
	}
	said := log.with(origin)
	if len(said) != len(f.instances) {
		t.Fatalf("%d lines for %d instances: %q", len(said), len(f.instances), said)
	}
	all := strings.Join(said, "")
	for _, i := range f.instances {
		if !strings.Contains(all, "own="+i.PublicAddr()) {
			t.Errorf("nothing names %s: %s", i.PublicAddr(), all)
		}
	}
	if !strings.Contains(said[0], "--origins") {
		t.Errorf("it does not say what to set: %s", said[0])
	}
}
