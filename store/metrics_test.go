package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// All queries have their place among those that metrics know beforehand, and none
// is there that is not made.
func TestQueryNamesAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`\.(?:read|write|begin)\(ctx, ("\w+"|string\(action\)|name)[,)]`)
	var made []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls.FindAllStringSubmatch(string(code), -1) {
			if name := strings.Trim(call[1], `"`); name != call[1] {
				made = append(made, name)
			}
		}
	}
	for _, action := range []Action{Edited, Archived, Restored} { // of change
		made = append(made, string(action))
	}
	slices.Sort(made)
	made = slices.Compact(made)
	if known := slices.Sorted(slices.Values(queryNames)); !slices.Equal(made, known) {
		t.Errorf("made  %v\nknown %v", made, known)
	}
}
