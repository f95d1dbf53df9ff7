package clustertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/mod/modfile"
)

// Programs are the paths of the executables of a Kubernetes control plane.
type Programs struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Scheduler         string
	Version           string // of Kubernetes, as v1.2.3
}

// servers are built from the module in the folder kubernetes, which pins their version.
var servers = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// FindPrograms finds etcd on the PATH and the servers in the user's cache. It builds missing
// servers first, which takes minutes, and says so in log.
func FindPrograms(ctx context.Context, log io.Writer) (Programs, error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return Programs{}, errors.New("etcd is not installed (Debian: apt-get install etcd-server)")
	}
	recipe, err := readRecipe("kubernetes")
	if err != nil {
		return Programs{}, err
	}
	dir, err := recipe.build(ctx, log)
	if err != nil {
		return Programs{}, err
	}
	return Programs{
		Etcd:              etcd,
		APIServer:         filepath.Join(dir, "kube-apiserver"),
		ControllerManager: filepath.Join(dir, "kube-controller-manager"),
		Scheduler:         filepath.Join(dir, "kube-scheduler"),
		Version:           recipe.version,
	}, nil
}

// A recipe is everything that the built servers depend on.
type recipe struct {
	module  string // folder
	version string
	flags   []string
	key     string
}

func readRecipe(module string) (recipe, error) {
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return recipe{}, err
	}
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return recipe{}, err
	}
	version, err := versionOf(mod, "k8s.io/kubernetes")
	if err != nil {
		return recipe{}, err
	}
	parts := strings.SplitN(version, ".", 3)
	// Charts check the version that the server reports.
	stamp := fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s",
		"k8s.io/component-base/version", version, strings.TrimPrefix(parts[0], "v"), parts[1])
	flags := []string{"-trimpath", "-ldflags", stamp}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%q\n%q\n%s", mod, sum, flags, servers, runtime.GOARCH))
	return recipe{module, version, flags, fmt.Sprintf("%x", key[:6])}, nil
}

func versionOf(mod []byte, path string) (string, error) {
	file, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return "", err
	}
	for _, require := range file.Require {
		if require.Mod.Path == path {
			return require.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", path)
}

// build builds the servers if necessary and returns their folder. A lock lets one checkout build
// while others wait.
func (r recipe) build(ctx context.Context, log io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "shelfcast")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kubernetes-"+r.version+"-"+r.key)
	lock, err := os.OpenFile(filepath.Join(cache, "kubernetes.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	fmt.Fprintf(log, "Building Kubernetes %s into %s: this takes some minutes, once.\n", r.version, dir)
	half := dir + ".half" // renamed when complete
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	args := append([]string{"build", "-o", half + string(filepath.Separator)}, r.flags...)
	for _, server := range servers {
		args = append(args, "k8s.io/kubernetes/cmd/"+server)
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = r.module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	command.Stdout, command.Stderr = log, log
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("building Kubernetes: %w", err)
	}
	return dir, os.Rename(half, dir)
}
