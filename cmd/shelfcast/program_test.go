package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// The program as an operator runs it: two concurrent migrations, an import, two
// instances on one machine, a health check of each, and a clean shutdown.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	binary := fleettest.Build(t)
	environment := append(os.Environ(),
		"SHELFCAST_MYSQL="+testkit.DSN(t),
		"SHELFCAST_REDIS="+testkit.Redis(t),
		"SHELFCAST_ADMIN_TOKEN=a token of the tests")
	shelfcast := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Env = environment
		return cmd
	}
	fails := func(why string, args ...string) {
		t.Helper()
		if out, err := shelfcast(args...).CombinedOutput(); err == nil || !strings.Contains(string(out), why) {
			t.Errorf("%v: %v, without %q in %s", args, err, why, out)
		}
	}
	works := func(says string, args ...string) {
		t.Helper()
		if out, err := shelfcast(args...).CombinedOutput(); err != nil || !strings.Contains(string(out), says) {
			t.Errorf("%v: %v, want %q in %s", args, err, says, out)
		}
	}
	csv := filepath.Join(t.TempDir(), "products.csv")
	if err := os.WriteFile(csv, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}

	works("shelfcast", "version")
	works("--mysql", "config")
	ends := func(code int, says string, args ...string) {
		t.Helper()
		out, _ := shelfcast(args...).CombinedOutput()
		_, err := shelfcast(args...).Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != code ||
			!strings.Contains(string(out), says) {
			t.Errorf("%v: %v, want %d and %q in %s", args, err, code, says, out)
		}
	}
	ends(1, "mysql.schema", "doctor")
	ends(1, `"code": "settings.public_url",`, "doctor", "--json", "--public-url=https://shop.example/shop")
	ends(2, "--public-url must be", "smoke", "--public-url=shop", "--admin-url=http://127.0.0.1:1")
	ends(4, "cannot be reached as the admin app", "smoke", "--public-url=http://127.0.0.1:1",
		"--admin-url=http://127.0.0.1:1", "--timeout=1s")
	fails("run shelfcast migrate", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	fails("run shelfcast migrate", "import", csv)
	fails("16 characters", "serve", "--admin-token", "short")
	fails("unknown flag", "serve", "--no-such-flag")
	fails("connection refused", "healthcheck", "--url", "http://127.0.0.1:1/readyz")
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { works("up to date", "migrate", "--triggers") })
	}
	all.Wait()
	works(", 0 warnings", "doctor", "--public-url=https://shop.example", "--trusted-proxies=10.0.0.0/8",
		"--max-sessions=100", "--instances=1",
		"--redis="+testkit.StartRedis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru").URL())
	limited := exec.Command("sh", "-c", `ulimit -n 600 && exec "$0" doctor --max-sessions 15000`, binary)
	limited.Env = environment
	if out, err := limited.CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "a process may open 600 files, and --max-sessions is 15000") {
		t.Errorf("with few files: %v: %s", err, out)
	}
	fails("line=5", "import", csv, "--currency", "EUR") // invalid lines are skipped and reported
	fails("unchanged=2", "import", csv, "--currency", "EUR")

	fails("must be a duration", "token", "create", "--scope", "products:read", "--expires", "soon")
	fails("must be one of", "token", "create", "--scope", "everything")
	works("shelfcast_", "token", "create", "erp", "--scope", "products:write,products:read", "--expires", "90d")
	works("never expires", "token", "create", "script", "--scope", "products:read", "--expires", "never")
	works("erp     products:read products:write  command line", "token", "list")
	works(`"script", is revoked`, "token", "revoke", "2")
	works("revoked 20", "token", "list")
	fails("no such token", "token", "revoke", "99")

	for n := range 2 {
		public, admin := testkit.FreeAddr(t), testkit.FreeAddr(t)
		var log bytes.Buffer
		cmd := shelfcast("serve", "--listen", public, "--admin-listen", admin, "--drain-time", "100ms", "--shop-name",
			fmt.Sprint("Shop ", n))
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "stopped") {
				t.Errorf("it ended with %v: %s", err, log.String())
			}
		})
		testkit.Eventually(t, "the instance is ready", func() bool {
			return shelfcast("healthcheck", "--url", "http://"+admin+"/readyz").Run() == nil
		})
		works("OK: the edit reached every page", "smoke", "--public-url=http://"+public, "--admin-url=http://"+admin)
		response, err := http.Get("http://" + public + "/shop")
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(response.Body)
		response.Body.Close()
		for _, want := range []string{"Clay Pot", "€9.99", "Mug", fmt.Sprint("Shop ", n)} {
			if !strings.Contains(string(page), want) {
				t.Errorf("no %q in the shop of instance %d", want, n)
			}
		}
	}
}
