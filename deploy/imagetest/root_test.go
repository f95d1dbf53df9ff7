package imagetest

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"shelfcast/testkit"
)

// image returns a folder with only the files that the last stage of the Dockerfile copies.
func image(t *testing.T, out string) string {
	t.Helper()
	stages, _ := dockerfile(t, read(t, "Dockerfile"))
	dir := t.TempDir()
	for ; ; dir = filepath.Dir(dir) { // for the image's user
		if err := os.Chmod(dir, 0o755); err != nil || filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	dir = filepath.Join(dir, "root")
	for _, c := range only[*instructions.CopyCommand](stages[1]) {
		if c.From != "build" || len(c.SourcePaths) != 1 {
			t.Fatalf("what is %v?", c)
		}
		from := c.SourcePaths[0]
		if rest, ours := strings.CutPrefix(from, "/out/"); ours {
			from = filepath.Join(out, rest)
		}
		to := filepath.Join(dir, c.DestPath)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		argument := from
		if strings.HasSuffix(c.SourcePaths[0], "/") {
			argument = from + "/." // what is in it
		}
		if said, err := exec.Command("cp", "-r", argument, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	return dir
}

// inside returns the command that runs the program with the image as its read-only root, as the
// image's user. Where mounts are not permitted, the root is read-only to that user because root
// owns it.
func inside(t *testing.T, root string) (argv []string, mounted bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	chroot := "exec chroot --userspec=65532:65532 --groups=65532 " + root + ` /shelfcast "$@"`
	readOnly := fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[1]s && ", root)
	argv = []string{"unshare", "--mount", "sh", "-ec", readOnly + chroot, "sh"}
	if err := exec.Command(argv[0], append(slices.Clone(argv[1:]), "version")...).Run(); err == nil {
		return argv, true
	}
	return []string{"sh", "-ec", chroot, "sh"}, false
}

// runs migrates, serves and requests a page, all inside the image.
func runs(t *testing.T, out string) {
	dir := image(t, out)
	program, mounted := inside(t, dir)
	t.Logf("a root that is mounted read-only: %t", mounted)
	before := listed(t, dir)
	want := []string{"etc/ssl/certs/ca-certificates.crt", "shelfcast", "usr/share/sbom/shelfcast.cdx.json"}
	if !slices.Equal(before, want) {
		t.Errorf("the image has %v, want %v", before, want)
	}
	certificates, err := os.ReadFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"))
	if block, _ := pem.Decode(certificates); err != nil || block == nil ||
		strings.Count(string(certificates), "BEGIN CERTIFICATE") < 50 {
		t.Errorf("%d bytes of certificates (%v)", len(certificates), err)
	}
	public, admin := testkit.FreeAddr(t), testkit.FreeAddr(t)
	env := []string{
		"SHELFCAST_MYSQL=" + testkit.DSN(t), "SHELFCAST_REDIS=" + testkit.Redis(t),
		"SHELFCAST_ADMIN_TOKEN=a token of the tests", "SHELFCAST_LISTEN=" + public, "SHELFCAST_ADMIN_LISTEN=" + admin,
		"SHELFCAST_DRAIN_TIME=100ms", "SHELFCAST_URL=http://" + admin + "/readyz", "TZ=Asia/Tokyo",
	}
	call := func(args ...string) (string, error) {
		run := exec.Command(program[0], append(slices.Clone(program[1:]), args...)...)
		run.Env = append(os.Environ(), env...)
		said, err := run.CombinedOutput()
		return string(said), err
	}
	if said, err := call("healthcheck"); err == nil || !strings.Contains(said, "+09:00") {
		t.Errorf("before there is an instance, and in Tokyo: %v: %s", err, said)
	}
	if said, err := call("migrate"); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	server := testkit.StartServer(t, func() error { _, err := call("healthcheck"); return err }, env,
		append(slices.Clone(program), "serve")...)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.Pid()))
	if err != nil || !strings.Contains(string(status), "Uid:\t65532\t65532\t65532\t65532\n") ||
		!strings.Contains(string(status), "Gid:\t65532\t65532\t65532\t65532\n") {
		t.Errorf("%v: it runs as %s", err, status)
	}
	if at, err := os.Readlink(fmt.Sprintf("/proc/%d/root", server.Pid())); err != nil || at != dir {
		t.Errorf("its root is %s (%v)", at, err)
	}
	response, err := http.Get("http://" + public + "/shop")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if page, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK ||
		!strings.Contains(string(page), "Shelfcast") {
		t.Errorf("%d %v: %s", response.StatusCode, err, page)
	}
	if said, err := call("smoke", "--public-url=http://"+public, "--admin-url=http://"+admin); err != nil ||
		!strings.Contains(said, "OK: the edit reached every page") {
		t.Errorf("%v: %s", err, said)
	}
	server.Stop() // it must end by itself
	if log, err := os.ReadFile(server.Log()); err != nil || !strings.Contains(string(log), "stopped") {
		t.Errorf("%v: %s", err, log)
	}
	if after := listed(t, dir); !slices.Equal(after, before) {
		t.Errorf("it left %v", after)
	}
}
