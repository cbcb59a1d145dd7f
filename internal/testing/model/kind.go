// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// strategy has the API server's rules for writes of one kind, or of one subresource.
type strategy interface {
	rest.RESTCreateUpdateStrategy
}

// kind is one kind of object that the model serves. All servers of a process share the kinds. A kind has no state but
// compiled rules and cached results of validations.
type kind struct {
	gvk      schema.GroupVersionKind
	resource schema.GroupResource
	custom   bool

	newObject func() client.Object     // for clients
	newList   func() client.ObjectList // for clients
	newStored func() runtime.Object    // for the registry

	// decode parses the body of a request into the registry's form. It prunes the object and sets defaults.
	decode func(body []byte) (runtime.Object, error)
	// setDefaults sets the defaults of a custom resource.
	setDefaults func(stored *unstructured.Unstructured)
	// selectable returns the values of the fields that a field selector may name. supportsField returns
	// an error for all other fields.
	selectable    func(stored runtime.Object) (fields.Set, error)
	supportsField func(field string) error

	main   strategy
	status strategy // nil without a status subresource
}

// Scheme has every kind that the model serves.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
}

// catalog holds each kind under two names: that of its objects, and that of its lists.
type catalog map[schema.GroupKind]*kind

// kinds builds the catalog once, because it takes a while to compile the CEL rules.
var kinds = sync.OnceValues(func() (catalog, error) {
	jobRun, err := customKind("batch.jobrun.dev_jobruns.yaml", &v1alpha1.JobRun{}, &v1alpha1.JobRunList{})
	if err != nil {
		return nil, err
	}
	runKey, err := customKind("batch.jobrun.dev_runkeys.yaml", &v1alpha1.RunKey{}, &v1alpha1.RunKeyList{})
	if err != nil {
		return nil, err
	}
	jobDefinition, err := customKind("batch.jobrun.dev_jobdefinitions.yaml", &v1alpha1.JobDefinition{}, &v1alpha1.JobDefinitionList{})
	if err != nil {
		return nil, err
	}
	all := catalog{}
	for _, k := range []*kind{
		jobRun,
		runKey,
		jobDefinition,
		builtinKind(&batchv1.Job{}, &batchv1.JobList{}, "jobs", jobStrategy{builtin}, jobStatusStrategy{jobStrategy{builtin}}),
		builtinKind(&corev1.Pod{}, &corev1.PodList{}, "pods", podStrategy{builtin}, podStatusStrategy{podStrategy{builtin}}),
		builtinKind(&coordinationv1.Lease{}, &coordinationv1.LeaseList{}, "leases", leaseStrategy{builtin}, nil),
	} {
		all[k.gvk.GroupKind()] = k
		all[schema.GroupKind{Group: k.gvk.Group, Kind: k.gvk.Kind + "List"}] = k
	}
	return all, nil
})

// of returns the kind of an object or a list.
func (c catalog) of(obj runtime.Object) (*kind, error) {
	gvk, err := apiutil.GVKForObject(obj, Scheme)
	if err != nil {
		return nil, err
	}
	k, ok := c[gvk.GroupKind()]
	if !ok {
		return nil, fmt.Errorf("the model does not serve %s", gvk)
	}
	return k, nil
}

// newOf returns a constructor of zero objects of prototype's type.
func newOf[T runtime.Object](prototype T) func() T {
	return func() T { return prototype.DeepCopyObject().(T) }
}

// registry stores the objects of one kind in a database. It uses the API server's own registry code.
type registry struct {
	*kind
	rows   *table
	main   *genericregistry.Store
	status *genericregistry.Store
}

func newRegistry(k *kind, db *database) *registry {
	r := &registry{kind: k, rows: db.table(k)}
	r.main = r.store(k.main)
	if k.status != nil {
		r.status = r.store(k.status)
	}
	return r
}

// prefix returns the prefix of this kind's keys in the database. The API server uses the same prefix in etcd.
func (k *kind) prefix() string {
	if k.custom {
		return "/registry/" + k.resource.Group + "/" + k.resource.Resource
	}
	return "/registry/" + k.resource.Resource
}

func (k *kind) key(namespace, name string) string { return k.prefix() + "/" + namespace + "/" + name }

func (r *registry) store(s strategy) *genericregistry.Store {
	return &genericregistry.Store{
		NewFunc:                   r.newStored,
		DefaultQualifiedResource:  r.resource,
		SingularQualifiedResource: r.resource,
		KeyFunc: func(ctx context.Context, name string) (string, error) {
			return genericregistry.NamespaceKeyFunc(ctx, r.prefix(), name)
		},
		ObjectNameFunc: func(obj runtime.Object) (string, error) {
			accessor, err := meta.Accessor(obj)
			if err != nil {
				return "", err
			}
			return accessor.GetName(), nil
		},
		EnableGarbageCollection: true,
		CreateStrategy:          s,
		UpdateStrategy:          s,
		DeleteStrategy:          s,
		Storage:                 genericregistry.DryRunnableStorage{Storage: r.rows, Codec: unstructured.UnstructuredJSONScheme},
	}
}
