// The root has no code: the packages below it are the program. This holds them
// to their order.
package shelfcast_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport is the one direction of imports: each of our packages, and which
// others of ours it may know.
var mayImport = map[string][]string{
	"web":                 {},
	"store":               {},
	"store/storetest":     {},
	"store/shopify":       {"store"},
	"render":              {"store"},
	"realtime":            {"store", "render"},
	"api":                 {"store", "store/shopify", "render", "realtime"},
	"cmd/crowd":           {},
	"cmd/shelfcast/serve": {"store", "render", "realtime", "api", "web"},
	"cmd/shelfcast/chaos": {},
	"cmd/shelfcast":       {"store", "store/shopify", "cmd/shelfcast/serve"},

	"cmd/shelfcast/fleettest": {"store/storetest"}, // for tests only
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

// What the README promises names the tests that hold it: they are there.
func TestThePromisesHaveTests(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile("\\[`(Test\\w+)`\\]\\(([^)]+)\\)").FindAllStringSubmatch(string(readme), -1)
	if len(links) < 20 {
		t.Errorf("only %d tests are named", len(links))
	}
	for _, link := range links {
		if code, err := os.ReadFile(link[2]); err != nil || !strings.Contains(string(code), "func "+link[1]+"(t ") {
			t.Errorf("%s is not in %s: %v", link[1], link[2], err)
		}
	}
}
