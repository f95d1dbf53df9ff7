package clustertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A journey is a release's life, from an empty namespace to an empty namespace.
type journey struct {
	*Release
	chart   string
	values  map[string]any
	changed map[string]any              // other values, with which each pod is another
	also    func(context.Context) error // done when it is new, if there is one

	untested bool // there is no helm test

	first map[string]string // state of the release when it was new
}

// travel takes it there; the error says how far it came.
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

// tested: helm test, if the chart has one with these values.
func (j *journey) tested(ctx context.Context) error {
	if j.untested {
		return nil
	}
	return j.Test(ctx)
}

// evict: a node can be emptied, but not of all pods at once.
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

// same: an upgrade that changes no value changes no object.
func (j *journey) same(ctx context.Context) error {
	if err := j.Upgrade(ctx, j.chart, j.values); err != nil {
		return err
	}
	return j.isAsAtFirst(ctx)
}

// change: while no new pod gets to run, the old ones serve; and then all are new.
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

// back: it is as at first.
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
			objections = append(objections, fmt.Errorf("%s is not what it was: %s, and it was %s", name, now[name], j.first[name]))
		}
	}
	if len(now) != len(j.first) {
		objections = append(objections, fmt.Errorf("there are %d objects, and there were %d", len(now), len(j.first)))
	}
	return errors.Join(objections...)
}
