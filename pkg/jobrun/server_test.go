package jobrun

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// server is an API server of JobRuns in memory, whose watches begin at any
// version, as a real one's do and the fake client's do not.
type server struct {
	client.WithWatch // what a test does not expect is a nil dereference

	mu      sync.Mutex
	version int
	uids    int
	objects map[types.NamespacedName]*v1alpha1.JobRun
	history []entry
	// forgotten is the version up to which no watch can begin any more.
	forgotten int
	// tellsLate is that such a watch begins, and tells so then.
	tellsLate bool
	watches   map[*connection]bool

	// down, if set, is the answer to everything.
	down error
	// onCreate may change what is created, refuse it, or take its answer away.
	onCreate func(run *v1alpha1.JobRun, store func() error) error
	creates  int
	lists    int
	begun    int // watches
}

type entry struct {
	version int
	event   watch.Event
}

type connection struct {
	*watch.FakeWatcher
	selector fields.Selector
}

func newServer() *server {
	return &server{objects: map[types.NamespacedName]*v1alpha1.JobRun{}, watches: map[*connection]bool{}}
}

func (s *server) client() *Client { return New(s, "default") }

// refused is what a dead server's address answers.
func refused() error {
	return &url.Error{Op: "Get", URL: "https://api", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
}

// reset is what is seen of a request whose answer is lost.
func reset() error {
	return &url.Error{Op: "Post", URL: "https://api", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}
}

// put stores a JobRun, under its own uid if it has one.
func (s *server) put(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store(run)
}

func (s *server) store(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	run = run.DeepCopy()
	if run.Namespace == "" {
		run.Namespace = "default"
	}
	key := client.ObjectKeyFromObject(run)
	kind := watch.Modified
	if old, ok := s.objects[key]; ok {
		run.UID = old.UID
	} else {
		kind = watch.Added
		if s.uids++; run.UID == "" {
			run.UID = types.UID("uid-" + strconv.Itoa(s.uids))
		}
	}
	s.objects[key] = run
	s.note(kind, run)
	return run.DeepCopy()
}

// change stores a JobRun that is changed.
func (s *server) change(name string, change func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.objects[types.NamespacedName{Namespace: "default", Name: name}].DeepCopy()
	change(run)
	return s.store(run)
}

func (s *server) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := types.NamespacedName{Namespace: "default", Name: name}
	run := s.objects[key].DeepCopy()
	delete(s.objects, key)
	s.note(watch.Deleted, run)
}

func (s *server) note(kind watch.EventType, run *v1alpha1.JobRun) {
	s.version++
	run.ResourceVersion = strconv.Itoa(s.version)
	event := watch.Event{Type: kind, Object: run.DeepCopy()}
	s.history = append(s.history, entry{s.version, event})
	for c := range s.watches {
		c.send(event)
	}
}

func (c *connection) send(e watch.Event) {
	if c.selector == nil || c.selector.Matches(fieldsOf(e.Object.(*v1alpha1.JobRun))) {
		c.Action(e.Type, e.Object.DeepCopyObject())
	}
}

// cut ends all watches as a lost connection does, or with a last event.
func (s *server) cut(last ...watch.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watches {
		for _, e := range last {
			c.Action(e.Type, e.Object)
		}
		delete(s.watches, c)
		c.FakeWatcher.Stop()
	}
}

// forget makes all versions so far too old to begin a watch at.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten = s.version
}

func (s *server) goDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *server) counts() (creates, lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.creates, s.lists, s.begun
}

func (s *server) Create(_ context.Context, o client.Object, opts ...client.CreateOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creates++
	if s.down != nil {
		return s.down
	}
	run := o.(*v1alpha1.JobRun)
	store := func() error {
		if _, ok := s.objects[client.ObjectKeyFromObject(run)]; ok {
			return apierrors.NewAlreadyExists(resource, run.Name)
		}
		if run.Spec.Admission == nil {
			run.Spec.Admission = &v1alpha1.Admission{
				Disposition: v1alpha1.DispositionCreated, RunName: run.Name, RunToken: "t-" + run.Name, Token: "t-" + run.Name,
			}
		}
		if len(opts) == 0 {
			s.store(run).DeepCopyInto(run)
		}
		return nil
	}
	if s.onCreate != nil {
		return s.onCreate(run, store)
	}
	return store()
}

func (s *server) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	run, ok := s.objects[key]
	if !ok {
		return apierrors.NewNotFound(resource, key.Name)
	}
	run.DeepCopyInto(o.(*v1alpha1.JobRun))
	return nil
}

func (s *server) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.down != nil {
		return s.down
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	found := list.(*v1alpha1.JobRunList)
	found.ResourceVersion = strconv.Itoa(s.version)
	for _, run := range s.objects {
		if o.FieldSelector == nil || o.FieldSelector.Matches(fieldsOf(run)) {
			found.Items = append(found.Items, *run.DeepCopy())
		}
	}
	slices.SortFunc(found.Items, func(a, b v1alpha1.JobRun) int { return len(a.Name) - len(b.Name) })
	return nil
}

func (s *server) Watch(_ context.Context, _ client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	if s.down != nil {
		return nil, s.down
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	from, err := strconv.Atoi(o.Raw.ResourceVersion)
	if err != nil {
		return nil, err
	}
	c := &connection{watch.NewFakeWithChanSize(1000, false), o.FieldSelector}
	if from < s.forgotten {
		expired := apierrors.NewResourceExpired("too old resource version")
		if s.tellsLate {
			status := expired.Status()
			c.Action(watch.Error, &status)
			return c, nil
		}
		return nil, expired
	}
	for _, e := range s.history {
		if e.version > from {
			c.send(e.event)
		}
	}
	s.watches[c] = true
	return &stoppable{c, s}, nil
}

// stoppable is a watch that its client ends.
type stoppable struct {
	*connection
	server *server
}

func (w *stoppable) Stop() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	delete(w.server.watches, w.connection)
}

func fieldsOf(run *v1alpha1.JobRun) fields.Set {
	return fields.Set{
		"metadata.name":       run.Name,
		"spec.jobName":        run.Spec.JobName,
		"spec.concurrencyKey": run.Spec.ConcurrencyKey,
		"status.phase":        string(run.Status.Phase),
	}
}

func makeRun(name string, status v1alpha1.JobRunStatus) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{Status: status}
	run.Name, run.Namespace = name, "default"
	run.Spec.JobName, run.Spec.ConcurrencyKey = "sync", "k"
	run.Spec.Admission = &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "t-" + name, Token: "t-" + name}
	return run
}

// receiptOf is bound to the run.
func receiptOf(run *v1alpha1.JobRun, name string) *v1alpha1.JobRun {
	receipt := makeRun(name, v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCoalesced, RunRef: refTo(run)})
	receipt.Spec.Admission.Disposition = v1alpha1.DispositionCoalesced
	receipt.Spec.Admission.RunName = run.Name
	return receipt
}

func refTo(run *v1alpha1.JobRun) *v1alpha1.ObjectReference {
	return &v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
