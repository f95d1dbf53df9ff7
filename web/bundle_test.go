package web

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"regexp"
	"testing"
	"testing/fstest"
)

// A phone has the client in five packets: of all that a page loads, it may not
// be what counts.
func TestTheClientIsSmall(t *testing.T) {
	const most = 6 * 1024
	total := 0
	for _, entry := range entries {
		code, err := fs.ReadFile(Assets, entry)
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
		t.Logf("%s: %d bytes, %d with gzip", entry, len(code), packed.Len())
		total += packed.Len()
	}
	t.Logf("together %d of %d bytes", total, most)
	if total > most {
		t.Errorf("the client has %d bytes with gzip", total)
	}
}

// What is served stands alone: it imports nothing, but for the worker, which is
// beside it.
func TestTheClientNeedsNothingElse(t *testing.T) {
	imports := regexp.MustCompile(`\bimport\s*\(?\s*["'{*\w][^;]*?["']([^"']*)["']|\bfrom\s*["']([^"']*)["']`)
	direct := regexp.MustCompile(`\bimport\(?["']([^"']*)["']`)
	for entry, allowed := range map[string]string{"shelfcast.js": "./shelfcast-worker.js", "shelfcast-worker.js": ""} {
		code, err := fs.ReadFile(Assets, entry)
		if err != nil {
			t.Fatal(err)
		}
		found := append(direct.FindAllSubmatch(code, -1), imports.FindAllSubmatch(code, -1)...)
		for _, m := range found {
			if name := string(bytes.Join(m[1:], nil)); name != allowed {
				t.Errorf("%s imports %q", entry, name)
			}
		}
		if allowed != "" && len(found) == 0 {
			t.Errorf("%s imports nothing, not even %s", entry, allowed)
		}
	}
	if _, err := build(fstest.MapFS{"a.js": {Data: []byte(`import "somewhere"`)}}, "a.js"); err == nil {
		t.Error("a module that imports another package is no error")
	}
}

func TestTheAssetsAreFiles(t *testing.T) {
	if err := fstest.TestFS(Assets, "shelfcast.js", "shelfcast-worker.js", "shop.js", "admin.js", "shop.css"); err != nil {
		t.Error(err)
	}
}

// BenchmarkBundle is what the client costs when an instance starts.
func BenchmarkBundle(b *testing.B) {
	for b.Loop() {
		for _, entry := range entries {
			if _, err := build(sub("client"), entry); err != nil {
				b.Fatal(err)
			}
		}
	}
}
