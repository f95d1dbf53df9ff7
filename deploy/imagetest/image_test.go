// Package imagetest tests the Dockerfile and compose.yaml with the parsers of Docker. It needs no
// Docker: it runs the commands of the Dockerfile on the host, and the built program in an
// otherwise empty root.
package imagetest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	digest "github.com/opencontainers/go-digest"

	"shelfcast/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// root is the root of the repository.
const root = "../.."

// dockerfile parses a Dockerfile with BuildKit.
func dockerfile(t *testing.T, text []byte) (stages []instructions.Stage, args []instructions.ArgCommand) {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stages, args, err = instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	return stages, args
}

// images replaces the registry: each base image is empty.
type images struct{}

func (images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (
	string, digest.Digest, []byte, error) {
	config := []byte(`{"os":"linux","architecture":"amd64","config":{}}`)
	return ref, digest.FromBytes(config), config, nil
}

// lint returns the warnings of `docker build --check`.
func lint(t *testing.T, text []byte) (warnings []string) {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		warnings = append(warnings, w.Short)
	}
	source := llb.NewSourceMap(nil, "Dockerfile", "dockerfile", text)
	source.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text,
		dockerfile2llb.ConvertOpt{MetaResolver: images{}, SourceMap: source})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		warnings = append(warnings, results.Error.Message)
	}
	for _, w := range results.Warnings {
		warnings = append(warnings, w.RuleName+": "+w.Detail)
	}
	return warnings
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// only returns the commands of one kind.
func only[C any](stage instructions.Stage) (all []C) {
	for _, command := range stage.Commands {
		if c, ok := command.(C); ok {
			all = append(all, c)
		}
	}
	return all
}

func TestDockerfileIsMinimalAndLints(t *testing.T) {
	stages, args := dockerfile(t, read(t, "Dockerfile"))
	if warnings := lint(t, read(t, "Dockerfile")); len(warnings) > 0 {
		t.Errorf("the linter warns: %v", warnings)
	}
	if len(stages) != 2 || stages[0].Name != "build" || stages[1].BaseName != "scratch" {
		t.Fatalf("got %d stages: %v", len(stages), stages)
	}
	final := stages[1]
	if users := only[*instructions.UserCommand](final); len(users) != 1 || users[0].User != "65532:65532" {
		t.Errorf("it runs as %v", users)
	}
	if entries := only[*instructions.EntrypointCommand](final); len(entries) != 1 || entries[0].PrependShell ||
		!slices.Equal(entries[0].CmdLine, []string{"/shelfcast"}) {
		t.Errorf("the entry point is %v", entries)
	}
	if commands := only[*instructions.CmdCommand](final); len(commands) != 1 || commands[0].PrependShell ||
		!slices.Equal(commands[0].CmdLine, []string{"serve"}) {
		t.Errorf("it runs %v", commands)
	}
	if checks := only[*instructions.HealthCheckCommand](final); len(checks) != 1 ||
		!slices.Equal(checks[0].Health.Test, []string{"CMD", "/shelfcast", "healthcheck"}) {
		t.Errorf("the health check is %v", checks)
	}
	if runs := only[*instructions.RunCommand](final); len(runs) > 0 {
		t.Errorf("there is no shell to run %v", runs)
	}
	if ports := only[*instructions.ExposeCommand](final); len(ports) != 1 ||
		!slices.Equal(ports[0].Ports, []string{"8080", "8081"}) {
		t.Errorf("it listens on %v", ports)
	}
	labels := map[string]string{}
	for _, command := range only[*instructions.LabelCommand](final) {
		for _, label := range command.Labels {
			labels[label.Key] = label.Value
		}
	}
	for name, want := range map[string]string{"title": "Shelfcast", "licenses": "Apache-2.0", "version": "$VERSION",
		"revision": "$REVISION"} {
		if got := labels["org.opencontainers.image."+name]; strings.Trim(got, `"`) != want {
			t.Errorf("the label %s is %q", name, got)
		}
	}
	for _, stage := range stages {
		if added := only[*instructions.AddCommand](stage); len(added) > 0 {
			t.Errorf("ADD fetches and unpacks: %v", added)
		}
	}
	if len(args) != 1 || args[0].Args[0].Key != "GO_VERSION" {
		t.Fatalf("the build is with %v", args)
	}
	if wants := goVersion(t); !strings.HasPrefix(*args[0].Args[0].Value, wants) {
		t.Errorf("it builds with Go %s, and go.mod is of %s", *args[0].Args[0].Value, wants)
	}
}

// goVersion returns the Go version of the product's go.mod, as 1.26.
func goVersion(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(string(read(t, "go.mod"))) {
		if version, found := strings.CutPrefix(line, "go "); found {
			return strings.Join(strings.Split(strings.TrimSpace(version), ".")[:2], ".")
		}
	}
	t.Fatal("go.mod names no Go")
	return ""
}

// The linter does find problems.
func TestDockerfileLinterFindsProblems(t *testing.T) {
	for text, want := range map[string]string{
		"FROM scratch as Build\nCOPY . /\n":      "FromAsCasing",
		"FROM scratch\nMAINTAINER me\n":          "MaintainerDeprecated",
		"FROM scratch\nENV a b\n":                "LegacyKeyValueFormat",
		"FROM scratch\nCMD serve\n":              "JSONArgsRecommended",
		"FROM scratch\nLABEL version=$VERSION\n": "UndefinedVar",
		"FROM scratch\nARG ADMIN_TOKEN\n":        "SecretsUsedInArgOrEnv",
		"FROM golang:${GO}\nRUN true\n":          "GO",
	} {
		if warnings := strings.Join(lint(t, []byte(text)), "\n"); !strings.Contains(warnings, want) {
			t.Errorf("%q: it says %q, want %s", text, warnings, want)
		}
	}
}

// Files that .dockerignore does not allow are not in the build context.
func TestBuildContextHasOnlyAllowedFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"Dockerfile", ".env", ".git/config", "go.mod", "go.sum", "secrets.txt", "api/app.go", "api/app_test.go",
		"bin/shelfcast", "cmd/demo/main.go", "cmd/shelfcast/main.go", "cmd/shelfcast/main_test.go", "deploy/sbom/go.mod",
		"deploy/imagetest/go.mod", "render/testdata/card.html", "scripts/build", "scripts/test-deps",
		"store/migrations/1.sql", "testkit/mysql.go", "web/build/go.mod", "web/client/page.js", "web/dist/shelfcast.js",
		"web/node_modules/x/x.js", "web/test/page.test.js", "charts/shelfcast/Chart.yaml",
	} {
		write(t, filepath.Join(dir, name), "")
	}
	got := listed(t, copyContext(t, dir))
	if want := []string{
		"api/app.go", "cmd/shelfcast/main.go", "deploy/sbom/go.mod", "go.mod", "go.sum", "scripts/build",
		"store/migrations/1.sql", "web/dist/shelfcast.js",
	}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
