// Generate makes the schemas for the tests of the chart's objects from the modules of Kubernetes
// and of the custom resources:
//
//	go run ./schemas
//
// They have only the kinds that the chart uses and the keywords that can be checked, and reject
// unknown fields. All are under the licence of Kubernetes, Apache-2.0.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// versions of Kubernetes: the oldest that the chart takes, one between, and the newest.
var versions = []string{"v1.30.14", "v1.33.13", "v1.37.2"}

// kinds of Kubernetes that the chart makes.
var kinds = []string{
	"v1 ConfigMap", "v1 Pod", "v1 Secret", "v1 Service", "v1 ServiceAccount", "apps/v1 Deployment", "batch/v1 Job",
	"autoscaling/v2 HorizontalPodAutoscaler", "networking.k8s.io/v1 Ingress", "networking.k8s.io/v1 NetworkPolicy",
	"policy/v1 PodDisruptionBudget",
}

// custom resources: where their definition is, in which module.
var custom = []struct{ module, file, version string }{
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0",
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml", "v1"},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0",
		"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml", "v1"},
	{"sigs.k8s.io/gateway-api@v1.4.1", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "v1"},
	{"github.com/kedacore/keda/v2@v2.20.2", "config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"},
}

type tree = map[string]any

func main() {
	log.SetFlags(0)
	for _, version := range versions {
		minor := strings.Join(strings.Split(strings.TrimPrefix(version, "v"), ".")[:2], ".")
		write("kubernetes-"+minor, "k8s.io/kubernetes "+version, ofKubernetes(version))
	}
	definitions, known := tree{}, tree{}
	for _, c := range custom {
		kind, schema := ofDefinition(c.module, c.file, c.version)
		definitions[kind] = schema
		known[kind] = "#/definitions/" + strings.NewReplacer("/", "~1", " ", "%20").Replace(kind)
	}
	write("custom", "the modules that generate.go names", tree{"kinds": known, "definitions": definitions})
}

// ofKubernetes returns the schemas of kinds, and of the types that they use, from the API
// description of Kubernetes.
func ofKubernetes(version string) tree {
	var swagger struct{ Definitions map[string]tree }
	read("k8s.io/kubernetes@"+version, "api/openapi-spec/swagger.json", &swagger)
	known, definitions := tree{}, tree{}
	var take func(name string)
	take = func(name string) {
		if definitions[name] != nil {
			return
		}
		schema := strict(swagger.Definitions[name])
		if strings.HasSuffix(name, ".Quantity") {
			schema = tree{"type": []string{"string", "number"}}
		}
		definitions[name] = schema
		each(schema, func(t tree) {
			if ref, ok := t["$ref"].(string); ok {
				take(strings.TrimPrefix(ref, "#/definitions/"))
			}
		})
	}
	for name, definition := range swagger.Definitions {
		list, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, one := range list {
			gvk := one.(tree)
			kind := strings.TrimPrefix(fmt.Sprintf("%s/%s %s", gvk["group"], gvk["version"], gvk["kind"]), "/")
			if slices.Contains(kinds, kind) {
				take(name)
				known[kind] = "#/definitions/" + name
			}
		}
	}
	if len(known) != len(kinds) {
		log.Fatalf("%s has %d of %d kinds", version, len(known), len(kinds))
	}
	return tree{"kinds": known, "definitions": definitions}
}

// ofDefinition returns the schema of a custom resource.
func ofDefinition(module, file, version string) (kind string, schema tree) {
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema tree }
			}
		}
	}
	read(module, file, &crd)
	for _, v := range crd.Spec.Versions {
		if v.Name == version {
			schema = strict(v.Schema.OpenAPIV3Schema)
			properties := schema["properties"].(tree)
			delete(properties, "status")
			properties["metadata"] = tree{"type": "object"}
			return fmt.Sprintf("%s/%s %s", crd.Spec.Group, version, crd.Spec.Names.Kind), schema
		}
	}
	log.Fatalf("%s has no version %s", file, version)
	return "", nil
}

// keywords are the schema keywords that can be checked without Kubernetes.
var keywords = []string{
	"$ref", "type", "properties", "required", "items", "additionalProperties", "enum", "pattern", "minimum", "maximum",
	"minLength", "maxLength",
	"minItems", "maxItems", "minProperties", "maxProperties", "oneOf", "anyOf", "allOf", "not",
}

// strict returns the schema with only these keywords, rejecting unknown fields.
func strict(schema tree) tree {
	out := tree{}
	for _, key := range keywords {
		if value, ok := schema[key]; ok {
			out[key] = value
		}
	}
	if schema["format"] == "int-or-string" || schema["x-kubernetes-int-or-string"] == true {
		delete(out, "anyOf")
		out["type"] = []string{"integer", "string"}
	}
	if properties, ok := out["properties"].(tree); ok {
		strictly := tree{}
		for name, property := range properties {
			strictly[name] = strict(property.(tree))
		}
		out["properties"] = strictly
		if out["type"] == "object" && out["additionalProperties"] == nil &&
			schema["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
	}
	for _, key := range []string{"items", "additionalProperties", "not"} {
		if inner, ok := out[key].(tree); ok {
			out[key] = strict(inner)
		}
	}
	for _, key := range []string{"oneOf", "anyOf", "allOf"} {
		if list, ok := out[key].([]any); ok {
			strictly := make([]any, len(list))
			for i, inner := range list {
				strictly[i] = strict(inner.(tree))
			}
			out[key] = strictly
		}
	}
	return out
}

// each calls f for each map within in.
func each(in any, f func(tree)) {
	switch in := in.(type) {
	case tree:
		f(in)
		for _, inner := range in {
			each(inner, f)
		}
	case []any:
		for _, inner := range in {
			each(inner, f)
		}
	}
}

// read parses a file of a module, and downloads the module if necessary.
func read(module, file string, into any) {
	command := exec.Command("go", "mod", "download", "-json", module)
	command.Dir = os.TempDir() // outside this module, whose versions do not matter here
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		log.Fatalf("%s: %v: %s", module, err, out)
	}
	var at struct{ Dir string }
	if err := json.Unmarshal(out, &at); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(at.Dir, file))
	if err != nil {
		log.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		log.Fatal(err)
	}
}

// write writes a definition per line, for readable diffs between versions.
func write(name, from string, schema tree) {
	var text strings.Builder
	fmt.Fprintf(&text, "{\n\"$comment\": %q,\n", "Made by generate.go from "+from+"; Apache-2.0.")
	fmt.Fprintf(&text, "\"kinds\": %s,\n\"definitions\": {\n", line(schema["kinds"]))
	definitions := schema["definitions"].(tree)
	for i, name := range slices.Sorted(maps.Keys(definitions)) {
		if i > 0 {
			text.WriteString(",\n")
		}
		fmt.Fprintf(&text, "%s: %s", line(name), line(definitions[name]))
	}
	text.WriteString("\n}\n}\n")
	file := filepath.Join("schemas", name+".json")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Println(file, text.Len()/1024, "KiB")
}

func line(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}
