// Package testkit starts what tests need besides their own process: MariaDB (or
// MySQL) and Redis in several forms, any other program, certificates, free ports.
// Servers are started from PATH, listen on loopback and end with the test. It
// imports no package of the module, so that the tests of each can use it;
// testkit/fleettest starts whole instances and load balancers.
//
// A test whose server is not installed is skipped; it fails instead if
// SHELFCAST_TEST_REQUIRE=1 is set. With -short, no test that needs a server, a browser
// or the built program runs.
package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// find returns the path of the first of these programs that is installed. It also looks
// into sbin, where Debian has servers and which PATH may lack.
func find(t testing.TB, debian string, names ...string) string {
	t.Helper()
	SkipShort(t)
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

// SkipShort skips the test with -short, because it needs other processes.
func SkipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a server, a browser or the built program, and -short is set")
	}
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

// Browser returns the path of a Chromium for pages without a window, if there is one: it
// takes half the processor time.
func Browser(t testing.TB) string {
	t.Helper()
	return find(t, "chromium-headless-shell", append([]string{"chromium-headless-shell"}, desktopBrowsers...)...)
}

// DesktopBrowser returns the path of a Chromium as shoppers have it: it keeps pages for the
// way back.
func DesktopBrowser(t testing.TB) string {
	t.Helper()
	return find(t, "chromium", desktopBrowsers...)
}

var desktopBrowsers = []string{"chromium", "chromium-browser", "google-chrome"}

// Program returns the path of a program, which is in that Debian package.
func Program(t testing.TB, debian, name string) string {
	t.Helper()
	return find(t, debian, name)
}

// FreePort returns a TCP port of loopback that was free just now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// FreeAddr returns host:port of a TCP port of loopback that was free just now.
func FreeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", FreePort(t))
}

// Eventually waits until holds returns true, and fails the test after 30 seconds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
