package clustertest

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// supplied returns an error unless everything that the pod's environment and volumes refer to
// exists.
func (k *Kubelet) supplied(ctx context.Context, pod *corev1.Pod) error {
	var objections []error
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		if _, err := k.Environment(ctx, pod, container); err != nil {
			objections = append(objections, err)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		objections = append(objections, k.volume(ctx, pod.Namespace, volume.VolumeSource))
		if volume.Projected != nil {
			for _, source := range volume.Projected.Sources {
				objections = append(objections, k.projection(ctx, pod.Namespace, source))
			}
		}
	}
	return errors.Join(objections...)
}

func (k *Kubelet) volume(ctx context.Context, namespace string, volume corev1.VolumeSource) error {
	r, items, names := mounted(namespace, volume)
	if !names {
		return nil
	}
	return k.has(ctx, r, keys(items))
}

// mounted returns the Secret or ConfigMap of the volume and the keys that it selects; names is
// false if the volume has neither.
func mounted(namespace string, volume corev1.VolumeSource) (r reference, items []corev1.KeyToPath, names bool) {
	switch {
	case volume.Secret != nil:
		return reference{"Secret", namespace, volume.Secret.SecretName, volume.Secret.Optional}, volume.Secret.Items, true
	case volume.ConfigMap != nil:
		return reference{"ConfigMap", namespace, volume.ConfigMap.Name, volume.ConfigMap.Optional},
			volume.ConfigMap.Items, true
	}
	return reference{}, nil, false
}

func (k *Kubelet) projection(ctx context.Context, namespace string, source corev1.VolumeProjection) error {
	switch {
	case source.Secret != nil:
		return k.has(ctx, reference{"Secret", namespace, source.Secret.Name, source.Secret.Optional},
			keys(source.Secret.Items))
	case source.ConfigMap != nil:
		return k.has(ctx, reference{"ConfigMap", namespace, source.ConfigMap.Name, source.ConfigMap.Optional},
			keys(source.ConfigMap.Items))
	}
	return nil
}

func keys(items []corev1.KeyToPath) []string {
	var keys []string
	for _, item := range items {
		keys = append(keys, item.Key)
	}
	return keys
}

// A reference is a pod's reference to a Secret or ConfigMap.
type reference struct {
	kind, namespace, name string
	optional              *bool
}

// data returns the contents of the referenced object; none if it is optional and missing.
func (k *Kubelet) data(ctx context.Context, r reference) (map[string]string, error) {
	data := map[string]string{}
	var err error
	if r.kind == "Secret" {
		var secret *corev1.Secret
		if secret, err = k.client.CoreV1().Secrets(r.namespace).Get(ctx, r.name, metav1.GetOptions{}); err == nil {
			for key, value := range secret.Data {
				data[key] = string(value)
			}
		}
	} else {
		var settings *corev1.ConfigMap
		if settings, err = k.client.CoreV1().ConfigMaps(r.namespace).Get(ctx, r.name, metav1.GetOptions{}); err == nil {
			data = settings.Data
		}
	}
	if apierrors.IsNotFound(err) && r.optional != nil && *r.optional {
		return data, nil
	}
	return data, err
}

func (k *Kubelet) has(ctx context.Context, r reference, keys []string) error {
	data, err := k.data(ctx, r)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, found := data[key]; !found && (r.optional == nil || !*r.optional) {
			return fmt.Errorf("%s %q has no key %q", r.kind, r.name, key)
		}
	}
	return nil
}
