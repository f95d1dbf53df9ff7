package charttest

import (
	"os"
	"testing"

	"helm.sh/helm/v3/pkg/action"
)

func TestLint(t *testing.T) {
	for _, name := range names() {
		lint := action.NewLint()
		lint.Strict = true
		if result := lint.Run([]string{chartDir}, cases[name]); len(result.Errors) > 0 {
			t.Errorf("%s: %v", name, result.Errors)
		}
	}
}

// What is rendered is as it was. After a change that is meant: go test -update, and
// look at what git says.
func TestGolden(t *testing.T) {
	for _, name := range names() {
		t.Run(name, func(t *testing.T) {
			r := mustRender(t, cases[name])
			golden(t, "testdata/golden/"+name+".yaml", r.text)
			golden(t, "testdata/golden/"+name+".txt", r.notes)
		})
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
