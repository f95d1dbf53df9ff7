package clustertest

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The API server only warns of a Deployment whose pods violate pod security, but rejects the pods.
func TestInsecurePodsAreRejected(t *testing.T) {
	t.Parallel()
	r := release(t, "refused")
	if err := r.Install(t.Context(), small, map[string]any{"fault": "root"}); err == nil {
		t.Error("the API server does not warn of the Deployment")
	}
	err := r.Check(t.Context())
	const says = `is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("the pods are not refused: %v", err)
	}
	if err := r.Uninstall(t.Context()); err != nil {
		t.Error(err)
	}
}

// weaken are changes that each violate the restricted pod security level.
var weaken = map[string]func(*corev1.PodSpec){
	"may be root": func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil; own(p).RunAsNonRoot = nil },
	"is root":     func(p *corev1.PodSpec) { own(p).RunAsUser = new(int64) },
	"may gain privileges": func(p *corev1.PodSpec) {
		own(p).AllowPrivilegeEscalation = nil
	},
	"keeps capabilities": func(p *corev1.PodSpec) { own(p).Capabilities = nil },
	"may call anything":  func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil; own(p).SeccompProfile = nil },
	"is on the host's network": func(p *corev1.PodSpec) {
		p.HostNetwork = true
	},
	"sees the host's files": func(p *corev1.PodSpec) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
	},
}

func own(p *corev1.PodSpec) *corev1.SecurityContext { return p.Containers[0].SecurityContext }

// The chart's pods are accepted under the restricted level, and rejected after any weakening.
func TestWeakenedChartPodsAreRejected(t *testing.T) {
	t.Parallel()
	r := chartRelease(t, "chart-judged")
	if err := r.Install(t.Context(), chart, valuesOf(t, "default")); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range r.Named("Deployment") {
		deployment, err := r.Client.AppsV1().Deployments(r.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		create := func(change func(*corev1.PodSpec)) error {
			template := deployment.Spec.Template.DeepCopy()
			change(&template.Spec)
			meta := template.ObjectMeta
			meta.GenerateName = "judged-"
			_, err := r.Client.CoreV1().Pods(r.Namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: meta, Spec: template.Spec},
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		if err := create(func(*corev1.PodSpec) {}); err != nil {
			t.Errorf("the pod as it is: %v", err)
		}
		for what, change := range weaken {
			if err := create(change); !apierrors.IsForbidden(err) ||
				!strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) {
				t.Errorf("a pod that %s: %v", what, err)
			}
		}
	}
	if err := r.Uninstall(t.Context()); err != nil {
		t.Error(err)
	}
}
