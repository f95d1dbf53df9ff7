// Package storetest gives a test private MariaDB (or MySQL) and Redis servers,
// started from PATH on loopback and gone when the test is over. It does not
// know shelfcast/store, so that the tests of that package can use it too.
//
// Where a server is not installed the test is skipped, and fails instead when
// SHELFCAST_TEST_REQUIRE=1 says that everything has to run.
package storetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// find is the path of the first of these programs that is installed. Debian
// has servers in sbin, which not every user's PATH has.
func find(t testing.TB, debian string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec"} {
			if path := filepath.Join(dir, name); executable(path) {
				return path
			}
		}
	}
	missing(t, fmt.Sprintf("%s is not installed (Debian: apt-get install %s)", names[0], debian))
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("SHELFCAST_TEST_REQUIRE") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Browser is the path of Chromium or Chrome.
func Browser(t testing.TB) string {
	t.Helper()
	return find(t, "chromium", "chromium", "chromium-browser", "google-chrome")
}

// Program is the path of another program that a test needs, and that the
// Debian package of that name has.
func Program(t testing.TB, debian, name string) string {
	t.Helper()
	return find(t, debian, name)
}

// FreePort is a TCP port of loopback that was free just now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Eventually waits until the condition holds, and fails the test when that
// takes longer than a server's start may.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
