package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// Check waits until the release works, and returns what does not: the pods of each Deployment run
// and are spread over zones, each Service has ready pods on each of its ports, and every reference
// to another object resolves.
func (r *Release) Check(ctx context.Context) error {
	var objections []error
	for _, object := range r.Objects {
		if in := object.GetNamespace(); in != "" && in != r.Namespace {
			objections = append(objections, fmt.Errorf("%s %s is in the namespace %s", object.GetKind(), object.GetName(), in))
		}
	}
	objections = append(objections, r.scaled(ctx))
	for _, name := range r.Named("Deployment") {
		objections = append(objections, r.deployed(ctx, name))
	}
	if err := errors.Join(objections...); err != nil {
		return err // other errors would be consequences of these
	}
	for _, name := range r.Named("Service") {
		objections = append(objections, r.served(ctx, name))
	}
	objections = append(objections, r.references(ctx), r.isolated(ctx))
	return errors.Join(objections...)
}

// deployed waits until the rollout is complete and checks its pods.
func (r *Release) deployed(ctx context.Context, name string) error {
	var deployment *appsv1.Deployment
	err := eventually(ctx, func() error {
		var err error
		deployment, err = r.Client.AppsV1().Deployments(r.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want, s := *deployment.Spec.Replicas, deployment.Status
		if s.ObservedGeneration != deployment.Generation || s.UpdatedReplicas != want ||
			s.AvailableReplicas != want || s.Replicas != want {
			return r.obstacle(ctx, deployment)
		}
		return nil
	})
	if err != nil {
		return err
	}
	pods, err := r.podsOf(ctx, deployment)
	if err != nil {
		return err
	}
	var objections []error
	zones, hosts := map[string]int{}, map[string]int{}
	for _, pod := range pods {
		zones[nodes[pod.Spec.NodeName]]++
		hosts[pod.Spec.NodeName]++
		objections = append(objections, private(&pod))
	}
	if len(zones) < min(2, len(pods)) || len(hosts) < min(len(nodes), len(pods)) {
		objections = append(objections,
			fmt.Errorf("Deployment %s: the pods are not spread: zones %v, hosts %v", name, zones, hosts))
	}
	return errors.Join(objections...)
}

// private returns an error if the pod has a service account token or a writable root filesystem.
// The restricted pod security level has already been enforced by admission.
func private(pod *corev1.Pod) error {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return fmt.Errorf("Pod %s has a service account token", pod.Name)
			}
		}
	}
	for _, container := range pod.Spec.Containers {
		if s := container.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			return fmt.Errorf("Pod %s may write to the image of %s", pod.Name, container.Name)
		}
	}
	return nil
}

// podsOf returns the pods that are not being deleted.
func (r *Release) podsOf(ctx context.Context, deployment *appsv1.Deployment) ([]corev1.Pod, error) {
	list, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(deployment.Spec.Selector)})
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// newPodsOf returns the pods of the current template. A Deployment whose template and replicas
// change at once may first create pods of the old template, whose Secrets may be gone; they are
// soon deleted.
func (r *Release) newPodsOf(ctx context.Context, deployment *appsv1.Deployment) ([]corev1.Pod, error) {
	const revision = "deployment.kubernetes.io/revision"
	sets, err := r.Client.AppsV1().ReplicaSets(r.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(deployment.Spec.Selector)})
	if err != nil {
		return nil, err
	}
	newest := ""
	for _, set := range sets.Items {
		if set.Annotations[revision] == deployment.Annotations[revision] {
			newest = set.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		}
	}
	pods, err := r.podsOf(ctx, deployment)
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool {
		return pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != newest
	}), err
}

// obstacle returns why the rollout is not complete. An error that has lasted for some seconds is
// permanent.
func (r *Release) obstacle(ctx context.Context, deployment *appsv1.Deployment) error {
	for _, c := range deployment.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return lasting(c.LastTransitionTime, fmt.Errorf("Deployment %s: %s", deployment.Name, c.Message))
		}
	}
	pods, err := r.newPodsOf(ctx, deployment)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		if why := waiting(&pod); why != "" {
			return lasting(pod.CreationTimestamp, fmt.Errorf("Pod %s: %s", pod.Name, why))
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				return lasting(c.LastTransitionTime, fmt.Errorf("Pod %s: %s", pod.Name, c.Message))
			}
		}
	}
	s := deployment.Status
	return fmt.Errorf("Deployment %s: of %d pods %d are new, %d available, %d there",
		deployment.Name, *deployment.Spec.Replicas, s.UpdatedReplicas, s.AvailableReplicas, s.Replicas)
}

// lasting makes err permanent if its cause has lasted for some seconds.
func lasting(since metav1.Time, err error) error {
	if time.Since(since.Time) > 4*time.Second {
		return over{err}
	}
	return err
}

// served waits until the Service has a ready pod on each of its ports.
func (r *Release) served(ctx context.Context, name string) error {
	service, err := r.Client.CoreV1().Services(r.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return eventually(ctx, func() error {
		found, err := r.Client.DiscoveryV1().EndpointSlices(r.Namespace).List(ctx,
			metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + name})
		if err != nil {
			return err
		}
		ready := map[string]int{} // by the port's name
		for _, slice := range found.Items {
			for _, port := range slice.Ports {
				for _, endpoint := range slice.Endpoints {
					if *endpoint.Conditions.Ready {
						ready[*port.Name]++
					}
				}
			}
		}
		for _, port := range service.Spec.Ports {
			if ready[port.Name] == 0 {
				return fmt.Errorf("Service %s: no pod is ready at its port %s", name, orNumber(port))
			}
		}
		return nil
	})
}

func orNumber(port corev1.ServicePort) string {
	if port.Name != "" {
		return port.Name
	}
	return fmt.Sprint(port.Port)
}

// isolated checks that NetworkPolicies, if there are any, select each pod in both directions.
func (r *Release) isolated(ctx context.Context) error {
	policies, err := r.Client.NetworkingV1().NetworkPolicies(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(policies.Items) == 0 {
		return err
	}
	pods, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue // of a hook, whose policy may be deleted with it
		}
		directions := map[string]bool{}
		for _, policy := range policies.Items {
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil {
				return err
			}
			if selector.Matches(labels.Set(pod.Labels)) {
				for _, direction := range policy.Spec.PolicyTypes {
					directions[string(direction)] = true
				}
			}
		}
		if !directions["Ingress"] || !directions["Egress"] {
			return fmt.Errorf("Pod %s: no NetworkPolicy of %d is for both its directions", pod.Name, len(policies.Items))
		}
	}
	return nil
}

// State returns the release's objects as the API server has them, as JSON by kind and name,
// without the fields that the server and its controllers set.
func (r *Release) State(ctx context.Context) (map[string]string, error) {
	state := map[string]string{}
	for _, object := range r.Objects {
		now, err := r.get(ctx, object)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{"resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"} {
			delete(now.Object["metadata"].(map[string]any), name)
		}
		delete(now.Object, "status")
		unstructured.RemoveNestedField(now.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
		if now.GetKind() == "Deployment" && r.autoscaled(now.GetName()) {
			unstructured.RemoveNestedField(now.Object, "spec", "replicas")
		}
		text, err := now.MarshalJSON()
		if err != nil {
			return nil, err
		}
		state[strings.ToLower(now.GetKind())+"/"+now.GetName()] = string(text)
	}
	return state, nil
}

// Unharmed waits until a rollout has begun whose new pods never become ready, watches it for two
// seconds, and returns an error if fewer pods than before are available.
func (r *Release) Unharmed(ctx context.Context, name string, before int32) error {
	var begun time.Time
	return eventually(ctx, func() error {
		deployment, err := r.Client.AppsV1().Deployments(r.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := deployment.Status
		switch {
		case s.AvailableReplicas < before:
			return over{fmt.Errorf("Deployment %s: %d pods serve of %d, while new ones do not get to run",
				name, s.AvailableReplicas, before)}
		case s.ObservedGeneration != deployment.Generation || s.UpdatedReplicas == 0:
			return fmt.Errorf("Deployment %s: the rollout does not begin", name)
		case begun.IsZero():
			begun = time.Now()
		}
		if time.Since(begun) < 2*time.Second {
			return fmt.Errorf("Deployment %s: the rollout has just begun", name)
		}
		return nil
	})
}
