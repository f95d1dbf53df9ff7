package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// gone waits until no object of the release is left, in the namespace or outside.
func (r *Release) gone(ctx context.Context) error {
	kinds, err := r.kinds()
	if err != nil {
		return err
	}
	return eventually(ctx, func() error {
		var left []string
		for _, kind := range kinds {
			some, err := r.leftOf(ctx, kind)
			if err != nil {
				return err
			}
			left = append(left, some...)
		}
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return nil
	})
}

// A kind is a resource type that can be listed.
type kind struct {
	schema.GroupVersionResource
	namespaced bool
}

func (r *Release) kinds() ([]kind, error) {
	_, lists, err := r.Client.Discovery().ServerGroupsAndResources()
	if err != nil {
		return nil, err
	}
	var kinds []kind
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if slices.Contains(resource.Verbs, "list") && !strings.Contains(resource.Name, "/") && resource.Kind != "Event" {
				kinds = append(kinds, kind{version.WithResource(resource.Name), resource.Namespaced})
			}
		}
	}
	return kinds, nil
}

// leftOf returns the objects of one kind, without those that every namespace has.
func (r *Release) leftOf(ctx context.Context, kind kind) ([]string, error) {
	var options metav1.ListOptions
	all := r.Dynamic.Resource(kind.GroupVersionResource)
	from := all.Namespace(r.Namespace)
	if !kind.namespaced {
		from, options.LabelSelector = all.Namespace(""), "app.kubernetes.io/instance="+r.Name
	}
	list, err := from.List(ctx, options)
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s", kind.Resource), err)
	}
	var left []string
	for _, object := range list.Items {
		name := object.GetKind() + " " + object.GetName()
		if !r.provided[name] && name != "ServiceAccount default" && name != "ConfigMap kube-root-ca.crt" {
			left = append(left, name)
		}
	}
	return left, nil
}
