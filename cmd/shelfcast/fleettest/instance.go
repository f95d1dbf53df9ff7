// Package fleettest gives a test what those have who run a shop: processes of
// the program, and the load balancers of deploy/ in front of them.
package fleettest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"shelfcast/store/storetest"
)

// built has the folders of the programs that were made, by whether they have the
// race detector.
var built struct {
	sync.Mutex
	dirs map[bool]string
}

// Build makes the program, with the race detector if the test has it: once for all
// tests of a process, whose TestMain has Clean called in the end.
func Build(t testing.TB) (binary string) {
	t.Helper()
	return build(t, raceDetector)
}

// BuildToMeasure makes the program as users have it, without the race detector,
// which takes several times the memory and time.
func BuildToMeasure(t testing.TB) (binary string) {
	t.Helper()
	return build(t, false)
}

func build(t testing.TB, race bool) (binary string) {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if dir := built.dirs[race]; dir != "" {
		return filepath.Join(dir, "shelfcast")
	}
	dir, err := os.MkdirTemp("", "shelfcast-built-")
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "shelfcast")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "shelfcast/cmd/shelfcast")...).CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("%v\n%s", err, out)
	}
	if built.dirs == nil {
		built.dirs = map[bool]string{}
	}
	built.dirs[race] = dir
	return binary
}

// Clean removes what Build and BuildToMeasure have made.
func Clean() {
	for _, dir := range built.dirs {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// Token is the admin token of the instances.
const Token = "a token of the tests"

// An Instance is a process of the program.
type Instance struct {
	*storetest.Server
	Public, Admin string // host:port
}

// Start starts an instance with these variables besides its addresses and its
// token, and waits until it is ready. It ends with the test, which fails if the
// instance has written of a race or a panic.
func Start(t testing.TB, binary string, env ...string) *Instance {
	t.Helper()
	i := &Instance{Public: loopback(t), Admin: loopback(t)}
	i.Server = storetest.StartServer(t, Answers("http://"+i.Admin+"/readyz"),
		append([]string{"SHELFCAST_LISTEN=" + i.Public, "SHELFCAST_ADMIN_LISTEN=" + i.Admin, "SHELFCAST_ADMIN_TOKEN=" + Token}, env...), binary, "serve")
	t.Cleanup(func() {
		if said, err := os.ReadFile(i.Log()); err != nil || strings.Contains(string(said), "DATA RACE") || strings.Contains(string(said), "panic") {
			t.Errorf("an instance: %v\n%s", err, said)
		}
	})
	return i
}

// Metric is the sum of a metric's series; 0 if the instance does not answer.
func (i *Instance) Metric(name string) (sum float64) {
	response, err := http.Get("http://" + i.Admin + "/metrics")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body) // what has come counts
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if series, _, _ := strings.Cut(line, " "); len(fields) == 2 && (series == name || strings.HasPrefix(series, name+"{")) {
			n, _ := strconv.ParseFloat(fields[1], 64)
			sum += n
		}
	}
	return sum
}

// Answers says whether there is a good answer to a GET.
func Answers(url string) func() error {
	return func() error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

// loopback is an address that was free just now.
func loopback(t testing.TB) string {
	t.Helper()
	return fmt.Sprint("127.0.0.1:", storetest.FreePort(t))
}
