package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Pages returns commands, not started yet, that together open that many pages of a shop,
// at these paths in turn, each with the client of real browsers. web/test/browsers.js
// describes their input and output.
func Pages(t testing.TB, origin string, pages int, paths ...string) []*exec.Cmd {
	t.Helper()
	root := root(t)
	if _, err := os.Stat(filepath.Join(root, "web/node_modules")); err != nil {
		t.Fatal("the browser's modules are missing: make web-test installs them")
	}
	cmds := make([]*exec.Cmd, 2)
	for n := range cmds {
		each := pages / len(cmds)
		args := append([]string{"node", filepath.Join(root, "web/test/browsers.js"),
			origin, fmt.Sprint(each), fmt.Sprint(n * each)}, paths...)
		cmds[n] = exec.Command(filepath.Join(root, "scripts/with-node"), args...)
		cmds[n].Stderr = os.Stderr
	}
	return cmds
}
