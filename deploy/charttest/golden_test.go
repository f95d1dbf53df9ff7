package charttest

import (
	"os"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
)

func TestLint(t *testing.T) {
	for _, name := range names() {
		lint := action.NewLint()
		lint.Strict = true
		if result := lint.Run([]string{chartDir}, copied(cases[name])); len(result.Errors) > 0 {
			t.Errorf("%s: %v", name, result.Errors)
		}
	}
}

// What is rendered is as it was. After a change that is meant: go test -update, and
// look at what git says.
func TestGolden(t *testing.T) {
	for _, name := range names() {
		t.Run(name, func(t *testing.T) {
			r, err := render(cases[name], withoutFiles)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/golden/"+name+".yaml", r.text)
			golden(t, "testdata/golden/"+name+".txt", r.notes)
		})
	}
}

// withoutFiles has little of the alerts and the dashboard, which have tests of their
// own, so that not each change of theirs is one of all golden files.
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
		t.Errorf("%s is not what is rendered; with -update it is written anew, and git diff shows how they differ", file)
	}
}
