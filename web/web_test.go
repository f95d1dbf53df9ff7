package web

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The client is at most 6 KB over the wire, five packets.
func TestClientIsSmall(t *testing.T) {
	const limit = 6 << 10
	total := 0
	for _, file := range bundle(t) {
		code, err := fs.ReadFile(files, "dist/"+file)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(code)
		w.Close()
		t.Logf("%s: %d bytes, %d with gzip", file, len(code), packed.Len())
		total += packed.Len()
	}
	t.Logf("together %d of %d bytes", total, limit)
	if total > limit {
		t.Errorf("the client has %d bytes with gzip, want at most %d", total, limit)
	}
}

func TestBundleIsCurrent(t *testing.T) {
	built := t.TempDir()
	if out, err := exec.Command("go", "run", "-C", "build", ".", "client", built).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := os.ReadDir(built)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(bundle(t)) {
		t.Errorf("%d files are built, and dist has %d", len(made), len(bundle(t)))
	}
	for _, file := range made {
		want, err := os.ReadFile(filepath.Join(built, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fs.ReadFile(files, "dist/"+file.Name()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("dist/%s is stale: run `go generate ./web` (%v)", file.Name(), err)
		}
	}
}

// Of two assets of the same name only the first is served.
func TestAssetNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, assets := range Assets {
		err := fs.WalkDir(assets, ".", func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				if seen[name] {
					t.Errorf("%s is there twice", name)
				}
				seen[name] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"shelfcast.js", "shelfcast-worker.js", "shop.js", "admin.js", "shop.css"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// bundle returns the names of the bundled files.
func bundle(t *testing.T) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(files, "dist")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
