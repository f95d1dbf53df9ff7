package imagetest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"shelfcast/testkit"
)

var secrets = []string{"MYSQL_PASSWORD=secret", "SHELFCAST_ADMIN_TOKEN=a token of the tests"}

// load reads a compose file as `docker compose config` does, and validates it against the
// specification.
func load(t *testing.T, file string, env ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(root), cli.WithEnv(env),
		cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	return cli.ProjectFromOptions(context.Background(), options)
}

func TestComposeFile(t *testing.T) {
	project, err := load(t, filepath.Join(root, "compose.yaml"), secrets...)
	if err != nil {
		t.Fatal(err)
	}
	service := func(name string) types.ServiceConfig {
		t.Helper()
		s, err := project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, name := range []string{"mysql", "redis", "shelfcast-1", "shelfcast-2", "haproxy"} {
		if s := service(name); s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.Restart != "unless-stopped" {
			t.Errorf("%s has no health check, or is not restarted: %v %s", name, s.HealthCheck, s.Restart)
		}
	}
	for _, name := range []string{"shelfcast-1", "shelfcast-2", "migrate", "smoke", "doctor"} {
		s := service(name)
		if s.User != "65532:65532" || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") || len(s.Volumes) > 0 {
			t.Errorf("%s has too many privileges", name)
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s can be reached without the load balancer: %v", name, s.Ports)
		}
	}
	for _, name := range []string{"shelfcast-1", "shelfcast-2"} {
		s := service(name)
		drain, err := time.ParseDuration(*s.Environment["SHELFCAST_DRAIN_TIME"])
		if err != nil || s.StopGracePeriod == nil ||
			time.Duration(*s.StopGracePeriod) < drain*3/4+max(drain/4, 6*time.Second) {
			t.Errorf("%s is given %v for a drain of %v (%v)", name, s.StopGracePeriod, drain, err)
		}
		if files := s.Ulimits["nofile"]; files == nil || files.Single < 15500 {
			t.Errorf("%s may open %v files", name, files)
		}
		if s.DependsOn["migrate"].Condition != types.ServiceConditionCompletedSuccessfully ||
			s.DependsOn["redis"].Condition != types.ServiceConditionHealthy {
			t.Errorf("%s waits for %v", name, s.DependsOn)
		}
		if networks := s.Networks; networks["data"] == nil && networks["edge"] == nil {
			t.Errorf("%s is in %v", name, networks)
		}
		if proxy := service("haproxy").Networks["edge"].Ipv4Address; *s.Environment["SHELFCAST_TRUSTED_PROXIES"] != proxy {
			t.Errorf("it trusts the proxy %s, and the load balancer is %s", *s.Environment["SHELFCAST_TRUSTED_PROXIES"], proxy)
		}
	}
	if service("migrate").DependsOn["mysql"].Condition != types.ServiceConditionHealthy {
		t.Error("migrate does not wait for MySQL")
	}
	for _, name := range []string{"mysql", "redis"} {
		if s := service(name); len(s.Ports) > 0 || len(s.Networks) != 1 || !project.Networks["data"].Internal {
			t.Errorf("%s can be reached from outside: %v %v", name, s.Ports, s.Networks)
		}
	}
	for _, port := range service("haproxy").Ports {
		if port.Target == 8081 && port.HostIP != "127.0.0.1" {
			t.Errorf("the admin app is open to %q", port.HostIP)
		}
	}
}

// A missing secret gives an error that says what to set, and an unknown key is an error.
func TestComposeFileErrorsAreFound(t *testing.T) {
	file := filepath.Join(root, "compose.yaml")
	for i, secret := range secrets {
		name, _, _ := strings.Cut(secret, "=")
		if _, err := load(t, file, secrets[1-i]); err == nil || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "is to be set") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	text := string(read(t, "compose.yaml"))
	for from, to := range map[string]string{
		"restart: on-failure:5":                           "restarts: on-failure:5",
		"redis: {condition: service_healthy}":             "redis: {condition: service_is_well}",
		"depends_on:\n      mysql:":                       "depends_on:\n      postgres:",
		"networks: [data]\n    restart: unless-stopped\n": "networks: [nothing]\n    restart: unless-stopped\n",
	} {
		broken := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(broken, []byte(strings.Replace(text, from, to, 1)), 0o600); err != nil ||
			!strings.Contains(text, from) {
			t.Fatalf("%q: %v", from, err)
		}
		if _, err := load(t, broken, secrets...); err == nil {
			t.Errorf("%q is accepted", to)
		}
	}
}

// The program knows each variable, and accepts their values.
func TestComposeFileSettingsAreKnown(t *testing.T) {
	project, err := load(t, filepath.Join(root, "compose.yaml"), secrets...)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "shelfcast")
	build := exec.Command("go", "build", "-o", program, "./cmd/shelfcast")
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	service, err := project.GetService("shelfcast-1")
	if err != nil {
		t.Fatal(err)
	}
	config := exec.Command(program, "config", "--json")
	for name, value := range service.Environment {
		config.Env = append(config.Env, name+"="+*value)
	}
	said, err := config.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Settings []struct{ Name, Value, Source string }
		Unknown  []string
	}
	if err := json.Unmarshal(said, &report); err != nil {
		t.Fatal(err)
	}
	set := 0
	for _, s := range report.Settings {
		if s.Source == "environment" {
			set++
		}
		if s.Name == "mysql" && s.Value != "shelfcast:***@tcp(mysql:3306)/shop" {
			t.Errorf("MySQL is %s", s.Value)
		}
	}
	if len(report.Unknown) > 0 || set != len(service.Environment) {
		t.Errorf("%d of %d are settings, and %v are none", set, len(service.Environment), report.Unknown)
	}
}

// HAProxy accepts the configuration, even while its host names do not resolve.
func TestHAProxyAcceptsComposeConfiguration(t *testing.T) {
	haproxy := testkit.Program(t, "haproxy", "haproxy")
	check := exec.Command(haproxy, "-c", "-f", filepath.Join(root, "deploy/compose/haproxy.cfg"))
	if said, err := check.CombinedOutput(); err != nil || strings.Contains(string(said), "[WARNING]") {
		t.Errorf("%v: %s", err, said)
	}
}
