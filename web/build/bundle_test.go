package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/evanw/esbuild/pkg/api"
)

func TestClientImportsNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"client", dir}, nil, nil); err != nil {
		t.Fatal(err)
	}
	for entry, allowed := range map[string][]string{pageEntry: nil, workerEntry: {"./" + pageEntry}} {
		code, err := os.ReadFile(filepath.Join(dir, entry))
		if err != nil {
			t.Fatal(err)
		}
		if got := imports(t, string(code)); !slices.Equal(got, allowed) {
			t.Errorf("%s imports %q, want %q", entry, got, allowed)
		}
	}
	if got := imports(t, `import a from "x"; import("y"); export * from "z"`); len(got) != 3 {
		t.Errorf("of three imports only %q are seen", got)
	}
}

func TestImportOutsideSourcesIsRefused(t *testing.T) {
	if _, err := minifyModule(fstest.MapFS{"a.js": {Data: []byte(`import "somewhere"`)}}, "a.js"); err == nil {
		t.Error("a module that imports another package is no error")
	}
}

func TestModuleFromStandardInput(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "two.js"), []byte("export const two = 2;"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	source := strings.NewReader(`import { two } from "./two.js"; console.log(two)`)
	if err := run([]string{"module", dir}, source, &out); err != nil {
		t.Fatal(err)
	}
	if code := out.String(); !strings.Contains(code, "two = 2") || strings.Contains(code, "import") {
		t.Errorf("got %s", code)
	}
	for _, args := range [][]string{nil, {"client"}, {"bundle", dir}} {
		if err := run(args, strings.NewReader(""), &out); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

// imports returns what a module imports, statically or dynamically, as esbuild reads it.
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
