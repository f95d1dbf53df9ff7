package render_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/testkit"
)

// A folder is that of a shop owner, who works in it.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) write(name, text string) {
	f.t.Helper()
	file := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

const row = `<p data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="{{.View}}">{{.Title}} `

// Templates that are loaded anew make all that is made from then on, of a version
// that was there before too; those that are broken change nothing.
func TestReloadAppliesTemplates(t *testing.T) {
	mine := folder{t, t.TempDir()}
	mine.write("views/card.html", row+"old</p>")
	mine.write("views/row.html", row+"row</p>")
	templates := load(t, render.Config{Files: []fs.FS{os.DirFS(mine.dir)}})
	source, server := newRows(10, 10), testkit.StartRedis(t)
	c := cache(t, source, client(t, server.Addr()), templates)
	says := func(word string) {
		t.Helper()
		for id := range int64(2) {
			f, err := c.Fragment(t.Context(), render.Card, rev(id+1, 10))
			if err != nil || !strings.Contains(f.HTML, word) {
				t.Errorf("%v: no %q in %s", err, word, f.HTML)
			}
		}
		many, err := c.Fragments(t.Context(), render.Card, shelf(2, 10))
		if err != nil || !strings.Contains(many[1].HTML, word) {
			t.Errorf("%v: no %q", err, word)
		}
	}
	says("old")
	old, edition := templates.Hash(), templates.Snapshot()

	mine.write("views/card.html", row+"{{.Colour}}</p>")
	if err := templates.Reload(); err == nil || !strings.Contains(err.Error(), "views/card.html:1") {
		t.Errorf("got error %v", err)
	}
	if templates.Snapshot() != edition {
		t.Error("broken templates were applied")
	}
	says("old")

	mine.write("views/card.html", row+"new</p>")
	mine.remove("views/row.html")
	if err := templates.Reload(); err != nil {
		t.Fatal(err)
	}
	says("new")
	if templates.Hash() == old || templates.Snapshot() == edition {
		t.Error("the new templates have the hash or edition of the old ones")
	}
	if _, err := c.Fragment(t.Context(), "row", rev(1, 10)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed view: error %v", err)
	}
	mine.write("views/card.html", row+"old</p>") // and back
	mine.write("views/row.html", row+"row</p>")
	reads := source.reads.Load()
	if err := templates.Reload(); err != nil {
		t.Fatal(err)
	}
	says("old")
	if source.reads.Load() != reads {
		t.Error("fragments of the earlier templates were rendered again")
	}
}

// What was begun with the old templates and ends after the new ones have come is
// the old ones' work: for him who asked before, and for nobody else.
func TestFragmentsRenderedDuringReloadAreNotReused(t *testing.T) {
	mine := folder{t, t.TempDir()}
	mine.write("views/card.html", row+"old</p>")
	templates := load(t, render.Config{Files: []fs.FS{os.DirFS(mine.dir)}})
	source, server := newRows(10, 10, 10), testkit.StartRedis(t)
	fleet := []*render.Cache{cache(t, source, client(t, server.Addr()), templates),
		cache(t, source, client(t, server.Addr()), templates)}
	source.slow = make(chan struct{})
	var early sync.WaitGroup
	early.Go(func() {
		if f, err := fleet[0].Fragment(t.Context(), render.Card, rev(1, 10)); err != nil || !strings.Contains(f.HTML, "old") {
			t.Errorf("%v: %v", err, f)
		}
	})
	early.Go(func() {
		if many, err := fleet[0].Fragments(t.Context(), render.Card, shelf(3, 10)[1:]); err != nil ||
			!strings.Contains(many[1].HTML, "old") {
			t.Errorf("%v: %v", err, many)
		}
	})
	testkit.Eventually(t, "both are being read", func() bool { return source.reads.Load() == 2 })
	mine.write("views/card.html", row+"new</p>")
	if err := templates.Reload(); err != nil {
		t.Fatal(err)
	}
	close(source.slow)
	early.Wait()
	for _, c := range fleet {
		for _, r := range shelf(3, 10) {
			if f, err := c.Fragment(t.Context(), render.Card, r); err != nil || !strings.Contains(f.HTML, "new") {
				t.Errorf("%v: %v", err, f)
			}
		}
	}
}
