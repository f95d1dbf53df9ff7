package charttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// A cluster has the schemas of one version of Kubernetes, or of the custom resources.
type cluster struct {
	name  string
	kinds map[string]*jsonschema.Schema // by apiVersion and kind
}

// clusters reads the folder schemas: several versions of Kubernetes, and the custom resources,
// which do not belong to a version.
func clusters(t *testing.T) (kubernetes []cluster, custom cluster) {
	t.Helper()
	files, err := filepath.Glob("schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		c := cluster{name: strings.TrimSuffix(filepath.Base(file), ".json"), kinds: map[string]*jsonschema.Schema{}}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource(file, document); err != nil {
			t.Fatal(err)
		}
		for kind, where := range document.(map[string]any)["kinds"].(map[string]any) {
			if c.kinds[kind], err = compiler.Compile(file + where.(string)); err != nil {
				t.Fatal(err)
			}
		}
		if c.name == "custom" {
			custom = c
		} else {
			kubernetes = append(kubernetes, c)
		}
	}
	if len(kubernetes) < 2 || len(custom.kinds) == 0 {
		t.Fatalf("there are schemas of %d versions of Kubernetes, and of %d custom resources",
			len(kubernetes), len(custom.kinds))
	}
	return kubernetes, custom
}

// check validates an object; known reports whether the cluster has its kind.
func (c cluster) check(o object) (known bool, err error) {
	s, known := c.kinds[o["apiVersion"].(string)+" "+o.kind()]
	if !known {
		return false, nil
	}
	text, err := json.Marshal(o)
	if err != nil {
		return true, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return true, err
	}
	return true, s.Validate(document)
}

// Each object is valid in every version of Kubernetes, and each custom resource by its definition.
func TestObjectsMatchKubernetesSchemas(t *testing.T) {
	kubernetes, custom := clusters(t)
	kinds := map[string]bool{}
	for _, name := range names() {
		for _, o := range mustRender(t, cases[name]).objects {
			kinds[o.kind()] = true
			if known, err := custom.check(o); known {
				if err != nil {
					t.Errorf("%s: %s: %v", name, o, err)
				}
				continue
			}
			for _, version := range kubernetes {
				if known, err := version.check(o); !known || err != nil {
					t.Errorf("%s: %s %s: known %t, %v", name, version.name, o, known, err)
				}
			}
		}
	}
	for _, kind := range []string{
		"Deployment", "Service", "Ingress", "HTTPRoute", "HorizontalPodAutoscaler", "ScaledObject",
		"PodDisruptionBudget", "NetworkPolicy",
		"ServiceAccount", "Secret", "ConfigMap", "Job", "Pod", "ServiceMonitor", "PrometheusRule",
	} {
		if !kinds[kind] {
			t.Errorf("no case has a %s", kind)
		}
	}
}

// open are fields whose maps may have any key.
var open = []string{"labels", "annotations", "matchLabels", "data", "nodeSelector", "requests", "limits"}

// The schemas reject unknown fields at every level.
func TestSchemasRejectUnknownFields(t *testing.T) {
	kubernetes, custom := clusters(t)
	tried := 0
	for _, name := range []string{"everything", "gateway", "parts"} { // together these have every kind and field
		for _, o := range mustRender(t, cases[name]).objects {
			for where, m := range mapsOf("", values(o)) {
				last := where[strings.LastIndex(where, "/")+1:]
				_, foreign := custom.kinds[o["apiVersion"].(string)+" "+o.kind()]
				// the definition leaves these open
				if slices.Contains(open, last) || o.kind() == "Service" && last == "selector" || foreign && last == "metadata" {
					continue
				}
				m["unknownField"] = "x"
				for _, c := range append(kubernetes, custom) {
					if known, err := c.check(o); known && err == nil {
						t.Errorf("%s: %s takes an unknown field at %s of %s", name, c.name, where, o)
					}
				}
				delete(m, "unknownField")
				tried++
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d places were tried", tried)
	}
}

// mapsOf returns the maps in a value by their path.
func mapsOf(path string, in any) map[string]values {
	found := map[string]values{}
	switch in := in.(type) {
	case values:
		found[path] = in
		for key, value := range in {
			maps.Copy(found, mapsOf(path+"/"+key, value))
		}
	case []any:
		for i, value := range in {
			maps.Copy(found, mapsOf(fmt.Sprint(path, "/", i), value))
		}
	}
	return found
}

// typed decodes the object strictly into its Go type of Kubernetes; nil for custom resources.
func typed(o object) (runtime.Object, error) {
	text, err := yaml.Marshal(o)
	if err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	decoded, _, err := decoder.Decode(text, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return nil, nil
	}
	return decoded, err
}

// The newest Go types decode the objects strictly, and a namespace that enforces the restricted
// pod security level accepts each pod.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for _, name := range names() {
		pods := 0
		for _, o := range mustRender(t, cases[name]).objects {
			decoded, err := typed(o)
			if err != nil {
				t.Errorf("%s: %s: %v", name, o, err)
				continue
			}
			meta, spec := podOf(decoded)
			if spec == nil {
				continue
			}
			pods++
			for _, result := range evaluator.EvaluatePod(restricted, meta, spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s, %s", name, o, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken ||
				spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
				t.Errorf("%s: %s mounts a service account token, or has the variables of Services", name, o)
			}
			for _, c := range spec.Containers {
				if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s may write to its image", name, o)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: %s has no resources", name, o)
				}
			}
		}
		if pods == 0 {
			t.Errorf("%s has no pod", name)
		}
	}
}

func podOf(o runtime.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template.ObjectMeta, &o.Spec.Template.Spec
	case *batchv1.Job:
		return &o.Spec.Template.ObjectMeta, &o.Spec.Template.Spec
	case *corev1.Pod:
		return &o.ObjectMeta, &o.Spec
	}
	return nil, nil
}
