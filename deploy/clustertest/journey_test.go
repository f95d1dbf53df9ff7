package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A journey takes a release through its lifecycle, from an empty namespace to an empty namespace.
type journey struct {
	*Release
	chart   string
	values  map[string]any
	changed map[string]any              // other values, which replace every pod
	also    func(context.Context) error // further check after the install, or nil

	untested bool // the chart has no helm test with these values

	first map[string]string // state after the install
}

// travel runs all steps. Its error begins with the name of the step that failed.
func (j *journey) travel(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"install", j.install},
		{"settings", j.also},
		{"test", j.tested},
		{"evict", j.evict},
		{"upgrade to the same", j.same},
		{"upgrade", j.change},
		{"rollback", j.back},
		{"uninstall", j.Uninstall},
	} {
		if step.do == nil {
			continue
		}
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (j *journey) install(ctx context.Context) error {
	if err := j.Install(ctx, j.chart, j.values); err != nil {
		return err
	}
	if err := j.Check(ctx); err != nil {
		return err
	}
	var err error
	j.first, err = j.State(ctx)
	return err
}

// tested runs helm test, if the chart has a test with these values.
func (j *journey) tested(ctx context.Context) error {
	if j.untested {
		return nil
	}
	return j.Test(ctx)
}

// evict checks that the disruption budget allows evictions, but not of all pods at once.
func (j *journey) evict(ctx context.Context) error {
	if len(j.Named("PodDisruptionBudget")) == 0 {
		return nil
	}
	for _, name := range j.Named("Deployment") {
		deployment, err := j.Client.AppsV1().Deployments(j.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		gone, err := j.Evict(ctx, name)
		if err != nil {
			return err
		}
		if all := int(*deployment.Spec.Replicas); gone == 0 || gone == all {
			return fmt.Errorf("of %d pods of %s %d could be evicted at once", all, name, gone)
		}
	}
	return j.Check(ctx)
}

// same checks that an upgrade with the same values changes no object.
func (j *journey) same(ctx context.Context) error {
	if err := j.Upgrade(ctx, j.chart, j.values); err != nil {
		return err
	}
	return j.isAsAtFirst(ctx)
}

// change upgrades to the changed values. While no new pod becomes ready, the old ones must keep
// serving; then all are replaced.
func (j *journey) change(ctx context.Context) error {
	before := map[string]int32{}
	for _, name := range j.Named("Deployment") {
		deployment, err := j.Client.AppsV1().Deployments(j.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		before[name] = *deployment.Spec.Replicas
	}
	j.Kubelet.Let(j.Namespace, Slow)
	defer j.Kubelet.Let(j.Namespace, Well)
	if err := j.Upgrade(ctx, j.chart, j.changed); err != nil {
		return err
	}
	for name, pods := range before {
		if err := j.Unharmed(ctx, name, pods); err != nil {
			return err
		}
	}
	j.Kubelet.Let(j.Namespace, Well)
	if err := j.Check(ctx); err != nil {
		return err
	}
	if j.isAsAtFirst(ctx) == nil {
		return errors.New("the changed values have changed nothing")
	}
	return nil
}

// back checks that a rollback restores the first state.
func (j *journey) back(ctx context.Context) error {
	if err := j.Rollback(ctx, 1); err != nil {
		return err
	}
	if err := j.Check(ctx); err != nil {
		return err
	}
	return j.isAsAtFirst(ctx)
}

func (j *journey) isAsAtFirst(ctx context.Context) error {
	now, err := j.State(ctx)
	if err != nil {
		return err
	}
	var objections []error
	for _, name := range slices.Sorted(maps.Keys(j.first)) {
		if now[name] != j.first[name] {
			objections = append(objections,
				fmt.Errorf("%s is not what it was: %s, and it was %s", name, now[name], j.first[name]))
		}
	}
	if len(now) != len(j.first) {
		objections = append(objections, fmt.Errorf("there are %d objects, and there were %d", len(now), len(j.first)))
	}
	return errors.Join(objections...)
}
