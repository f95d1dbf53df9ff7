// Package charttest tests charts/shelfcast with Helm as a library: what is rendered, what is
// refused, and whether Kubernetes would accept it. It is a separate module to keep Helm's hundreds
// of modules out of the product's.
package charttest

import (
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

const chartDir = "../../charts/shelfcast"

var update = flag.Bool("update", false, "rewrite the golden files and the chart's README")

// cases are the values that the chart is rendered with, by name. Each is in a golden file, and
// each object is checked against the schemas of Kubernetes.
var cases = map[string]values{
	"default":    {"existingSecret": "shelfcast"},
	"production": file(chartDir + "/examples/production.yaml"),
	"minimal":    file(chartDir + "/examples/minimal.yaml"),
	"odoo":       file(chartDir + "/examples/odoo.yaml"),
	"gateway":    file(chartDir + "/examples/gateway.yaml"),
	"nginx":      preset("nginx"),
	"haproxy":    preset("haproxy"),
	"traefik":    preset("traefik"),
	"alb":        preset("alb"),
	"everything": file("testdata/everything.yaml"),
	"parts":      file("testdata/parts.yaml"),
}

func preset(name string) values {
	return values{
		"existingSecret": "shelfcast",
		"trustedProxies": []any{"10.0.0.0/8"},
		"ingress": values{
			"enabled": true, "preset": name, "hosts": []any{"live.shop.example", "live.other.example"},
			"tls": []any{values{"secretName": "live", "hosts": []any{"live.shop.example", "live.other.example"}}},
		},
	}
}

// TestMain silences Helm, which warns of deliberately invalid values.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

type values = map[string]any

// An object is a rendered object of the chart.
type object map[string]any

func (o object) kind() string { return o["kind"].(string) }

func (o object) name() string { return o["metadata"].(values)["name"].(string) }

func (o object) String() string {
	return fmt.Sprintf("%s %s/%s", o["apiVersion"], o.kind(), o.name())
}

// at returns the value at a path of map keys and list indices, or nil.
func (o object) at(path ...any) any {
	var here any = values(o)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := here.(values)
			here = m[step]
		case int:
			l, _ := here.([]any)
			if step >= len(l) {
				return nil
			}
			here = l[step]
		}
	}
	return here
}

// A rendering is what an install would create.
type rendering struct {
	text    string // manifests, and hooks after them
	notes   string
	objects []object
}

// one returns the object of that kind and name.
func (r rendering) one(t *testing.T, kind, name string) object {
	t.Helper()
	for _, o := range r.objects {
		if o.kind() == kind && o.name() == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// has reports whether there is an object of that kind.
func (r rendering) has(kind string) bool {
	return slices.ContainsFunc(r.objects, func(o object) bool { return o.kind() == kind })
}

// render renders the chart as `helm template` does, for the oldest version of Kubernetes that the
// chart supports. edit functions may change the chart first.
func render(v values, edit ...func(*chart.Chart)) (rendering, error) {
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.DryRun, install.ClientOnly = true, true
	install.ReleaseName, install.Namespace = "shelfcast", "shop"
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	c, err := load()
	if err != nil {
		return rendering{}, err
	}
	for _, edit := range edit {
		edit(c)
	}
	release, err := install.Run(c, copied(v))
	if err != nil {
		return rendering{}, err
	}
	r := rendering{text: release.Manifest, notes: release.Info.Notes}
	for _, hook := range release.Hooks {
		r.text += "---\n# Source: " + hook.Path + "\n" + hook.Manifest + "\n"
	}
	r.objects, err = parse(r.text)
	return r, err
}

func load() (*chart.Chart, error) { return loader.Load(chartDir) }

func parse(text string) ([]object, error) {
	var objects []object
	for _, document := range strings.Split("\n"+text, "\n---") {
		var o object
		// Strict: a duplicate key is an error.
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			return nil, fmt.Errorf("%w in %s", err, document)
		}
		if len(o) > 0 {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

func mustRender(t *testing.T, v values) rendering {
	t.Helper()
	r, err := render(v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// file reads values from a file.
func file(name string) values {
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		panic(err)
	}
	return text2values(string(text))
}

// copied returns a copy of v for Helm, which modifies its values: it removes nulls.
func copied(v values) values {
	text, err := yaml.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text2values(string(text))
}

// text2values parses values in YAML.
func text2values(text string) values {
	var v values
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		panic(err)
	}
	return v
}

// with returns base, overridden by v.
func with(base, v values) values {
	merged := maps.Clone(base)
	for key, value := range v {
		if over, ok := value.(values); ok {
			if under, ok := merged[key].(values); ok {
				value = with(under, over)
			}
		}
		merged[key] = value
	}
	return merged
}

// names returns the names of the cases, sorted.
func names() []string { return slices.Sorted(maps.Keys(cases)) }
