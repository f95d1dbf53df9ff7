package charttest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
)

func TestChartPassesHelmLint(t *testing.T) {
	for _, name := range names() {
		lint := action.NewLint()
		lint.Strict = true
		if result := lint.Run([]string{chartDir}, copied(cases[name])); len(result.Errors) > 0 {
			t.Errorf("%s: %v", name, result.Errors)
		}
	}
}

// The chart renders what it rendered before. Two cases have a golden file with the whole text;
// one file has how each of the others differs from the default. After an intended change run
// go test -update and look at the difference in git.
func TestRenderedChartMatchesGoldenFiles(t *testing.T) {
	rendered := map[string]rendering{}
	for _, name := range names() {
		r, err := render(cases[name], withoutFiles)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rendered[name] = r
	}
	var differences strings.Builder
	base := facts(t, rendered["default"])
	for _, name := range names() {
		r := rendered[name]
		if name == "default" || name == "everything" {
			golden(t, "testdata/golden/"+name+".yaml", r.text+"---\n# Source: NOTES.txt\n"+comment(r.notes))
			continue
		}
		here := facts(t, r)
		fmt.Fprintf(&differences, "== %s\n", name)
		for _, fact := range base {
			if !slices.Contains(here, fact) {
				fmt.Fprintf(&differences, "- %s\n", fact)
			}
		}
		for _, fact := range here {
			if !slices.Contains(base, fact) {
				fmt.Fprintf(&differences, "+ %s\n", fact)
			}
		}
	}
	golden(t, "testdata/golden/differences.txt", differences.String())
}

// facts returns every leaf of the rendered objects as "kind/name path = value", and the lines
// of the notes. Elements of a list that have a name are addressed by it.
func facts(t *testing.T, r rendering) (all []string) {
	t.Helper()
	var walk func(path string, in any)
	walk = func(path string, in any) {
		switch in := in.(type) {
		case values:
			for key, value := range in {
				walk(path+"."+key, value)
			}
			if len(in) > 0 {
				return
			}
		case []any:
			for i, value := range in {
				index := fmt.Sprint(i)
				if m, ok := value.(values); ok && m["name"] != nil {
					index = fmt.Sprint(m["name"])
				}
				walk(path+"["+index+"]", value)
			}
			if len(in) > 0 {
				return
			}
		}
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path+" = "+string(text))
	}
	for _, o := range r.objects {
		walk(o.kind()+"/"+o.name(), values(o))
	}
	slices.Sort(all)
	for line := range strings.Lines(r.notes) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, "notes: "+line)
		}
	}
	return all
}

func comment(text string) string {
	var all strings.Builder
	for line := range strings.Lines(text) {
		all.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	return all.String()
}

// withoutFiles replaces the alerts and the dashboard, which have their own tests, by short ones.
// Otherwise each change of theirs would change all golden files.
func withoutFiles(c *chart.Chart) {
	for _, file := range c.Files {
		switch file.Name {
		case "files/rules.yaml":
			file.Data = []byte("groups: [{name: shelfcast, rules: [{alert: Example, expr: vector(1)}]}]")
		case "files/dashboard.json":
			file.Data = []byte(`{"title": "Shelfcast"}`)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is rendered; -update rewrites it, and git diff shows the difference", file)
	}
}
