// Package fleettest runs whole instances for tests, as processes of the program or in
// the test's own process, and the load balancers of deploy/ in front of them.
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

	"shelfcast/testkit"
)

// built has the folders of the built programs, by whether they have the race detector.
var built struct {
	sync.Mutex
	dirs map[bool]string
}

// Build builds the program, with the race detector if the test has it. It does so once
// in a test process, whose TestMain must pass Clean to testkit.Main.
func Build(t testing.TB) (binary string) {
	t.Helper()
	return build(t, raceDetector)
}

// BuildToMeasure builds the program without the race detector, which takes several times
// the memory and time.
func BuildToMeasure(t testing.TB) (binary string) {
	t.Helper()
	return build(t, false)
}

func build(t testing.TB, race bool) (binary string) {
	t.Helper()
	testkit.SkipShort(t)
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
	cmd := exec.Command("go", append(args, "./cmd/shelfcast")...)
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		t.Fatalf("%v\n%s", err, out)
	}
	if built.dirs == nil {
		built.dirs = map[bool]string{}
	}
	built.dirs[race] = dir
	return binary
}

// Clean removes what Build and BuildToMeasure have built.
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
	*testkit.Server
	Public, Admin string // host:port
}

// Start starts an instance with these environment variables, in addition to its addresses
// and its token, and waits until it is ready. It ends with the test, which fails if the
// instance has reported a race or a panic.
func Start(t testing.TB, binary string, env ...string) *Instance {
	t.Helper()
	i := &Instance{Public: testkit.FreeAddr(t), Admin: testkit.FreeAddr(t)}
	i.Server = testkit.StartServer(t, Answers("http://"+i.Admin+"/readyz"),
		append([]string{"SHELFCAST_LISTEN=" + i.Public, "SHELFCAST_ADMIN_LISTEN=" + i.Admin,
			"SHELFCAST_ADMIN_TOKEN=" + Token}, env...), binary, "serve")
	t.Cleanup(func() {
		if said, err := os.ReadFile(i.Log()); err != nil ||
			strings.Contains(string(said), "DATA RACE") || strings.Contains(string(said), "panic") {
			t.Errorf("an instance: %v\n%s", err, said)
		}
	})
	return i
}

// Metric returns the sum of a metric's series, or 0 if the instance does not answer.
func (i *Instance) Metric(name string) (sum float64) {
	response, err := http.Get("http://" + i.Admin + "/metrics")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body) // a part of it is enough
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if series, _, _ := strings.Cut(line, " "); len(fields) == 2 &&
			(series == name || strings.HasPrefix(series, name+"{")) {
			n, _ := strconv.ParseFloat(fields[1], 64)
			sum += n
		}
	}
	return sum
}

// Answers returns a function that requests url, and returns an error unless the answer is
// 200.
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
