package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit"
)

// A journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *journal) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *journal) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// Reloaded templates, messages and assets are used for all later pages and updates,
// also of open sessions; broken ones are not used, and the error is logged.
func TestReloadUpdatesOpenPages(t *testing.T) {
	t.Parallel()
	templates, assets := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const card = `<article data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="{{.View}}">` +
		`<b class="title">{{.Title}}</b> %s {{t "sold_out"}}</article>`
	write(templates, "views/card.html", fmt.Sprintf(card, "first look"))
	write(assets, "shop.css", "/* first */")
	hup, log := make(chan os.Signal), &journal{}
	options := server.Options{Reload: hup, Log: slog.New(slog.NewTextHandler(log, nil))}
	f := startFleetWith(t, testkit.DSN(t), options, func(s *server.Settings) {
		s.Templates, s.Assets, s.Locales = templates, assets, []string{"en", "de"}
	})
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	shoppers := []*shopper{f.shopper(t, 0, ""), f.shopper(t, 1, "")}
	for _, s := range shoppers {
		s.watch("card", lamp.Rev, mug.Rev)
		s.settled()
	}
	shows := func(path, want string) {
		t.Helper()
		for n := range f.instances {
			testkit.Eventually(t, fmt.Sprintf("%s of instance %d shows %q", path, n, want), func() bool {
				status, _, page := call(t, "GET", f.public(n, path), "", nil)
				return status == http.StatusOK && strings.Contains(page, want)
			})
		}
	}
	sent := func(want string) {
		t.Helper()
		lamp = f.edit(t, 0, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, lamp.Stock+1))
		for _, s := range shoppers {
			if got := s.next().Fragments; len(got) != 1 || got[0].Rev != lamp.Rev || !strings.Contains(got[0].HTML, want) {
				t.Errorf("no %q in %+v", want, got)
			}
		}
	}
	sighup := func() {
		for range f.instances {
			hup <- os.Interrupt // any signal
		}
	}
	shows("/shop", "first look")
	sent("first look Sold out")

	write(templates, "views/card.html", fmt.Sprintf(card, "second look"))
	write(templates, "locales/en.json", `{"sold_out": "All gone"}`)
	write(assets, "shop.css", "/* second */")
	sighup()
	shows("/shop", "second look All gone")
	shows("/de/shop", "second look Ausverkauft")
	shows("/assets/shop.css", "/* second */")
	sent("second look All gone")

	write(templates, "views/card.html", fmt.Sprintf(card, "third look {{.Colour}}"))
	write(assets, "shop.css", "/* third */")
	sighup()
	testkit.Eventually(t, "it is said what is wrong", func() bool {
		return log.has("views/card.html:1:") && f.counter(t, "shelfcast_reloads_total", "failed") == 2
	})
	shows("/shop", "second look")
	shows("/assets/shop.css", "/* second */")
	sent("second look All gone")
	if n := f.counter(t, "shelfcast_reloads_total", "succeeded"); n != 2 {
		t.Errorf("%v were taken", n)
	}
}
