package clustertest

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
)

// resource returns the client for objects of that kind.
func (r *Release) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapper, err := r.helm.RESTClientGetter.ToRESTMapper()
	if err != nil {
		return nil, err
	}
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return r.Dynamic.Resource(mapping.Resource).Namespace(r.Namespace), nil
	}
	return r.Dynamic.Resource(mapping.Resource), nil
}

// get returns an object of the release as the API server has it.
func (r *Release) get(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	from, err := r.resource(object)
	if err != nil {
		return nil, err
	}
	return from.Get(ctx, object.GetName(), metav1.GetOptions{})
}

// references checks that Ingresses, HTTPRoutes and ServiceMonitors refer to existing Services.
func (r *Release) references(ctx context.Context) error {
	list, err := r.Client.CoreV1().Services(r.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	services := map[string]corev1.Service{}
	for _, service := range list.Items {
		services[service.Name] = service
	}
	var objections []error
	for _, object := range r.Objects {
		var err error
		switch object.GetKind() {
		case "Ingress":
			err = ingress(object, services)
		case "HTTPRoute":
			err = route(object, services)
		case "ServiceMonitor":
			err = monitor(object, services)
		}
		if err != nil {
			err = fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		objections = append(objections, err)
	}
	return errors.Join(objections...)
}

func ingress(object *unstructured.Unstructured, services map[string]corev1.Service) error {
	var ingress networkingv1.Ingress
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &ingress); err != nil {
		return err
	}
	var objections []error
	backends := 0
	backend := func(b *networkingv1.IngressBackend) {
		if b != nil && b.Service != nil {
			backends++
			objections = append(objections, leads(services, b.Service.Name, b.Service.Port.Name, int64(b.Service.Port.Number)))
		}
	}
	backend(ingress.Spec.DefaultBackend)
	for _, rule := range ingress.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			backend(&path.Backend)
		}
	}
	if backends == 0 {
		objections = append(objections, errors.New("it leads nowhere"))
	}
	return errors.Join(objections...)
}

func route(object *unstructured.Unstructured, services map[string]corev1.Service) error {
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	var objections []error
	backends := 0
	for _, rule := range rules {
		to, _, _ := unstructured.NestedSlice(rule.(map[string]any), "backendRefs")
		for _, one := range to {
			backends++
			name, _, _ := unstructured.NestedString(one.(map[string]any), "name")
			port := whole(&unstructured.Unstructured{Object: map[string]any{"spec": one}}, "port")
			objections = append(objections, leads(services, name, "", port))
		}
	}
	if backends == 0 {
		objections = append(objections, errors.New("it leads nowhere"))
	}
	return errors.Join(objections...)
}

// leads returns an error unless the Service exists and has the port.
func leads(services map[string]corev1.Service, name, port string, number int64) error {
	service, found := services[name]
	if !found {
		return fmt.Errorf("there is no Service %s", name)
	}
	for _, p := range service.Spec.Ports {
		if port != "" && p.Name == port || int64(p.Port) == number {
			return nil
		}
	}
	return fmt.Errorf("Service %s has no port %s%d", name, port, number)
}

// monitor checks that each endpoint selects the port of exactly one Service. With two, each pod
// would be scraped twice.
func monitor(object *unstructured.Unstructured, services map[string]corev1.Service) error {
	var selector metav1.LabelSelector
	given, _, _ := unstructured.NestedMap(object.Object, "spec", "selector")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(given, &selector); err != nil {
		return err
	}
	matches, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return err
	}
	endpoints, _, _ := unstructured.NestedSlice(object.Object, "spec", "endpoints")
	if len(endpoints) == 0 {
		return errors.New("it asks nobody")
	}
	for _, endpoint := range endpoints {
		port, _, _ := unstructured.NestedString(endpoint.(map[string]any), "port")
		var asked []string
		for name, service := range services {
			for _, p := range service.Spec.Ports {
				if p.Name == port && matches.Matches(labels.Set(service.Labels)) {
					asked = append(asked, name)
				}
			}
		}
		if len(asked) != 1 {
			return fmt.Errorf("its port %q is that of the Services %q, and is to be that of one", port, asked)
		}
	}
	return nil
}

// Evict evicts pods of a Deployment, as draining a node does, until the API server refuses, and
// returns how many were evicted. Meanwhile no new pod becomes ready.
func (r *Release) Evict(ctx context.Context, deployment string) (int, error) {
	r.Kubelet.Let(r.Namespace, Slow)
	defer r.Kubelet.Let(r.Namespace, Well)
	found, err := r.Client.AppsV1().Deployments(r.Namespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	pods, err := r.podsOf(ctx, found)
	if err != nil {
		return 0, err
	}
	for n, pod := range pods {
		err := r.Client.PolicyV1().Evictions(r.Namespace).Evict(ctx,
			&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}})
		if apierrors.IsTooManyRequests(err) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return len(pods), nil
}
