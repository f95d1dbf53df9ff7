package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// buildProgram builds shelfcast and returns its path.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "shelfcast")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/shelfcast")
	build.Dir = "../.."
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// takesSettings checks that the program accepts the configuration of each container: it knows each
// variable, can parse each value and finds each file.
func takesSettings(ctx context.Context, r *Release, program, dir string) error {
	containers, err := r.Containers(ctx, dir)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return errors.New("no container runs")
	}
	var objections []error
	for _, container := range containers {
		if err := takes(ctx, program, container); err != nil {
			objections = append(objections, fmt.Errorf("%s: %w", container.Pod, err))
		}
	}
	return errors.Join(objections...)
}

// takes runs the program's config command with the environment of the container.
func takes(ctx context.Context, program string, container Container) error {
	command := exec.CommandContext(ctx, program, "config", "--json")
	command.Dir = container.Root
	command.Env = []string{} // without our own environment
	for name, value := range container.Environment {
		command.Env = append(command.Env, name+"="+value)
	}
	out, err := command.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	if err != nil {
		return err
	}
	var report struct{ Unknown []string }
	if err := json.Unmarshal(out, &report); err != nil {
		return err
	}
	if len(report.Unknown) > 0 {
		return fmt.Errorf("the program does not know %q", report.Unknown)
	}
	return nil
}
