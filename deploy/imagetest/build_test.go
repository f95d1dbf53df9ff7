package imagetest

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// listed returns the files below dir.
func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// copyContext returns a folder with the part of dir that Docker would be sent.
func copyContext(t *testing.T, dir string) string {
	t.Helper()
	patterns, err := ignorefile.ReadAll(bytes.NewReader(read(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		out, err := ignored.MatchesOrParentMatches(name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && out && (entry.Name() == ".git" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case entry.IsDir() || out:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

const (
	version  = "9.8.7-test"
	revision = "0123456789abcdef0123456789abcdef01234567"
)

// build runs the commands of the Dockerfile's first stage on a copy of the context, and returns
// the folder that stands for /out. environment overrides the other variables.
func build(t *testing.T, environment ...string) (out string) {
	t.Helper()
	stages, _ := dockerfile(t, read(t, "Dockerfile"))
	src, out := copyContext(t, root), t.TempDir()
	env := append(os.Environ(), "VERSION="+version, "REVISION="+revision, "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH)
	for _, command := range stages[0].Commands {
		switch c := command.(type) {
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				env = append(env, pair.Key+"="+pair.Value)
			}
		case *instructions.RunCommand:
			line := strings.ReplaceAll(strings.Join(c.CmdLine, " "), "/out/", out+"/")
			run := exec.Command("sh", "-ec", line)
			run.Dir, run.Env = src, append(slices.Clone(env), environment...)
			if said, err := run.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, said)
			}
		}
	}
	return out
}

func sum(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// The commands of the Dockerfile build a static, reproducible program that runs in the image.
func TestImageBuildsAndRuns(t *testing.T) {
	out := build(t)
	program, bom := filepath.Join(out, "shelfcast"), filepath.Join(out, "usr/share/sbom/shelfcast.cdx.json")

	t.Run("is the same from another folder", func(t *testing.T) {
		var environment []string
		if os.Getenv("SHELFCAST_TEST_LONG") == "1" { // a second build without caches, two minutes
			environment = append(environment, "GOCACHE="+t.TempDir())
		}
		again := build(t, environment...)
		for _, name := range []string{"shelfcast", "usr/share/sbom/shelfcast.cdx.json"} {
			if sum(t, filepath.Join(out, name)) != sum(t, filepath.Join(again, name)) {
				t.Errorf("%s differs in a second build", name)
			}
		}
	})

	t.Run("is static, and of no folder", func(t *testing.T) {
		file, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		libraries, err := file.ImportedLibraries()
		if err != nil || len(libraries) > 0 {
			t.Errorf("it needs %v (%v)", libraries, err)
		}
		for _, part := range file.Progs {
			if part.Type == elf.PT_INTERP {
				t.Error("it needs a dynamic loader")
			}
		}
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" || settings["vcs.revision"] != "" {
			t.Errorf("it was built with %v", settings)
		}
		b, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{os.TempDir() + "/", runtime.GOROOT() + "/"} {
			if bytes.Contains(b, []byte(folder+"Test")) || bytes.Contains(b, []byte(folder+"src/runtime")) {
				t.Errorf("it names %s", folder)
			}
		}
	})

	t.Run("says of what version it is", func(t *testing.T) {
		said, err := exec.Command(program, "version").Output()
		want := fmt.Sprintf("shelfcast %s (%s, %s linux/%s)\n", version, revision, runtime.Version(), runtime.GOARCH)
		if err != nil || string(said) != want {
			t.Errorf("got %q, %v, want %q", said, err, want)
		}
	})

	t.Run("says what it is made of", func(t *testing.T) {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"std": strings.TrimPrefix(info.GoVersion, "go")}
		for _, module := range info.Deps {
			want[module.Path] = module.Version
		}
		text, err := os.ReadFile(bom)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			BOMFormat  string
			Metadata   struct{ Component struct{ Name string } }
			Components []struct {
				Name, Version, PURL string
				Licenses, Hashes    []any
				Evidence            struct{ Licenses []any }
			}
		}
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		unlicensed := []string{}
		for _, c := range list.Components {
			got[c.Name] = strings.TrimPrefix(c.Version, "go")
			if !strings.HasPrefix(c.PURL, "pkg:golang/") {
				t.Errorf("%s is of %s", c.Name, c.PURL)
			}
			if len(c.Licenses)+len(c.Evidence.Licenses) == 0 {
				unlicensed = append(unlicensed, c.Name)
			}
		}
		if list.BOMFormat != "CycloneDX" || list.Metadata.Component.Name != "shelfcast" {
			t.Errorf("it is %s of %s", list.BOMFormat, list.Metadata.Component.Name)
		}
		if !maps.Equal(got, want) {
			t.Errorf("it lists %v, and there are %v", got, want)
		}
		t.Logf("%d modules; without a licence that the tool knows: %v", len(got), unlicensed)
	})

	t.Run("runs in an empty root", func(t *testing.T) { runs(t, out) })
}
