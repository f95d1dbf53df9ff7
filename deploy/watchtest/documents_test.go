package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files that must agree.
const (
	root          = "../../"
	rulesFile     = root + "charts/shelfcast/files/rules.yaml"
	dashboardFile = root + "charts/shelfcast/files/dashboard.json"
	metricsFile   = root + "docs/metrics.md"
	runbookFile   = root + runbook
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A rule is an alerting or recording rule.
type rule struct {
	Alert, Record, Expr string
	For                 string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	all := slices.DeleteFunc(readRules(t), func(r rule) bool { return r.Alert == "" })
	if len(all) < 30 {
		t.Fatalf("only %d alerts", len(all))
	}
	return all
}

// A picture is a panel in the dashboard file, with the fields that the tests use.
type picture struct {
	ID          int
	Type, Title string
	Description string
	Datasource  *struct{ Type, UID string }
	GridPos     struct{ X, Y, W, H int }
	Links       []struct{ Title, URL string }
	Targets     []struct {
		RefID, Expr, LegendFormat string
		Datasource                *struct{ Type, UID string }
	}
	FieldConfig struct{ Defaults struct{ Unit string } }
	Panels      []picture // of a collapsed row
	Collapsed   bool
}

type board struct {
	Panels     []picture
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource *struct{ Type, UID string }
		}
	}
	Annotations struct{ List []struct{ Name, Expr string } }
	Links       []struct{ URL string }
}

func readBoard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// pictures returns all panels except rows.
func (b board) pictures() []picture {
	var all []picture
	for _, p := range b.Panels {
		if p.Type != "row" {
			all = append(all, p)
		}
		all = append(all, p.Panels...)
	}
	return all
}

// Each alert has a complete section in the runbook, and each section belongs to an alert.
func TestRunbookHasSectionForEachAlert(t *testing.T) {
	sections := map[string]string{}
	for _, s := range strings.Split(read(t, runbookFile), "\n## ")[1:] {
		name, text, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(name, "Shelfcast") {
			sections[name] = text
		}
	}
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
		text, ok := sections[a.Alert]
		if !ok {
			t.Errorf("%s has no section", a.Alert)
			continue
		}
		severity := map[string]string{"critical": "Critical. ", "warning": "Warning. "}[a.Labels["severity"]]
		if severity == "" || !strings.HasPrefix(strings.TrimSpace(text), severity) {
			t.Errorf("%s is of severity %q, and its section says something else", a.Alert, a.Labels["severity"])
		}
		for _, part := range []string{`\*\*(Shoppers see|Staff)`, `\*\*Look at\*\*`, `\*\*Do\*\*`} {
			if !regexp.MustCompile(part).MatchString(text) {
				t.Errorf("the section of %s has no %s", a.Alert, part)
			}
		}
		if got := a.Annotations["runbook_url"]; got != sectionOf(a.Alert) {
			t.Errorf("%s names the section %q, want %q", a.Alert, got, sectionOf(a.Alert))
		}
		for _, part := range []string{"summary", "description"} {
			if !strings.HasSuffix(a.Annotations[part], ".") {
				t.Errorf("%s has no sentence for %s", a.Alert, part)
			}
		}
	}
	for name := range sections {
		if !known[name] {
			t.Errorf("there is no alert for the section %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`Shelfcast[A-Z]\w+`).FindAllString(read(t, runbookFile), -1) {
		if !known[name] {
			t.Errorf("the runbook names %s, which is no alert", name)
		}
	}
}

// Each alert is linked from a panel.
func TestPanelsLinkToRunbook(t *testing.T) {
	linked := map[string]bool{}
	b := readBoard(t)
	for _, p := range b.pictures() {
		for _, l := range p.Links {
			if l.URL != sectionOf(l.Title) {
				t.Errorf("%s: the link %s goes to %s", p.Title, l.Title, l.URL)
			}
			linked[l.Title] = true
		}
	}
	for _, a := range alerts(t) {
		if !linked[a.Alert] {
			t.Errorf("no panel links to %s", a.Alert)
		}
		delete(linked, a.Alert)
	}
	for name := range linked {
		t.Errorf("a panel links to %s, which is no alert", name)
	}
	if len(b.Links) != 1 || b.Links[0].URL != runbook {
		t.Errorf("the dashboard links to %v", b.Links)
	}
}

// Each quotation in the runbook is the title of a panel or row, a log message, or from another
// program.
func TestRunbookQuotesExist(t *testing.T) {
	others := []string{"Shelfcast", "Last State", "Targets", "at least", "who"}
	var titles []string
	b := readBoard(t)
	for _, p := range append(b.Panels, b.pictures()...) {
		titles = append(titles, p.Title)
	}
	code := productCode(t)
	for _, quoted := range regexp.MustCompile(`"([^"\n]+)"`).FindAllStringSubmatch(read(t, runbookFile), -1) {
		text := quoted[1]
		if !slices.Contains(others, text) && !slices.Contains(titles, text) && !strings.Contains(code, `"`+text+`"`) {
			t.Errorf("%q is neither a panel nor a line of the log", text)
		}
	}
}

// productCode returns the Go code of the product, without tests.
func productCode(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"api", "cmd/shelfcast", "realtime", "render", "server", "store"} {
		err := filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
