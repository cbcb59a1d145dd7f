// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver is a fake API server in memory for JobRuns and Leases. The tests of the clients (pkg/jobrun,
// pkg/worker) run against it, with or without a bubble of testing/synctest.
//
// It implements:
//   - Resource versions, UIDs, and conflicts.
//   - JSON patches and merge patches.
//   - Watches from any version that Forget has not dropped. They may have field selectors.
//
// It does not implement:
//   - Admission. Unless OnCreate is set, each trigger becomes a run.
//   - The schema and the webhook, except for the rules that fence the holders of leases.
//   - Generations, finalizers, defaults, bookmarks, pages and label selectors.
//   - Methods of the client that no test needs. They panic.
//
// Tests that need no watches use the simpler wrappers.Store. The tests of the operator use package model, which
// has the real schema and can play every order of events.
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

// The resources that a Server serves.
var (
	JobRuns = v1alpha1.GroupVersion.WithResource("jobruns").GroupResource()
	Leases  = coordinationv1.Resource("leases")
)

// Server is the API server and its client. A test may call its methods at any time, but may set its fields only
// while no call is in progress.
type Server struct {
	client.WithWatch // nil: the methods that Server does not implement panic

	// OnCreate is called for each create of a JobRun. It may change the run, refuse it, or call store and
	// then return an error instead of the answer. If it is nil, the run is stored.
	OnCreate func(run *v1alpha1.JobRun, store func() error) error
	// RefuseStatus is called before a status is stored. If it returns an error, the status is refused. It must
	// not call the Server. It may be nil.
	RefuseStatus func(run *v1alpha1.JobRun) error
	// TellsLate changes how a watch from a forgotten version fails. The call succeeds, and the watch then
	// gets an error event.
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

// New returns an empty Server.
func New() *Server {
	return &Server{
		objects: map[key]client.Object{}, streams: map[*stream]bool{},
		calls: map[string]int{}, inFlight: map[string]int{}, most: map[string]int{},
	}
}

// Refused returns the error of a client whose server does not listen.
func Refused() error {
	return &url.Error{Op: "Get", URL: "https://api", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
}

// Reset returns the error of a client whose connection breaks before the answer.
func Reset() error {
	return &url.Error{Op: "Post", URL: "https://api", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}
}

func (s *Server) lock() (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

// SetDown makes every call fail with err, until it is set to nil. Open watches stay open: see Cut.
func (s *Server) SetDown(err error) { defer s.lock()(); s.down = err }

// SetLatency sets how long a call takes to the server, and an event to a watch.
func (s *Server) SetLatency(d time.Duration) { defer s.lock()(); s.latency = d }

// LoseStatus loses the answer to the next write of a status. The status is stored.
func (s *Server) LoseStatus() { defer s.lock()(); s.losesStatus = true }

// Put stores a JobRun. It replaces one of the same name.
func (s *Server) Put(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	defer s.lock()()
	run = run.DeepCopy()
	run.Namespace = cmp.Or(run.Namespace, metav1.NamespaceDefault)
	s.store(run)
	return run
}

// Change changes a stored JobRun. It plays the operator, and does not count as a call.
func (s *Server) Change(name string, change func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	defer s.lock()()
	run := s.read(name)
	change(run)
	s.store(run)
	return run
}

// Read returns a copy of the stored JobRun. It does not count as a call.
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

// Calls returns how many calls have arrived, by call: "get jobruns", "patch jobruns/status".
func (s *Server) Calls() map[string]int { defer s.lock()(); return maps.Clone(s.calls) }

// MostInFlight returns the highest number of calls with that name (see Calls) that were on their way together.
func (s *Server) MostInFlight(call string) int { defer s.lock()(); return s.most[call] }

// serve executes a call after the latency. In a synctest bubble, the real clock is the bubble's clock.
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

// find returns the stored object if it has that UID and version. "" matches any.
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

// store stores an object. It sets the object's resourceVersion, and UID and creationTimestamp if it is new.
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

// List implements client.Reader, for JobRuns. It has all of them in one page. It can list what was at an exact resourceVersion, unless
// that is forgotten.
func (s *Server) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return s.serve(ctx, "list jobruns", func() error {
		scope := scopeOf(list, opts)
		objects, version, err := s.asAsked(opts)
		if err != nil {
			return err
		}
		found := list.(*v1alpha1.JobRunList)
		found.ResourceVersion = strconv.Itoa(version)
		for _, o := range objects {
			if scope.has(o) {
				found.Items = append(found.Items, *clone(o.(*v1alpha1.JobRun)))
			}
		}
		slices.SortFunc(found.Items, func(a, b v1alpha1.JobRun) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
}

// asAsked returns the objects at the resourceVersion that a list asks for.
func (s *Server) asAsked(opts []client.ListOption) (map[key]client.Object, int, error) {
	raw := (&client.ListOptions{}).ApplyOptions(opts).Raw
	if raw == nil || raw.ResourceVersionMatch != metav1.ResourceVersionMatchExact {
		return s.objects, s.version, nil
	}
	version, err := strconv.Atoi(raw.ResourceVersion)
	if err != nil {
		return nil, 0, err
	}
	if version < s.forgotten {
		return nil, 0, apierrors.NewResourceExpired("too old resource version")
	}
	objects := map[key]client.Object{}
	for _, c := range s.history {
		switch {
		case c.version > version:
		case c.after != nil:
			objects[keyOf(c.after)] = c.after
		default:
			delete(objects, keyOf(c.before))
		}
	}
	return objects, version, nil
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

// Created returns the admission of a trigger that became a run.
func Created(name string) *v1alpha1.Admission {
	return &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "t-" + name, Token: "t-" + name}
}

// Update implements client.Writer, for Leases.
func (s *Server) Update(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
	return s.serve(ctx, "update leases", func() error {
		_, err := s.find(keyOf(o.(*coordinationv1.Lease)), o.GetUID(), o.GetResourceVersion())
		if err != nil { // Updating a deleted Lease is a conflict, too, because the request contains its UID.
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
