package charttest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kinds "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// No Ingress, HTTPRoute or public Service leads to the admin app.
func TestAdminAppIsNotExposed(t *testing.T) {
	for _, name := range names() {
		r := mustRender(t, cases[name])
		for _, o := range r.objects {
			switch o.kind() {
			case "Ingress":
				for _, rule := range o.at("spec", "rules").([]any) {
					for _, path := range object(rule.(values)).at("http", "paths").([]any) {
						service := object(path.(values)).at("backend", "service").(values)
						if service["name"] != "shelfcast" || object(service).at("port", "name") != "http" {
							t.Errorf("%s: a path leads to %v", name, service)
						}
					}
				}
				if o.at("spec", "defaultBackend") != nil {
					t.Errorf("%s: there is a default backend", name)
				}
			case "HTTPRoute":
				for _, rule := range o.at("spec", "rules").([]any) {
					for _, backend := range rule.(values)["backendRefs"].([]any) {
						if to := backend.(values); to["name"] != "shelfcast" || to["port"] != 80.0 {
							t.Errorf("%s: a route leads to %v", name, to)
						}
					}
				}
			case "Service":
				if o.name() == "shelfcast" {
					ports := o.at("spec", "ports").([]any)
					if len(ports) != 1 || object(ports[0].(values)).at("targetPort") != "http" {
						t.Errorf("%s: the Service for the public app has the ports %v", name, ports)
					}
				} else if o.at("spec", "type") != "ClusterIP" {
					t.Errorf("%s: %s is of type %v", name, o, o.at("spec", "type"))
				}
			}
		}
	}
}

// Selectors of Services, policies and monitors match the intended pods of the release only.
func TestSelectorsMatchPods(t *testing.T) {
	for _, name := range names() {
		r := mustRender(t, cases[name])
		labels := r.one(t, "Deployment", "shelfcast").at("spec", "template", "metadata", "labels").(values)
		for _, o := range r.objects {
			var selector any
			switch o.kind() {
			case "Service":
				selector = o.at("spec", "selector")
			case "Deployment", "PodDisruptionBudget":
				selector = o.at("spec", "selector", "matchLabels")
			default:
				continue
			}
			wanted, _ := selector.(values)
			if wanted["app.kubernetes.io/instance"] != "shelfcast" || wanted["app.kubernetes.io/component"] != "server" {
				t.Errorf("%s: %s selects %v", name, o, wanted)
			}
			for key, value := range wanted {
				if labels[key] != value {
					t.Errorf("%s: %s wants %s=%v of pods, which have %v", name, o, key, value, labels[key])
				}
			}
		}
	}
}

// The termination grace period covers preStop and the longest drain.
func TestGracePeriodCoversDrain(t *testing.T) {
	for _, preset := range []string{"nginx", "alb"} {
		for _, drain := range []int{16, 20, 21, 41, 60, 3600} {
			v := with(cases[preset], values{"drainSeconds": drain})
			d := mustRender(t, v).one(t, "Deployment", "shelfcast")
			preStop, _ := d.at("spec", "template", "spec", "containers", 0, "lifecycle", "preStop", "sleep", "seconds").(float64)
			grace, _ := d.at("spec", "template", "spec", "terminationGracePeriodSeconds").(float64)
			if needs := preStop + float64(drain) + math.Max(float64(drain)/4, 6); grace < needs+1 || grace > needs+7 {
				t.Errorf("%s, a drain of %d s: the grace period is %v s, and %v s are needed", preset, drain, grace, needs)
			}
			if preStop < float64(drain)/4 || preset == "alb" && preStop < 15 {
				t.Errorf("%s, a drain of %d s: preStop waits for %v s", preset, drain, preStop)
			}
			if got := env(d)["SHELFCAST_DRAIN_TIME"]; got != fmt.Sprint(drain, "s") {
				t.Errorf("the program drains for %q", got)
			}
		}
	}
}

// env returns the environment variables of the Deployment with literal values.
func env(d object) map[string]string {
	all := map[string]string{}
	for _, one := range d.at("spec", "template", "spec", "containers", 0, "env").([]any) {
		text, _ := one.(values)["value"].(string)
		all[one.(values)["name"].(string)] = text
	}
	return all
}

// GOMEMLIMIT and GOMAXPROCS follow the resources, in every notation of quantities.
func TestGoLimitsFollowResources(t *testing.T) {
	for limit, sessions := range map[string]int{"512Mi": 15000, "1Gi": 15000, "1.5Gi": 30000, "700M": 10000, "2G": 1,
		"536870912": 15000, "800000Ki": 2000} {
		text := fmt.Sprintf("{resources: {limits: {memory: %q}}, sessions: {max: %d}}", limit, sessions)
		v := with(cases["default"], text2values(text))
		v["drainSeconds"] = 60
		got := env(mustRender(t, v).one(t, "Deployment", "shelfcast"))["GOMEMLIMIT"]
		mib, err := strconv.ParseFloat(strings.TrimSuffix(got, "MiB"), 64)
		if err != nil {
			t.Errorf("%s: GOMEMLIMIT is %q", limit, got)
			continue
		}
		quantity := resource.MustParse(limit)
		want := (float64(quantity.Value())/(1<<20) - float64(sessions)*4/1024) * 0.9
		if math.Abs(mib-want) > 2 {
			t.Errorf("with %s and %d sessions GOMEMLIMIT is %v MiB, not %v", limit, sessions, mib, want)
		}
	}
	for cpu, want := range map[string]string{
		"{requests: {cpu: 500m}}": "2", "{requests: {cpu: 1500m}}": "3", "{requests: {cpu: 2}}": "4",
		"{requests: {cpu: '0.2'}}":               "2",
		"{requests: {cpu: 2}, limits: {cpu: 4}}": "", "{requests: {cpu: null}}": "",
	} {
		v := with(cases["default"], values{"resources": text2values(cpu)})
		if got := env(mustRender(t, v).one(t, "Deployment", "shelfcast"))["GOMAXPROCS"]; got != want {
			t.Errorf("with %s GOMAXPROCS is %q", cpu, got)
		}
	}
	v := with(cases["default"], text2values("extraEnv: [{name: GOMAXPROCS, value: '7'}]"))
	variables, _ := mustRender(t, v).one(t, "Deployment", "shelfcast").at("spec", "template", "spec",
		"containers", 0, "env").([]any)
	if count := strings.Count(fmt.Sprint(variables), "GOMAXPROCS"); count != 1 {
		t.Errorf("GOMAXPROCS is there %d times", count)
	}
}

// A change of what pods read only at their start replaces them; other changes do not.
func TestPodsRestartWhenConfigurationChanges(t *testing.T) {
	template := func(v string) string {
		deployment := mustRender(t, with(cases["minimal"], text2values(v))).one(t, "Deployment", "shelfcast")
		text, err := json.Marshal(deployment.at("spec", "template"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := template("{}")
	for _, change := range []string{
		"mysql: {dsn: 'shelfcast:other@tcp(mysql:3306)/shop'}", "admin: {token: another-token-of-16}",
		"shop: {templates: {files: {views/card.html: a}}}", "shop: {assets: {files: {shop.css: a}}}", "shop: {name: Other}",
		"podAnnotations: {a: b}",
	} {
		if template(change) == before {
			t.Errorf("the pods are not replaced with %s", change)
		}
	}
	if template("shop: {assets: {files: {shop.css: a}}}") == template("shop: {assets: {files: {shop.css: b}}}") {
		t.Error("the pods are not replaced when the assets change")
	}
	for _, change := range []string{"ingress: {annotations: {a: b}}", "service: {public: {annotations: {a: b}}}",
		"deploymentAnnotations: {a: b}"} {
		if template(change) != before {
			t.Errorf("the pods are replaced with %s", change)
		}
	}
}

// The migration runs before the release's objects exist, and needs none of them.
func TestMigrationJobIsSelfContained(t *testing.T) {
	for _, name := range names() {
		r := mustRender(t, cases[name])
		if !r.has("Job") {
			continue
		}
		job := r.one(t, "Job", "shelfcast-migrate")
		text, err := json.Marshal(job.at("spec"))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range r.objects {
			hook := strings.Contains(fmt.Sprint(o.at("metadata", "annotations", "helm.sh/hook")), "pre-install")
			refers := strings.Contains(string(text), fmt.Sprintf(`"secretName":%q`, o.name())) ||
				strings.Contains(string(text), fmt.Sprintf(`"name":%q`, o.name()))
			if (o.kind() == "Secret" || o.kind() == "ConfigMap") && refers && !hook {
				t.Errorf("%s: the migration needs %s, which comes after it", name, o)
			}
		}
		if account := job.at("spec", "template", "spec", "serviceAccountName"); r.has("ServiceAccount") &&
			account != "default" {
			t.Errorf("%s: the migration needs the account %v, which comes after it", name, account)
		}
	}
}

// An upgrade keeps the number of replicas that the autoscaler has set.
func TestUpgradeKeepsAutoscaledReplicas(t *testing.T) {
	for there, want := range map[int32]any{0: nil, 1: 2.0, 7: 7.0} {
		var client provider
		if there > 0 {
			client.deployment = &appsv1.Deployment{
				TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
				ObjectMeta: metav1.ObjectMeta{Name: "shelfcast", Namespace: "shop"}, Spec: appsv1.DeploymentSpec{Replicas: &there},
			}
		}
		c, err := load()
		if err != nil {
			t.Fatal(err)
		}
		v, err := chartutil.ToRenderValues(c, values{"existingSecret": "shelfcast", "autoscaling": values{"enabled": true}},
			chartutil.ReleaseOptions{Name: "shelfcast", Namespace: "shop", IsUpgrade: true}, chartutil.DefaultCapabilities)
		if err != nil {
			t.Fatal(err)
		}
		files, err := engine.RenderWithClientProvider(c, v, client)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parse(files["shelfcast/templates/deployment.yaml"])
		if err != nil {
			t.Fatal(err)
		}
		if got := objects[0].at("spec", "replicas"); got != want {
			t.Errorf("with %d pods there, the number in the Deployment is %v", there, got)
		}
	}
}

// A provider simulates a cluster with or without an existing Deployment.
type provider struct{ deployment *appsv1.Deployment }

func (p provider) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	client := fake.NewSimpleDynamicClient(scheme.Scheme)
	if p.deployment != nil {
		client = fake.NewSimpleDynamicClient(scheme.Scheme, p.deployment)
	}
	return client.Resource(kinds.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}), true, nil
}

// Files from the values are mounted at their paths, though keys of a ConfigMap cannot have a
// slash.
func TestOwnFilesAreMounted(t *testing.T) {
	v := with(cases["default"], text2values("shop: {templates: {files: {views/card.html: A, layout.html: B}}}"))
	r := mustRender(t, v)
	data := r.one(t, "ConfigMap", "shelfcast-templates").at("data").(values)
	volumes := r.one(t, "Deployment", "shelfcast").at("spec", "template", "spec", "volumes").([]any)
	i := slices.IndexFunc(volumes, func(v any) bool { return v.(values)["name"] == "templates" })
	if i < 0 {
		t.Fatal("the templates are not mounted")
	}
	files := map[string]any{}
	for _, item := range object(volumes[i].(values)).at("configMap", "items").([]any) {
		files[item.(values)["path"].(string)] = data[item.(values)["key"].(string)]
	}
	if len(files) != 2 || files["views/card.html"] != "A" || files["layout.html"] != "B" {
		t.Errorf("the program finds %v", files)
	}
}
