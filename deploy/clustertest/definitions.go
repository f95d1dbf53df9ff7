package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// definitions are the modules and files with the custom resource definitions that charts may use.
// The modules are downloaded, not imported; sum is their go.sum hash.
var definitions = []struct {
	module, version, sum string
	files                []string
}{
	{"github.com/prometheus-operator/prometheus-operator", "v0.92.0",
		"h1:tAbsod3+9sQsxDeAvLP27dAe9terToht5M+YdDwLGP0=", []string{
			"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
			"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
			"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
		}},
	{"sigs.k8s.io/gateway-api", "v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=", []string{
		"config/crd/standard/gateway.networking.k8s.io_gatewayclasses.yaml",
		"config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
		"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
	}},
	{"github.com/kedacore/keda/v2", "v2.21.0", "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=", []string{
		"config/crd/bases/keda.sh_scaledobjects.yaml",
		"config/crd/bases/keda.sh_triggerauthentications.yaml",
	}},
}

var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// define creates all definitions and waits until the API server serves them.
func (c *Cluster) define(ctx context.Context) error {
	var names []string
	for _, d := range definitions {
		dir, err := moduleFolder(ctx, d.module, d.version, d.sum)
		if err != nil {
			return err
		}
		for _, file := range d.files {
			text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
			if err != nil {
				return err
			}
			definition := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(text, &definition.Object); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if _, err := c.Dynamic.Resource(definitionResource).Create(ctx, definition, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			names = append(names, definition.GetName())
		}
	}
	return eventually(ctx, func() error {
		for _, name := range names {
			definition, err := c.Dynamic.Resource(definitionResource).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if !condition(definition, "Established") {
				return fmt.Errorf("%s is not established", name)
			}
		}
		return nil
	})
}

// moduleFolder downloads a module and returns its folder in the module cache.
func moduleFolder(ctx context.Context, module, version, sum string) (string, error) {
	command := exec.CommandContext(ctx, "go", "mod", "download", "-json", module+"@"+version)
	command.Dir = os.TempDir() // outside our modules, so that none requires it
	out, err := command.Output()
	var said struct{ Dir, Sum, Error string }
	if unreadable := json.Unmarshal(out, &said); unreadable != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", module, version, errors.Join(err, unreadable))
	}
	if said.Error != "" {
		return "", errors.New(said.Error)
	}
	if said.Sum != sum {
		return "", fmt.Errorf("%s@%s has the sum %s, not %s", module, version, said.Sum, sum)
	}
	return said.Dir, nil
}

// condition reports whether the object's status has the condition with the status True.
func condition(object *unstructured.Unstructured, kind string) bool {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range list {
		if c, ok := item.(map[string]any); ok && c["type"] == kind {
			return c["status"] == "True"
		}
	}
	return false
}
