// The root has no code: the packages below it are the program. This holds them
// to their order.
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

// mayImport is the one direction of imports: each of our packages, and which
// others of ours it may know.
var mayImport = map[string][]string{
	"web":                  {},
	"store":                {"store/tracing"},
	"store/storetest":      {},
	"store/shopify":        {"store"},
	"store/tracing":        {},
	"render":               {"store/tracing", "store"},
	"realtime":             {"store/tracing", "store", "render"},
	"api":                  {"store/tracing", "store", "store/shopify", "render", "realtime"},
	"cmd/crowd":            {},
	"cmd/shelfcast/serve":  {"store/tracing", "store", "render", "realtime", "api", "web"},
	"cmd/shelfcast/attack": {},
	"cmd/shelfcast/chaos":  {},
	"cmd/shelfcast/mask":   {},
	"cmd/shelfcast/smoke":  {},
	"cmd/shelfcast/doctor": {"store", "cmd/shelfcast/serve"},
	"cmd/shelfcast":        {"store", "store/shopify", "cmd/shelfcast/serve", "cmd/shelfcast/mask", "cmd/shelfcast/smoke", "cmd/shelfcast/doctor"},

	"cmd/shelfcast/fleettest": {"store", "store/storetest", "cmd/shelfcast/serve"}, // for tests only
}

func TestImportsRunOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, ours := strings.CutPrefix(fields[0], "shelfcast/")
		if !ours {
			continue // this package
		}
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s has no place in the house: say in mayImport what it may know", name)
		}
		seen++
		for _, imported := range fields[1:] {
			if other, ours := strings.CutPrefix(imported, "shelfcast/"); ours && !slices.Contains(allowed, other) {
				t.Errorf("%s may not know %s", name, other)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d packages, and mayImport names %d", seen, len(mayImport))
	}
}

// What is promised names the tests that hold it: they are there.
func TestThePromisesHaveTests(t *testing.T) {
	promises, err := os.ReadFile("docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile("\\[`(Test\\w+)`\\]\\(([^)]+)\\)").FindAllStringSubmatch(string(promises), -1)
	if len(links) < 20 {
		t.Errorf("only %d tests are named", len(links))
	}
	for _, link := range links {
		if code, err := os.ReadFile(filepath.Join("docs", link[2])); err != nil || !strings.Contains(string(code), "func "+link[1]+"(t ") {
			t.Errorf("%s is not in %s: %v", link[1], link[2], err)
		}
	}
}

// Whatever a paper points to in this repository is there.
func TestThePapersPointToWhatIsThere(t *testing.T) {
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
				t.Errorf("%s points to %s, which is not there", path, link[1])
			}
		}
		return err
	})
	if err != nil || seen < 50 {
		t.Errorf("%d links were seen: %v", seen, err)
	}
}

// Node is often missing or too old: scripts/with-node finds one, and nothing runs it
// in another way.
func TestNodeIsFoundInOnePlace(t *testing.T) {
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
			t.Errorf("%s: %s", path, call)
		}
		return err
	})
	if err != nil || seen < 2 {
		t.Errorf("%d calls were seen: %v", seen, err)
	}
}
