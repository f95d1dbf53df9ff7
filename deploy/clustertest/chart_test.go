package clustertest

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	chart  = "../../charts/shelfcast"
	values = "testdata/values"
)

// one reports whether the set of values runs a single pod.
func one(set string) bool { return set == "single" || set == "example-minimal" }

// The chart is installed, tested, upgraded, rolled back and uninstalled with every set of values.
func TestChartLifecycleWithEveryValueSet(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	for set := range valueSets(t) {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			j := journey{Release: chartRelease(t, "chart-"+set), chart: chart, values: valuesOf(t, set),
				changed: changed(t, set), untested: one(set)}
			j.also = func(ctx context.Context) error { return takesSettings(ctx, j.Release, program, t.TempDir()) }
			if err := j.travel(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A release can be upgraded from each set of values to the next: no immutable field changes, and
// objects that the next set lacks are removed.
func TestUpgradeBetweenValueSets(t *testing.T) {
	t.Parallel()
	r := chartRelease(t, "chart-sets")
	sets := slices.Sorted(maps.Keys(valueSets(t)))
	if err := r.Install(t.Context(), chart, valuesOf(t, sets[0])); err != nil {
		t.Fatal(err)
	}
	for _, set := range append(sets[1:], sets[0]) {
		before := podsWanted(t, r)
		if err := r.Upgrade(t.Context(), chart, valuesOf(t, set)); err != nil {
			t.Fatalf("%s: %v", set, err)
		}
		// When autoscaling is turned on, the chart no longer sets the number of pods. Until the
		// autoscaler does, the API server would default it to one.
		if now := podsWanted(t, r); now < min(before, 2) && !one(set) {
			t.Errorf("%s: the Deployments wanted %d pods, and want %d after the upgrade", set, before, now)
		}
		if err := r.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
	if err := r.Uninstall(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFailedChartMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	values, other := valuesOf(t, "default"), changed(t, "default")
	once := map[string]any{"migration": map[string]any{"backoffLimit": 0}}
	failedMigration(t, chartRelease(t, "chart-migration"), chart, merge(values, once), merge(other, once))
}

// valueSets returns the files with sets of values by name: those of testdata and the chart's
// examples.
func valueSets(t *testing.T) map[string]string {
	t.Helper()
	sets := map[string]string{}
	for prefix, dir := range map[string]string{"": values, "example-": filepath.Join(chart, "examples")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil || len(files) < 2 {
			t.Fatal(dir, files, err)
		}
		for _, file := range files {
			sets[prefix+strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
		}
	}
	return sets
}

// valuesOf reads a set of values. minReadySeconds is 1, to save time.
func valuesOf(t *testing.T, set string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(valueSets(t)[set])
	if err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := yaml.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return merge(read, map[string]any{"minReadySeconds": 1})
}

// changed returns the set with a new image and other settings.
func changed(t *testing.T, set string) map[string]any {
	t.Helper()
	return merge(valuesOf(t, set), map[string]any{
		"image":          map[string]any{"tag": "0.2.0"},
		"podAnnotations": map[string]any{"example.com/changed": "yes"},
		"shop":           map[string]any{"pageSize": 30},
		"log":            map[string]any{"level": "debug"},
	})
}

// merge returns a, overridden by b.
func merge(a, b map[string]any) map[string]any {
	merged := maps.Clone(a)
	for key, value := range b {
		below, isMap := merged[key].(map[string]any)
		if above, both := value.(map[string]any); isMap && both {
			value = merge(below, above)
		}
		merged[key] = value
	}
	return merged
}

func chartRelease(t *testing.T, namespace string) *Release {
	t.Helper()
	r := release(t, namespace)
	if err := r.Provide(t.Context(), "testdata/provided.yaml"); err != nil {
		t.Fatal(err)
	}
	return r
}

// podsWanted returns the number of replicas of all Deployments.
func podsWanted(t *testing.T, r *Release) int {
	t.Helper()
	deployments, err := r.Client.AppsV1().Deployments(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods := 0
	for _, deployment := range deployments.Items {
		pods += int(*deployment.Spec.Replicas)
	}
	return pods
}
