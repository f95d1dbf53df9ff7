package clustertest

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// scaled waits until each autoscaler has found its target and the target has the minimum of
// replicas. Two autoscalers with one target are an error.
func (r *Release) scaled(ctx context.Context) error {
	by := map[string]string{}
	for _, object := range r.Objects {
		kind := object.GetKind()
		if kind != "HorizontalPodAutoscaler" && kind != "ScaledObject" {
			continue
		}
		what := kind + " " + object.GetName()
		target, _, _ := unstructured.NestedString(object.Object, "spec", "scaleTargetRef", "name")
		if other, twice := by[target]; twice {
			return fmt.Errorf("%s and %s both scale %s", other, what, target)
		}
		by[target] = what
		fewest := whole(object, "minReplicas")
		if kind == "ScaledObject" {
			fewest = whole(object, "minReplicaCount")
			if err := r.asKEDA(ctx, target, fewest); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		if err := r.finds(ctx, object, target, fewest); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// autoscaled reports whether an autoscaler, not the chart, sets the replicas of a Deployment.
func (r *Release) autoscaled(deployment string) bool {
	for _, object := range r.Objects {
		target, _, _ := unstructured.NestedString(object.Object, "spec", "scaleTargetRef", "name")
		if target == deployment {
			return true
		}
	}
	return false
}

// finds waits until the autoscaler has found its target and the target has the minimum of
// replicas.
func (r *Release) finds(ctx context.Context, autoscaler *unstructured.Unstructured, target string, fewest int64) error {
	return eventually(ctx, func() error {
		if autoscaler.GetKind() == "HorizontalPodAutoscaler" {
			now, err := r.get(ctx, autoscaler)
			if err != nil {
				return err
			}
			if !condition(now, "AbleToScale") {
				return fmt.Errorf("its controller has not found what it is to scale")
			}
		}
		deployment, err := r.Client.AppsV1().Deployments(r.Namespace).Get(ctx, target, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if n := *deployment.Spec.Replicas; int64(n) < fewest {
			return fmt.Errorf("Deployment %s is to have %d pods, and not %d", target, n, fewest)
		}
		return nil
	})
}

// asKEDA scales the target to the minimum, as KEDA would: it is not installed.
func (r *Release) asKEDA(ctx context.Context, target string, fewest int64) error {
	deployments := r.Client.AppsV1().Deployments(r.Namespace)
	scale, err := deployments.GetScale(ctx, target, metav1.GetOptions{})
	if err != nil || int64(scale.Spec.Replicas) >= fewest {
		return err
	}
	_, err = deployments.UpdateScale(ctx, target, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: target, Namespace: r.Namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: int32(fewest)},
	}, metav1.UpdateOptions{})
	return err
}

// whole returns an integer field of an object's spec, or 0.
func whole(object *unstructured.Unstructured, field string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", field)
	switch n := value.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}
