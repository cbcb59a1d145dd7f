// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package wrappers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Scheme has every type that the operator reads or writes.
var Scheme = sync.OnceValue(func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, coordinationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
})

// Index is an index of the Store.
type Index struct {
	Object  client.Object
	Field   string
	Extract client.IndexerFunc
}

// Store is controller-runtime's fake client with two additions: it sets and compares UIDs, and it records reads
// and writes. A test can set Before, After, Read and ReadList to make requests fail or to change objects.
type Store struct {
	client.WithWatch

	// Before is called before each write. Its error refuses the write.
	Before func(verb string, o client.Object) error
	// After is called after each write. Its error replaces the answer, but the write is stored.
	After func(verb string, o client.Object) error
	// Read is called before each get. Its error replaces the answer.
	Read func(key client.ObjectKey, o client.Object) error
	// ReadList is called before each list, and may change the options. Its error replaces the answer.
	ReadList func(list client.ObjectList, o *client.ListOptions) error

	tracker clienttesting.ObjectTracker

	mu     sync.Mutex
	writes []string
	reads  int
	uids   int
}

// NewStore returns a Store with these objects.
func NewStore(indexes []Index, objects ...client.Object) *Store {
	return NewStoreOf(Scheme(), indexes, objects...)
}

// NewStoreOf is NewStore with another scheme.
func NewStoreOf(scheme *runtime.Scheme, indexes []Index, objects ...client.Object) *Store {
	s := &Store{}
	s.tracker = clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjectTracker(s.tracker).WithGlobalResourceVersionCounter().
		WithStatusSubresource(&v1alpha1.JobRun{}, &v1alpha1.JobDefinition{}, &batchv1.Job{}).WithObjects(earlierVersions()...).WithObjects(objects...)
	for _, i := range indexes {
		builder = builder.WithIndex(i.Object, i.Field, i.Extract)
	}
	s.WithWatch = interceptor.NewClient(builder.Build(), interceptor.Funcs{
		Get:               s.get,
		List:              s.list,
		Create:            s.create,
		Update:            s.update,
		Delete:            s.remove,
		SubResourceUpdate: s.updateStatus,
		SubResourcePatch:  s.patchStatus,
	})
	return s
}

// earlierVersions returns objects that use up the first 100 resourceVersions. Tests set low resourceVersions
// on their objects by hand, and later writes must get higher ones.
func earlierVersions() []client.Object {
	used := make([]client.Object, 100)
	for i := range used {
		used[i] = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "earlier", Name: fmt.Sprint(i)}}
	}
	return used
}

// Objects returns all JobRuns, RunKeys and Jobs.
func (s *Store) Objects(ctx context.Context) ([]client.Object, error) {
	var all []client.Object
	for _, list := range []client.ObjectList{&v1alpha1.JobRunList{}, &v1alpha1.RunKeyList{}, &batchv1.JobList{}} {
		if err := s.List(ctx, list); err != nil {
			return nil, err
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			all = append(all, item.(client.Object))
		}
	}
	return all, nil
}

// Restore replaces all JobRuns, RunKeys and Jobs by those that Objects returned earlier, with their versions.
// Later writes still get new versions and UIDs.
func (s *Store) Restore(ctx context.Context, objects []client.Object) error {
	stored, err := s.Objects(ctx)
	if err != nil {
		return err
	}
	for _, o := range stored {
		resource, err := resourceOf(o)
		if err != nil {
			return err
		}
		if err := s.tracker.Delete(resource, o.GetNamespace(), o.GetName()); err != nil {
			return err
		}
	}
	for _, o := range objects {
		if err := s.tracker.Add(o.DeepCopyObject()); err != nil {
			return err
		}
	}
	return nil
}

// resourceOf returns the resource under which the tracker keeps an object. Like the tracker, it guesses the
// plural.
func resourceOf(o client.Object) (schema.GroupVersionResource, error) {
	kind, err := apiutil.GVKForObject(o, Scheme())
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	return resource, err
}

// Writes returns the stored writes in order, each as verb, kind and name.
func (s *Store) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// Reads returns the number of gets and lists.
func (s *Store) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *Store) get(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	s.count()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Read != nil {
		if err := s.Read(key, o); err != nil {
			return err
		}
	}
	return c.Get(ctx, key, o, opts...)
}

func (s *Store) list(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	s.count()
	options := (&client.ListOptions{}).ApplyOptions(opts)
	if s.ReadList != nil {
		if err := s.ReadList(list, options); err != nil {
			return err
		}
	}
	return c.List(ctx, list, options)
}

func (s *Store) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
}

func (s *Store) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	return s.write(ctx, "create", o, func() error {
		if o.GetUID() == "" {
			o.SetUID(s.nextUID())
		}
		return c.Create(ctx, o, opts...)
	})
}

func (s *Store) update(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
	return s.write(ctx, "update", o, func() error {
		if err := s.sameObject(ctx, c, o, o.GetUID()); err != nil {
			return err
		}
		return c.Update(ctx, o, opts...)
	})
}

func (s *Store) updateStatus(ctx context.Context, c client.Client, name string, o client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.write(ctx, name, o, func() error { return c.SubResource(name).Update(ctx, o, opts...) })
}

func (s *Store) patchStatus(
	ctx context.Context, c client.Client, name string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption,
) error {
	return s.write(ctx, "patch "+name, o, func() error { return c.SubResource(name).Patch(ctx, o, patch, opts...) })
}

func (s *Store) remove(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
	options := client.DeleteOptions{}
	options.ApplyOptions(opts)
	verb := "delete"
	if p := options.PropagationPolicy; p != nil {
		verb += "(" + string(*p) + ")"
	}
	return s.write(ctx, verb, o, func() error {
		if p := options.Preconditions; p != nil && p.UID != nil {
			if err := s.sameObject(ctx, c, o, *p.UID); err != nil {
				return err
			}
		}
		return c.Delete(ctx, o, opts...)
	})
}

func (s *Store) write(ctx context.Context, verb string, o client.Object, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Before != nil {
		if err := s.Before(verb, o); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	s.mu.Lock()
	s.writes = append(s.writes, fmt.Sprintf("%s %s %s", verb, kindOf(o), o.GetName()))
	s.mu.Unlock()
	if s.After != nil {
		return s.After(verb, o)
	}
	return nil
}

// sameObject returns a Conflict error if the stored object has another UID.
func (s *Store) sameObject(ctx context.Context, c client.WithWatch, o client.Object, uid types.UID) error {
	stored, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is not an object", o)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), stored); err != nil {
		return err
	}
	if stored.GetUID() != uid {
		return apierrors.NewConflict(schema.GroupResource{Resource: kindOf(o)}, o.GetName(),
			errors.New("the UID in the precondition does not match"))
	}
	return nil
}

func (s *Store) nextUID() types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uids++
	return types.UID(fmt.Sprintf("uid-%d", s.uids))
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.JobRun:
		return "JobRun"
	case *v1alpha1.RunKey:
		return "RunKey"
	case *v1alpha1.JobDefinition:
		return "JobDefinition"
	case *batchv1.Job:
		return "Job"
	default:
		return fmt.Sprintf("%T", o)
	}
}
