package web

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/evanw/esbuild/pkg/api"
)

// A phone has the client in five packets: of all that a page loads, it may not
// be what counts. What it takes is a bar.
func TestTheClientIsSmall(t *testing.T) {
	const most = 6 << 10
	total := 0
	for _, entry := range []string{pageEntry, workerEntry} {
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

// What is served stands alone: the page's file imports nothing, and the worker's
// only that.
func TestTheClientNeedsNothingElse(t *testing.T) {
	for entry, allowed := range map[string][]string{pageEntry: nil, workerEntry: {"./" + pageEntry}} {
		code, err := fs.ReadFile(Assets, entry)
		if err != nil {
			t.Fatal(err)
		}
		if got := imports(t, string(code)); !slices.Equal(got, allowed) {
			t.Errorf("%s imports %q", entry, got)
		}
	}
	if got := imports(t, `import a from "x"; import("y"); export * from "z"`); len(got) != 3 {
		t.Errorf("of three imports only %q are seen", got)
	}
	if _, err := build(fstest.MapFS{"a.js": {Data: []byte(`import "somewhere"`)}}, "a.js"); err == nil {
		t.Error("a module that imports another package is no error")
	}
}

// imports are what a module imports, in whatever way, as esbuild reads it.
func imports(t *testing.T, code string) []string {
	t.Helper()
	var all []string
	result := api.Build(api.BuildOptions{
		Stdin: &api.StdinOptions{Contents: code}, Bundle: true, Format: api.FormatESModule, LogLevel: api.LogLevelSilent,
		Plugins: []api.Plugin{{Name: "imports", Setup: func(b api.PluginBuild) {
			b.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				all = append(all, a.Path)
				return api.OnResolveResult{Path: a.Path, External: true}, nil
			})
		}}},
	})
	if len(result.Errors) > 0 {
		t.Fatal(result.Errors)
	}
	return all
}

func TestTheAssetsAreFiles(t *testing.T) {
	if err := fstest.TestFS(Assets, "shelfcast.js", "shelfcast-worker.js", "shop.js", "admin.js", "shop.css"); err != nil {
		t.Error(err)
	}
}

// BenchmarkBundle is what the client costs when an instance starts.
func BenchmarkBundle(b *testing.B) {
	for b.Loop() {
		if _, err := build(sub("client"), pageEntry); err != nil {
			b.Fatal(err)
		}
	}
}
