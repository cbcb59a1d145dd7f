// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver is an API server of JobRuns and Leases in memory. The tests of
// the clients (pkg/jobrun, pkg/worker) run against it, in a bubble of
// testing/synctest or without one.
//
// What is real:
//   - Resource versions and UIDs, and the conflicts that come of them.
//   - Patches: JSON patches and merge patches.
//   - Watches. They begin at any version that is not forgotten, and have selectors.
//
// What is not:
//   - Admission. Without OnCreate each trigger becomes a run.
//   - The schema and the webhook, but for what fences the holders of leases.
//   - Generations, finalizers, defaults, bookmarks, pages and label selectors.
//   - Methods of the client that no test has needed so far: they panic.
//
// A test that needs no watch from a version does with wrappers.Store. Package model
// has the real schema, and every order of events, for the operator.
package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// What a Server serves.
var (
	JobRuns = v1alpha1.GroupVersion.WithResource("jobruns").GroupResource()
	Leases  = coordinationv1.Resource("leases")
)

// Server is the API server and its client. A test sets its fields while nothing
// calls it, and calls its methods at any time.
type Server struct {
	client.WithWatch // nil

	// OnCreate gets each JobRun that is created. It may change the run, refuse it,
	// or call store and withhold the answer. Nil stores it.
	OnCreate func(run *v1alpha1.JobRun, store func() error) error
	// RefuseStatus may refuse a status that is about to be stored. It must not call
	// the Server.
	RefuseStatus func(run *v1alpha1.JobRun) error
	// TellsLate lets a watch of a forgotten version begin, and then tells the error.
	TellsLate bool

	mu                    sync.Mutex
	version, forgotten    int
	objects               map[key]client.Object
	history               []change
	streams               map[*stream]bool
	down                  error
	latency               time.Duration
	losesStatus           bool
	calls, inFlight, most map[string]int
}

type key struct {
	resource schema.GroupResource
	name     types.NamespacedName
}

// New returns a Server that stores nothing yet.
func New() *Server {
	return &Server{
		objects: map[key]client.Object{}, streams: map[*stream]bool{},
		calls: map[string]int{}, inFlight: map[string]int{}, most: map[string]int{},
	}
}

// Refused is what a client sees of a server that is not there.
func Refused() error {
	return &url.Error{Op: "Get", URL: "https://api", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
}

// Reset is what a client sees of a request whose answer is lost.
func Reset() error {
	return &url.Error{Op: "Post", URL: "https://api", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}
}

func (s *Server) lock() (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

// SetDown sets the answer to every call; nil ends that. Open watches stay open: see Cut.
func (s *Server) SetDown(err error) { defer s.lock()(); s.down = err }

// SetLatency sets how long a call takes to arrive, and an event.
func (s *Server) SetLatency(d time.Duration) { defer s.lock()(); s.latency = d }

// LoseStatus loses the answer to the next status that is written. It is stored.
func (s *Server) LoseStatus() { defer s.lock()(); s.losesStatus = true }

// Put stores a JobRun, in the place of one of its name.
func (s *Server) Put(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	defer s.lock()()
	run = run.DeepCopy()
	run.Namespace = cmp.Or(run.Namespace, metav1.NamespaceDefault)
	s.store(run)
	return run
}

// Change changes a JobRun as the operator does.
func (s *Server) Change(name string, change func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	defer s.lock()()
	run := s.read(name)
	change(run)
	s.store(run)
	return run
}

// Read returns a JobRun as it is stored. It is no call.
func (s *Server) Read(name string) *v1alpha1.JobRun { defer s.lock()(); return s.read(name) }

// Remove removes a JobRun.
func (s *Server) Remove(name string) { defer s.lock()(); s.remove(s.read(name)) }

// Stored returns how many objects of a resource are stored.
func (s *Server) Stored(resource schema.GroupResource) (n int) {
	defer s.lock()()
	for k := range s.objects {
		if k.resource == resource {
			n++
		}
	}
	return n
}

// Calls returns how many calls have arrived: "get jobruns", "patch jobruns/status".
func (s *Server) Calls() map[string]int { defer s.lock()(); return maps.Clone(s.calls) }

// MostInFlight returns how many of such calls were on their way at once, at most.
func (s *Server) MostInFlight(call string) int { defer s.lock()(); return s.most[call] }

// serve lets a call arrive, and then does what it asks for. In a bubble, the real
// clock is the bubble's.
func (s *Server) serve(ctx context.Context, call string, do func() error) error {
	defer s.lock()()
	s.inFlight[call]++
	s.most[call] = max(s.most[call], s.inFlight[call])
	if latency := s.latency; latency > 0 {
		s.mu.Unlock()
		clock.RealClock{}.Sleep(latency)
		s.mu.Lock()
	}
	s.inFlight[call]--
	if err := ctx.Err(); err != nil {
		return err
	}
	s.calls[call]++
	if s.down != nil {
		return s.down
	}
	return do()
}

func resourceOf(o any) schema.GroupResource {
	switch o.(type) {
	case *v1alpha1.JobRun, *v1alpha1.JobRunList:
		return JobRuns
	case *coordinationv1.Lease:
		return Leases
	default:
		panic(fmt.Sprintf("a %T is not served", o))
	}
}

func keyOf(o client.Object) key { return key{resourceOf(o), client.ObjectKeyFromObject(o)} }

func clone[T client.Object](o T) T { return o.DeepCopyObject().(T) }

func assign(to, from client.Object) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(clone(from)).Elem())
}

func (s *Server) read(name string) *v1alpha1.JobRun {
	k := key{JobRuns, types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: name}}
	return clone(s.objects[k].(*v1alpha1.JobRun))
}

// find returns what is stored, if it has that UID and version; "" is any.
func (s *Server) find(k key, uid types.UID, version string) (client.Object, error) {
	o := s.objects[k]
	if o == nil {
		return nil, apierrors.NewNotFound(k.resource, k.name.Name)
	}
	if uid != "" && uid != o.GetUID() || version != "" && version != o.GetResourceVersion() {
		return nil, apierrors.NewConflict(k.resource, k.name.Name, nil)
	}
	return o, nil
}

// store stores an object, and sets in it what the server sets.
func (s *Server) store(o client.Object) {
	old := s.objects[keyOf(o)]
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	if old != nil {
		o.SetUID(old.GetUID())
	} else {
		o.SetUID(cmp.Or(o.GetUID(), types.UID("uid-"+o.GetResourceVersion())))
		if created := o.GetCreationTimestamp(); created.IsZero() {
			o.SetCreationTimestamp(metav1.NewTime(clock.RealClock{}.Now()))
		}
	}
	s.objects[keyOf(o)] = clone(o)
	s.tell(change{s.version, old, clone(o)})
}

func (s *Server) remove(o client.Object) {
	delete(s.objects, keyOf(o))
	s.version++
	s.tell(change{s.version, o, nil})
}

// Get implements client.Reader.
func (s *Server) Get(ctx context.Context, name client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	return s.serve(ctx, "get "+resourceOf(o).Resource, func() error {
		stored, err := s.find(key{resourceOf(o), name}, "", "")
		if err == nil {
			assign(o, stored)
		}
		return err
	})
}

// List implements client.Reader, for JobRuns.
func (s *Server) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return s.serve(ctx, "list jobruns", func() error {
		scope := scopeOf(list, opts)
		found := list.(*v1alpha1.JobRunList)
		found.ResourceVersion = strconv.Itoa(s.version)
		for _, o := range s.objects {
			if scope.has(o) {
				found.Items = append(found.Items, *clone(o.(*v1alpha1.JobRun)))
			}
		}
		slices.SortFunc(found.Items, func(a, b v1alpha1.JobRun) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
}

// Create implements client.Writer.
func (s *Server) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if err := s.serve(ctx, "create "+resourceOf(o).Resource, func() error { return nil }); err != nil {
		return err
	}
	run, isRun := o.(*v1alpha1.JobRun)
	store := func() error {
		defer s.lock()()
		if s.objects[keyOf(o)] != nil {
			return apierrors.NewAlreadyExists(resourceOf(o), o.GetName())
		}
		if isRun && run.Spec.Admission == nil {
			run.Spec.Admission = Created(run.Name)
		}
		if options := (&client.CreateOptions{}).ApplyOptions(opts); len(options.DryRun) == 0 {
			s.store(o)
		}
		return nil
	}
	if isRun && s.OnCreate != nil {
		return s.OnCreate(run, store)
	}
	return store()
}

// Created is the admission of a trigger that became a run of its own.
func Created(name string) *v1alpha1.Admission {
	return &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "t-" + name, Token: "t-" + name}
}

// Update implements client.Writer, for Leases.
func (s *Server) Update(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
	return s.serve(ctx, "update leases", func() error {
		_, err := s.find(keyOf(o.(*coordinationv1.Lease)), o.GetUID(), o.GetResourceVersion())
		if err != nil { // A deleted Lease is in conflict, too: the UID that is sent is nobody's.
			return apierrors.NewConflict(Leases, o.GetName(), nil)
		}
		s.store(o)
		return nil
	})
}

// Delete implements client.Writer.
func (s *Server) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return s.serve(ctx, "delete "+resourceOf(o).Resource, func() error {
		p := ptr.Deref((&client.DeleteOptions{}).ApplyOptions(opts).Preconditions, metav1.Preconditions{})
		stored, err := s.find(keyOf(o), ptr.Deref(p.UID, ""), ptr.Deref(p.ResourceVersion, ""))
		if err == nil {
			s.remove(stored)
		}
		return err
	})
}
