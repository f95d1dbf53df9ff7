package clustertest

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Variables of a container come from literals, fields of the pod, ConfigMaps and Secrets.
func TestContainerEnvironment(t *testing.T) {
	t.Parallel()
	r := release(t, "environment")
	if err := r.Install(t.Context(), small, map[string]any{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	pods, err := r.Client.CoreV1().Pods(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 2 {
		t.Fatal(len(pods.Items), err)
	}
	for _, pod := range pods.Items {
		environment, err := r.Kubelet.Environment(t.Context(), &pod, pod.Spec.Containers[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"GREETING": "hello me, $(USER) and $(NOBODY)", "PASSWORD": "secret"} {
			if environment[name] != want {
				t.Errorf("%s is %q, not %q", name, environment[name], want)
			}
		}
	}
	if err := r.Uninstall(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestExpandVariableReferences(t *testing.T) {
	known := map[string]string{"A": "a", "B_1.x-y": "b", "LOOP": "$(A)"}
	for text, want := range map[string]string{
		"":                   "",
		"$(A)$(B_1.x-y)":     "ab",
		"$$(A) $$ $ $A ${A}": "$(A) $ $ $A ${A}",
		"$$$(A)":             "$a",
		"$(LOOP)":            "$(A)",
		"$(C) $(A":           "$(C) $(A",
		"$()":                "$()",
	} {
		if got := expand(text, known); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}
