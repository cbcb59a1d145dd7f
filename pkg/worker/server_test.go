package worker

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

var (
	jobruns = schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "jobruns"}
	leases  = schema.GroupResource{Group: coordinationv1.GroupName, Resource: "leases"}
)

// server is an API server of JobRuns and Leases in memory, with the fences of
// the schema, and whose answers and events take their time.
type server struct {
	client.WithWatch // what a test does not expect is a nil dereference

	mu      sync.Mutex
	version int
	runs    map[string]*v1alpha1.JobRun
	leases  map[string]*coordinationv1.Lease
	history []watch.Event
	watches map[*connection]bool
	// forgotten is the version up to which no watch can begin any more.
	forgotten int

	// latency is that of a request before it is looked at, and of an event.
	latency time.Duration
	// down, if set, is the answer to everything.
	down error
	// lose is how many writes of statuses are stored while their answer is lost.
	lose int
	// refuse may refuse a status.
	refuse func(*v1alpha1.JobRun) error
	calls  map[string]int
	// inFlight is how many calls are under way, and most the most at once.
	inFlight, most map[string]int
}

type connection struct {
	*watch.FakeWatcher
	server   *server
	selector fields.Selector
}

func newServer() *server {
	return &server{
		runs: map[string]*v1alpha1.JobRun{}, leases: map[string]*coordinationv1.Lease{},
		watches: map[*connection]bool{}, calls: map[string]int{},
		inFlight: map[string]int{}, most: map[string]int{},
	}
}

func refused() error {
	return &url.Error{Op: "Get", URL: "https://api", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
}

func reset() error {
	return &url.Error{Op: "Put", URL: "https://api", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}
}

// enter is the way of each request; leave unlocks.
func (s *server) enter(ctx context.Context, call string) error {
	var latency time.Duration
	s.set(func(s *server) {
		latency = s.latency
		s.inFlight[call]++
		s.most[call] = max(s.most[call], s.inFlight[call])
	})
	if latency > 0 {
		time.Sleep(latency)
	}
	s.mu.Lock()
	s.inFlight[call]--
	if err := ctx.Err(); err != nil {
		return err
	}
	s.calls[call]++
	return s.down
}

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for call, n := range s.calls {
		counts[call] = n
	}
	return counts
}

func (s *server) storeLocked(kind watch.EventType, run *v1alpha1.JobRun) {
	s.version++
	run.ResourceVersion = strconv.Itoa(s.version)
	s.runs[run.Name] = run
	old := watch.Event{}
	for i := len(s.history) - 1; i >= 0 && kind != watch.Added; i-- {
		if s.history[i].Object.(*v1alpha1.JobRun).UID == run.UID {
			old = s.history[i]
			break
		}
	}
	event := watch.Event{Type: kind, Object: run.DeepCopy()}
	s.history = append(s.history, event)
	for c := range s.watches {
		c.send(old, event)
	}
}

// send tells of a change as a watch with a selector does.
func (c *connection) send(old, event watch.Event) {
	was := old.Object != nil && c.selector.Matches(fieldsOf(old.Object.(*v1alpha1.JobRun)))
	is := c.selector.Matches(fieldsOf(event.Object.(*v1alpha1.JobRun)))
	kind := event.Type
	switch {
	case !was && !is:
		return
	case was && !is:
		kind = watch.Deleted
	case !was && is && kind == watch.Modified:
		kind = watch.Added
	}
	object := event.Object.DeepCopyObject()
	if c.server.latency > 0 {
		time.AfterFunc(c.server.latency, func() { c.Action(kind, object) })
		return
	}
	c.Action(kind, object)
}

func (s *server) put(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	run = run.DeepCopy()
	run.Namespace = "default"
	run.UID = types.UID("uid-" + run.Name)
	if run.CreationTimestamp.IsZero() {
		run.CreationTimestamp = metav1.Now()
	}
	s.storeLocked(watch.Added, run)
	return run.DeepCopy()
}

// change changes a run as the operator or a caller does.
func (s *server) change(name string, change func(*v1alpha1.JobRun)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.runs[name].DeepCopy()
	change(run)
	s.storeLocked(watch.Modified, run)
}

func (s *server) get(name string) *v1alpha1.JobRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[name].DeepCopy()
}

func (s *server) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.runs[name].DeepCopy()
	s.storeLocked(watch.Deleted, run)
	delete(s.runs, name)
}

// cut ends all watches, as a lost connection does.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.watches {
		delete(s.watches, c)
		c.FakeWatcher.Stop()
	}
}

func (s *server) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := s.enter(ctx, "list")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	found := list.(*v1alpha1.JobRunList)
	found.ResourceVersion = strconv.Itoa(s.version)
	for _, run := range s.runs {
		if o.FieldSelector.Matches(fieldsOf(run)) {
			found.Items = append(found.Items, *run.DeepCopy())
		}
	}
	return nil
}

func (s *server) Watch(ctx context.Context, _ client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	err := s.enter(ctx, "watch")
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	from, err := strconv.Atoi(o.Raw.ResourceVersion)
	if err != nil {
		return nil, err
	}
	if from < s.forgotten {
		return nil, apierrors.NewResourceExpired("too old resource version")
	}
	c := &connection{watch.NewFakeWithChanSize(10000, false), s, o.FieldSelector}
	last := map[types.UID]watch.Event{}
	for _, e := range s.history {
		run := e.Object.(*v1alpha1.JobRun)
		if v, _ := strconv.Atoi(run.ResourceVersion); v > from {
			c.send(last[run.UID], e)
		}
		last[run.UID] = e
	}
	s.watches[c] = true
	return c, nil
}

// Stop ends a watch for its client.
func (c *connection) Stop() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.watches, c)
}

func (s *server) Get(ctx context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	err := s.enter(ctx, "get")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	switch o := o.(type) {
	case *v1alpha1.JobRun:
		if run, ok := s.runs[key.Name]; ok {
			run.DeepCopyInto(o)
			return nil
		}
		return apierrors.NewNotFound(jobruns, key.Name)
	case *coordinationv1.Lease:
		if lease, ok := s.leases[key.Name]; ok {
			lease.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(leases, key.Name)
}

func (s *server) Create(ctx context.Context, o client.Object, _ ...client.CreateOption) error {
	err := s.enter(ctx, "create lease")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	if s.leases[o.GetName()] != nil {
		return apierrors.NewAlreadyExists(leases, o.GetName())
	}
	s.storeLease(o)
	return nil
}

func (s *server) storeLease(o client.Object) {
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.leases[o.GetName()] = o.(*coordinationv1.Lease).DeepCopy()
}

func (s *server) Update(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
	err := s.enter(ctx, "renew")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	switch stored := s.leases[o.GetName()]; {
	case stored == nil: // The uid that is sent is nobody's.
		return apierrors.NewConflict(leases, o.GetName(), nil)
	case stored.ResourceVersion != o.GetResourceVersion():
		return apierrors.NewConflict(leases, o.GetName(), nil)
	}
	s.storeLease(o)
	return nil
}

func (s *server) Delete(ctx context.Context, o client.Object, _ ...client.DeleteOption) error {
	err := s.enter(ctx, "delete lease")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	delete(s.leases, o.GetName())
	return nil
}

func (s *server) Status() client.SubResourceWriter { return &statuses{server: s} }

type statuses struct {
	client.SubResourceWriter
	server *server
}

// Update is a claim.
func (w *statuses) Update(ctx context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	s := w.server
	err := s.enter(ctx, "claim")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	old, ok := s.runs[o.GetName()]
	switch {
	case !ok:
		return apierrors.NewNotFound(jobruns, o.GetName())
	case old.ResourceVersion != o.GetResourceVersion():
		return apierrors.NewConflict(jobruns, o.GetName(), nil)
	}
	run := old.DeepCopy()
	o.(*v1alpha1.JobRun).Status.DeepCopyInto(&run.Status)
	for _, other := range s.runs {
		if k := run.Spec.ConcurrencyKey; k != "" && other.Spec.ConcurrencyKey == k && other.Name != run.Name && other.Status.Phase == v1alpha1.PhaseLeased {
			return apierrors.NewConflict(jobruns, o.GetName(), nil)
		}
	}
	return w.store(old, run, o.(*v1alpha1.JobRun))
}

func (w *statuses) store(old, run, answer *v1alpha1.JobRun) error {
	s := w.server
	if err := fence(old, run); err != nil {
		return err
	}
	if s.refuse != nil {
		if err := s.refuse(run); err != nil {
			return err
		}
	}
	s.storeLocked(watch.Modified, run)
	if s.lose > 0 {
		s.lose--
		return reset()
	}
	run.DeepCopyInto(answer)
	return nil
}

// Patch is everything else.
func (w *statuses) Patch(ctx context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	s := w.server
	err := s.enter(ctx, "patch")
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	old, ok := s.runs[o.GetName()]
	if !ok {
		return apierrors.NewNotFound(jobruns, o.GetName())
	}
	body, err := p.Data(o)
	if err != nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return err
	}
	before, err := json.Marshal(old)
	if err != nil {
		return err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return apierrors.NewGenericServerResponse(422, "patch", jobruns, old.Name, err.Error(), 0, false)
	}
	run := &v1alpha1.JobRun{}
	if err := json.Unmarshal(after, run); err != nil {
		return err
	}
	return w.store(old, run, o.(*v1alpha1.JobRun))
}

// fence is the schema's.
func fence(old, run *v1alpha1.JobRun) error {
	path := field.NewPath("status")
	invalid := func(path *field.Path, message string) error {
		return apierrors.NewInvalid(schema.GroupKind{Group: jobruns.Group, Kind: "JobRun"}, run.Name, field.ErrorList{field.Invalid(path, nil, message)})
	}
	was, is := old.Status, run.Status
	switch {
	case was.Phase != is.Phase && was.Phase != v1alpha1.PhasePending && was.Phase != v1alpha1.PhaseLeased:
		return invalid(path.Child("phase"), "terminal phases are final")
	case was.Phase == v1alpha1.PhasePending && is.Phase == v1alpha1.PhaseCompleted:
		return invalid(path.Child("phase"), "may not change like this")
	case is.FinishedGeneration != 0 && is.FinishedGeneration != holder.Generation(run):
		return invalid(path.Child("finishedGeneration"), "this holder's lease was lost")
	case is.Progress != nil && is.Progress.Generation != holder.Generation(run):
		return invalid(path.Child("progress", "generation"), "this holder's lease was lost")
	case holder.Generation(run) < holder.Generation(old):
		return invalid(path.Child("lease"), "never falls")
	}
	return nil
}

func fieldsOf(run *v1alpha1.JobRun) fields.Set {
	return fields.Set{"spec.jobName": run.Spec.JobName, "status.phase": string(run.Status.Phase)}
}

func pendingRun(name string) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{Status: v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending}}
	run.Name, run.Spec.JobName = name, "sync"
	return run
}

func mustEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
