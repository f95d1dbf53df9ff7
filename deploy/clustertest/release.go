package clustertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	helmrelease "helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
)

// A Release is a chart installed by helm in a namespace that enforces the restricted pod security
// level. Warnings of the API server are errors: with helm as the client, unknown fields only cause
// warnings.
type Release struct {
	*Cluster
	Name, Namespace string
	Timeout         time.Duration                // of helm for a hook
	Objects         []*unstructured.Unstructured // current objects, without hooks

	helm     *action.Configuration
	warnings *warnings
	provided map[string]bool // objects created by Provide, as "Secret name"
}

// NewRelease creates the namespace. Nothing is installed yet.
func (c *Cluster) NewRelease(ctx context.Context, namespace, name string) (*Release, error) {
	const restricted = "restricted"
	_, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace,
		Labels: map[string]string{
			"pod-security.kubernetes.io/enforce": restricted,
			"pod-security.kubernetes.io/warn":    restricted, // for Deployments, whose pods are created later
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	r := &Release{Cluster: c, Name: name, Namespace: namespace, Timeout: time.Minute, helm: new(action.Configuration),
		warnings: &warnings{}, provided: map[string]bool{}}
	flags := genericclioptions.NewConfigFlags(true)
	cacheDir := c.path("helm")
	flags.KubeConfig, flags.Namespace, flags.CacheDir = &c.kubeconfig, &namespace, &cacheDir
	flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.WarningHandler, config.QPS = r.warnings, -1
		return config
	}
	if err := r.helm.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		return nil, err
	}
	// Pods can be created once the controllers have added the service account.
	return r, eventually(ctx, func() error {
		_, err := c.Client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// Provide creates the objects of a file, which exist before the install and after the uninstall.
func (r *Release) Provide(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	provided, err := objects(string(text))
	if err != nil {
		return err
	}
	for _, object := range provided {
		kind, err := r.resource(object)
		if err != nil {
			return err
		}
		if _, err := kind.Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		r.provided[object.GetKind()+" "+object.GetName()] = true
	}
	return nil
}

// Install installs the chart in that folder.
func (r *Release) Install(ctx context.Context, chart string, values map[string]any) error {
	loaded, err := loader.LoadDir(chart)
	if err != nil {
		return err
	}
	do := action.NewInstall(r.helm)
	do.ReleaseName, do.Namespace, do.Timeout = r.Name, r.Namespace, r.Timeout
	made, err := do.RunWithContext(ctx, loaded, values)
	return r.took(ctx, made, err)
}

// Upgrade upgrades to these values and resets all others.
func (r *Release) Upgrade(ctx context.Context, chart string, values map[string]any) error {
	loaded, err := loader.LoadDir(chart)
	if err != nil {
		return err
	}
	do := action.NewUpgrade(r.helm)
	do.Namespace, do.Timeout, do.ResetValues = r.Namespace, r.Timeout, true
	made, err := do.RunWithContext(ctx, r.Name, loaded, values)
	return r.took(ctx, made, err)
}

// Rollback rolls back to a revision.
func (r *Release) Rollback(ctx context.Context, revision int) error {
	do := action.NewRollback(r.helm)
	do.Version, do.Timeout = revision, r.Timeout
	failed := do.Run(r.Name)
	made, err := r.helm.Releases.Last(r.Name)
	return r.took(ctx, made, errors.Join(failed, err))
}

// Test runs helm test.
func (r *Release) Test(ctx context.Context) error {
	do := action.NewReleaseTesting(r.helm)
	do.Namespace, do.Timeout = r.Namespace, r.Timeout
	done, err := do.Run(r.Name)
	if err == nil && !hasTest(done) {
		err = errors.New("the chart has no test")
	}
	return r.explain(ctx, err)
}

func hasTest(r *helmrelease.Release) bool {
	for _, hook := range r.Hooks {
		for _, event := range hook.Events {
			if event == helmrelease.HookTest {
				return true
			}
		}
	}
	return false
}

// Uninstall uninstalls the release and waits until none of its objects are left.
func (r *Release) Uninstall(ctx context.Context) error {
	do := action.NewUninstall(r.helm)
	do.Timeout = r.Timeout
	_, err := do.Run(r.Name)
	if err := errors.Join(err, r.warnings.take()); err != nil {
		return err
	}
	r.Objects = nil
	return r.gone(ctx)
}

// took records the release's objects; after a failure, those that were to be created.
func (r *Release) took(ctx context.Context, made *helmrelease.Release, failed error) error {
	err := r.explain(ctx, failed)
	if made == nil {
		return err
	}
	var unreadable error
	r.Objects, unreadable = objects(made.Manifest)
	return errors.Join(err, unreadable)
}

// explain adds to an error the warnings of the API server and why pods do not run, which helm does
// not say.
func (r *Release) explain(ctx context.Context, err error) error {
	if err == nil {
		return r.warnings.take()
	}
	said := []error{err, r.warnings.take()}
	pods, listed := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{})
	said = append(said, listed)
	if listed == nil {
		for _, pod := range pods.Items {
			if why := waiting(&pod); why != "" {
				said = append(said, fmt.Errorf("Pod %s: %s", pod.Name, why))
			}
		}
	}
	events, listed := r.Client.CoreV1().Events(r.Namespace).List(ctx,
		metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	said = append(said, listed)
	if listed == nil {
		for _, event := range events.Items {
			said = append(said, fmt.Errorf("%s %s: %s", event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Message))
		}
	}
	return errors.Join(said...)
}

// objects parses a manifest.
func objects(manifest string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0:
			all = append(all, object)
		}
	}
}

// Named returns the names of the release's objects of a kind.
func (r *Release) Named(kind string) []string {
	var names []string
	for _, object := range r.Objects {
		if object.GetKind() == kind {
			names = append(names, object.GetName())
		}
	}
	return names
}

// warnings collects the warnings of the API server.
type warnings struct {
	mu   sync.Mutex
	said []error
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Errorf("the API server warns: %s", text))
}

// take returns the warnings since the last call as an error, or nil.
func (w *warnings) take() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return errors.Join(said...)
}
