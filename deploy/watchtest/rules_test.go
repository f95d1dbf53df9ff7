package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// promtool runs promtool, or skips the test where it is not installed.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("SHELFCAST_TEST_REQUIRE") == "1" {
			t.Fatal("promtool is not installed (Debian: apt-get install prometheus)")
		}
		t.Skip("promtool is not installed")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	return files
}

func TestPrometheusAcceptsRules(t *testing.T) {
	promtool(t, "check", "rules", rulesFile)
}

// Each case has time series and the alerts that they raise, with labels and annotations.
func TestAlertsFireAsSpecified(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			promtool(t, "test", "rules", file)
		})
	}
}

// Each alert fires in one case, and does not fire in the same or another one.
func TestEachAlertHasTestCases(t *testing.T) {
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, name := range cases(t) {
		var file struct {
			Tests []struct {
				Checks []struct {
					Alertname string
					Expected  []any `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			for _, check := range test.Checks {
				if len(check.Expected) > 0 {
					fires[check.Alertname] = true
				} else {
					quiet[check.Alertname] = true
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s fires in no case", a.Alert)
		}
		if !quiet[a.Alert] {
			t.Errorf("no case has %s not firing", a.Alert)
		}
		delete(fires, a.Alert)
		delete(quiet, a.Alert)
	}
	for name := range fires {
		t.Errorf("there are cases for %s, which is no alert", name)
	}
	for name := range quiet {
		t.Errorf("there are cases for %s, which is no alert", name)
	}
}
