// The root package has no code. Its tests hold the whole repository to its structure.
package shelfcast_test

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowedImports lists each of our packages, and which of the others it may import.
// Imports run in one direction: store ← render ← realtime ← api ← server ← cmd.
var allowedImports = map[string][]string{
	"web":                 {},
	"internal/tracing":    {},
	"internal/coalesce":   {"store"},
	"internal/liveclient": {"store"},
	"store":               {"internal/tracing"},
	"catalog":             {"store"},
	"catalog/shopify":     {"store", "catalog"},
	"render":              {"internal/tracing", "internal/coalesce", "store"},
	"realtime":            {"internal/tracing", "store", "render", "realtime/bus"},
	"realtime/bus":        {"store"},
	"realtime/feed":       {"store", "render"},
	"api/problem":         {"internal/tracing", "store", "render", "realtime"},
	"api/httpx":           {"api/problem"},
	"api/auth":            {"api/problem", "api/httpx", "store"},
	"api/admin": {"api/problem", "api/httpx", "api/auth",
		"internal/tracing", "internal/coalesce", "store", "catalog", "catalog/shopify", "render", "realtime"},
	"api/public":  {"api/problem", "api/httpx", "api/auth", "internal/coalesce", "store", "render", "realtime"},
	"api/apitest": {"store", "render", "web"}, // for tests only
	"server": {"internal/tracing", "store", "render", "realtime", "realtime/bus", "realtime/feed",
		"api/httpx", "api/auth", "api/admin", "api/public", "web"},

	"cmd/shelfcast": {"store", "catalog", "catalog/shopify",
		"server", "cmd/shelfcast/mask", "cmd/shelfcast/smoke", "cmd/shelfcast/doctor"},
	"cmd/shelfcast/doctor": {"store", "server"},
	"cmd/shelfcast/mask":   {},
	"cmd/shelfcast/smoke":  {"internal/liveclient", "store"},
	"cmd/shelfcast/attack": {},
	"cmd/shelfcast/chaos":  {},

	"testkit":           {}, // for tests only, as is what is below it
	"testkit/fleettest": {"store", "server", "testkit"},
}

func TestPackagesImportOnlyWhatIsAllowed(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, ours := strings.CutPrefix(fields[0], "shelfcast/")
		if !ours {
			continue // this package
		}
		allowed, known := allowedImports[name]
		if !known {
			t.Errorf("package %s is not in allowedImports: add it, with what it may import", name)
		}
		packages++
		for _, imported := range fields[1:] {
			if other, ours := strings.CutPrefix(imported, "shelfcast/"); ours && !slices.Contains(allowed, other) {
				t.Errorf("package %s imports %s, which allowedImports does not allow", name, other)
			}
		}
	}
	if packages != len(allowedImports) {
		t.Errorf("there are %d packages, but allowedImports has %d", packages, len(allowedImports))
	}
}

// Every promise of docs/promises.md names tests, and they exist.
func TestPromisesNameTestsThatExist(t *testing.T) {
	promises, err := os.ReadFile("docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile("\\[`(Test\\w+)`\\]\\(([^)]+)\\)").FindAllStringSubmatch(string(promises), -1)
	if len(links) < 20 {
		t.Errorf("docs/promises.md names only %d tests", len(links))
	}
	for _, link := range links {
		code, err := os.ReadFile(filepath.Join("docs", link[2]))
		if err != nil || !strings.Contains(string(code), "func "+link[1]+"(t ") {
			t.Errorf("%s is not in %s: %v", link[1], link[2], err)
		}
	}
}

// Every relative link of a document leads to a file.
func TestDocumentLinksLeadToFiles(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			seen++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), link[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, link[1])
			}
		}
		return err
	})
	if err != nil || seen < 50 {
		t.Errorf("only %d links were found: %v", seen, err)
	}
}

// Node is often missing or too old. scripts/with-node finds or installs one, so nothing
// may call node, npm or npx directly.
func TestNodeIsOnlyCalledThroughWithNode(t *testing.T) {
	bare := map[string]*regexp.Regexp{
		"Makefile": regexp.MustCompile(`(?m)^\t(.*[ @])?(node|npm|npx) .*`),
		".go":      regexp.MustCompile(`exec\.Command(Context)?\([^\n]*"(node|npm|npx)"`),
	}
	through := regexp.MustCompile(`with-node (node|npm|npx) `)
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return fs.SkipDir
		}
		calls := bare[cmp.Or(filepath.Ext(path), path)]
		if err != nil || calls == nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		seen += len(through.FindAll(text, -1))
		for _, call := range calls.FindAll(through.ReplaceAll(text, nil), -1) {
			t.Errorf("%s calls node without scripts/with-node: %s", path, call)
		}
		return err
	})
	if err != nil || seen < 2 {
		t.Errorf("only %d calls were found: %v", seen, err)
	}
}
