package clustertest

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"
)

const small = "testdata/small"

func TestSoundChartPassesAllChecks(t *testing.T) {
	t.Parallel()
	j := journey{Release: release(t, "sound"), chart: small, values: map[string]any{},
		changed: map[string]any{"tag": "2", "replicas": 3}}
	if err := j.travel(t.Context()); err != nil {
		t.Error(err)
	}
}

// A chart with one fault fails at the expected step with an error that names the fault.
func TestChecksFindEachFault(t *testing.T) {
	for fault, sees := range map[string]struct {
		step   string
		words  string
		values map[string]any // in addition to the fault
	}{
		// Found by the API server when helm creates an object.
		"field":          {"install", `unknown field "spec.template.spec.containers[0].livenessProb"`, nil},
		"port":           {"install", "must be between 1 and 65535", nil},
		"selector":       {"install", "`selector` does not match template `labels`", nil},
		"customField":    {"install", `unknown field "spec.endpoints[0].intervall"`, nil},
		"duration":       {"install", "spec.rules[0].timeouts.request", nil},
		"newSelector":    {"upgrade", "field is immutable", nil},
		"privileges":     {"install", "would violate PodSecurity", nil},
		"hookPrivileges": {"install", "violates PodSecurity", nil},
		"testAsRoot":     {"test", "violates PodSecurity", nil},
		// Found by the controllers, the scheduler and the kubelet.
		"noAccount": {"install", `serviceaccount "nobody" not found`, nil},
		"noSecret":  {"install", `secrets "nothing" not found`, nil},
		"noKey":     {"install", `Secret "shop" has no key "passwort"`, nil},
		"early":     {"install", `secrets "shop" not found`, nil},
		"noHost":    {"install", "node affinity/selector", nil},
		"scaleKind": {"install", "has not found what it is to scale", nil},
		"portName":  {"install", "no pod is ready at its port http", nil},
		"noBudget":  {"evict", "of 2 pods of shop 0 could be evicted", map[string]any{"budget": 0}},
		"allBudget": {"evict", "of 2 pods of shop 2 could be evicted", map[string]any{"budget": 2}},
		// Found by Check and the lifecycle.
		"oneHost":     {"install", "the pods are not spread", nil},
		"token":       {"install", "has a service account token", nil},
		"writable":    {"install", "may write to the image", nil},
		"egress":      {"install", "is for both its directions", nil},
		"backend":     {"install", "there is no Service other", nil},
		"routePort":   {"install", "has no port 81", nil},
		"twoServices": {"install", "is to be that of one", nil},
		"twoScalers":  {"install", "both scale shop", nil},
		"restless":    {"upgrade to the same", "deployment/shop is not what it was", nil},
		"lingering":   {"uninstall", "left: ", nil},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			// Waiting for what never comes would take longer.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			values := map[string]any{"fault": fault}
			maps.Copy(values, sees.values)
			changed := maps.Clone(values)
			changed["tag"] = "2"
			j := journey{Release: release(t, strings.ToLower("fault-"+fault)), chart: small, values: values, changed: changed}
			j.Timeout = 10 * time.Second
			err := j.travel(ctx)
			if err == nil {
				t.Fatal("no step failed")
			}
			if !strings.HasPrefix(err.Error(), sees.step+": ") || !strings.Contains(err.Error(), sees.words) {
				t.Errorf("want %s to fail with %q, got %v", sees.step, sees.words, err)
			}
		})
	}
}

// An upgrade whose migration fails changes nothing that runs: that is why the migration is a hook.
func TestFailedMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	failedMigration(t, release(t, "failed"), small, map[string]any{}, map[string]any{"tag": "2"})
}

// failedMigration upgrades to other values with a failing migration, and then with a working one.
func failedMigration(t *testing.T, r *Release, chart string, values, changed map[string]any) {
	t.Helper()
	j := journey{Release: r, chart: chart, values: values, changed: changed}
	ctx := t.Context()
	if err := j.install(ctx); err != nil {
		t.Fatal(err)
	}
	r.Kubelet.Let(r.Namespace, Failing)
	had := r.Objects
	if err := r.Upgrade(ctx, chart, changed); err == nil || !strings.Contains(err.Error(), "pre-upgrade") {
		t.Errorf("an upgrade whose migration fails returned %v", err)
	}
	r.Objects = had
	if err := j.isAsAtFirst(ctx); err != nil {
		t.Error(err)
	}
	r.Kubelet.Let(r.Namespace, Well)
	if err := j.change(ctx); err != nil {
		t.Error(err)
	}
	if err := r.Uninstall(ctx); err != nil {
		t.Error(err)
	}
}
