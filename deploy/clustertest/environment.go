package clustertest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Environment returns the environment of a container as a kubelet would build it, without the
// variables for the Services of the namespace.
func (k *Kubelet) Environment(ctx context.Context, pod *corev1.Pod,
	container corev1.Container) (map[string]string, error) {
	environment := map[string]string{}
	var objections []error
	for _, from := range container.EnvFrom {
		var r reference
		switch {
		case from.SecretRef != nil:
			r = reference{"Secret", pod.Namespace, from.SecretRef.Name, from.SecretRef.Optional}
		case from.ConfigMapRef != nil:
			r = reference{"ConfigMap", pod.Namespace, from.ConfigMapRef.Name, from.ConfigMapRef.Optional}
		default:
			continue
		}
		data, err := k.data(ctx, r)
		objections = append(objections, err)
		for key, value := range data {
			environment[from.Prefix+key] = value
		}
	}
	for _, variable := range container.Env {
		value, given, err := k.value(ctx, pod, variable, environment)
		objections = append(objections, err)
		if given {
			environment[variable.Name] = value
		}
	}
	return environment, errors.Join(objections...)
}

func (k *Kubelet) value(ctx context.Context, pod *corev1.Pod, variable corev1.EnvVar,
	so map[string]string) (value string, given bool, err error) {
	from := variable.ValueFrom
	if from == nil {
		return expand(variable.Value, so), true, nil
	}
	var r reference
	var key string
	switch {
	case from.SecretKeyRef != nil:
		key, r = from.SecretKeyRef.Key, reference{"Secret", pod.Namespace, from.SecretKeyRef.Name, from.SecretKeyRef.Optional}
	case from.ConfigMapKeyRef != nil:
		key = from.ConfigMapKeyRef.Key
		r = reference{"ConfigMap", pod.Namespace, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional}
	case from.FieldRef != nil:
		value, err := field(pod, from.FieldRef.FieldPath)
		return value, true, err
	default:
		return "", false, fmt.Errorf("%s has a source that this kubelet does not support", variable.Name)
	}
	if err := k.has(ctx, r, []string{key}); err != nil {
		return "", false, err
	}
	data, err := k.data(ctx, r)
	value, given = data[key]
	return value, given, err
}

// field returns the value of a pod field of the downward API.
func field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	}
	return "", fmt.Errorf("this kubelet does not know the field %s", path)
}

var variables = regexp.MustCompile(`\$\$|\$\([A-Za-z_][-._A-Za-z0-9]*\)`)

// expand replaces $(NAME) by the variable's value and $$ by a dollar sign. References to unknown
// variables stay.
func expand(text string, environment map[string]string) string {
	return variables.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return "$"
		}
		if value, known := environment[strings.TrimSuffix(found[2:], ")")]; known {
			return value
		}
		return found
	})
}
