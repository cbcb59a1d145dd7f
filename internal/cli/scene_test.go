// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// scene is a cluster for one test, which runs in a synctest bubble. The cluster's clock is the bubble's clock.
type scene struct {
	t      *testing.T
	api    client.WithWatch
	stdin  string
	stdout stream
	stderr stream
	// columns is the width of the terminal; 0 means no terminal.
	columns int

	// admit decides on a trigger, as the webhook does. If it is nil, every trigger becomes a run.
	admit func(*v1alpha1.JobRun) error
	// answer is called before a status is patched. Its error refuses the patch.
	answer func() error
	// hide is called before an object is read. Its error refuses the read.
	hide func() error
	// away is true while the API server restarts. Every list then fails.
	away atomic.Bool
	// forbidden holds the resources that the plugin may not read.
	forbidden sync.Map
	// logs holds the contents of the logs, by the name of the Pod. Each opening of a log takes the next content.
	logs map[string][]io.ReadCloser

	// interrupt stops the plugin, as Ctrl-C does.
	interrupt context.CancelFunc
}

// stream is a buffer that a test can read while the plugin writes to it.
type stream struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *stream) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *stream) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// inScene runs a test in a bubble, with objects in the cluster.
func inScene(t *testing.T, test func(*testing.T, *scene), objects ...client.Object) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newScene(t, objects...))
	})
}

func newScene(t *testing.T, objects ...client.Object) *scene {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	indexes := []wrappers.Index{
		{Object: &v1alpha1.JobRun{}, Field: "metadata.name", Extract: func(o client.Object) []string { return []string{o.GetName()} }},
		{Object: &corev1.Event{}, Field: "involvedObject.uid", Extract: func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}},
	}
	store := wrappers.NewStoreOf(scheme, indexes, objects...)
	s := &scene{t: t, api: store, logs: map[string][]io.ReadCloser{}}
	store.Before, store.Read, store.ReadList = s.before, s.get, s.list
	return s
}

func (s *scene) before(verb string, o client.Object) error {
	run, ok := o.(*v1alpha1.JobRun)
	switch {
	case ok && verb == "create":
		run.Spec.Admission = &v1alpha1.Admission{
			Disposition: v1alpha1.DispositionCreated, RunName: run.Name, RunToken: "t-" + run.Name, Token: "t-" + run.Name,
		}
		if s.admit != nil {
			return s.admit(run)
		}
	case verb == "patch status" && s.answer != nil:
		return s.answer()
	}
	return nil
}

// list drops a field selector with !=, because the fake client refuses it.
func (s *scene) list(list client.ObjectList, o *client.ListOptions) error {
	if o.FieldSelector != nil && strings.Contains(o.FieldSelector.String(), "!=") {
		o.FieldSelector = nil
	}
	if s.away.Load() {
		return apierrors.NewServiceUnavailable("try again")
	}
	return s.mayRead(list)
}

func (s *scene) get(_ client.ObjectKey, o client.Object) error {
	if err := s.mayRead(o); err != nil || s.hide == nil {
		return err
	}
	return s.hide()
}

func (s *scene) mayRead(object any) error {
	name := ""
	switch object.(type) {
	case *v1alpha1.JobRunList:
		name = "jobruns"
	case *v1alpha1.RunKey, *v1alpha1.RunKeyList:
		name = "runkeys"
	case *corev1.EventList:
		name = "events"
	case *corev1.PodList:
		name = "pods"
	}
	if _, is := s.forbidden.Load(name); is {
		return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource(name).GroupResource(), "", errors.New("not you"))
	}
	return nil
}

// run runs the plugin to its end and returns the exit code.
func (s *scene) run(args ...string) int {
	s.t.Helper()
	return <-s.start(args...)
}

// start starts the plugin, and returns a channel for its exit code. The output replaces that of the last command.
func (s *scene) start(args ...string) <-chan int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.interrupt = cancel
	s.stdout.b.Reset()
	s.stderr.b.Reset()
	code := make(chan int, 1)
	options := Options{
		Streams: genericiooptions.IOStreams{In: strings.NewReader(s.stdin), Out: &s.stdout, ErrOut: &s.stderr},
		Version: "v1.2.3",
		connect: s.connect,
		width:   func(io.Writer) int { return s.columns },
	}
	go func() {
		defer cancel()
		code <- Main(ctx, args, options)
	}()
	return code
}

func (s *scene) connect(flags genericclioptions.RESTClientGetter, _ Options) (*cluster, error) {
	config := flags.(*genericclioptions.ConfigFlags)
	namespace, insisted := "default", *config.Namespace != ""
	if insisted {
		namespace = *config.Namespace
	}
	return &cluster{
		api: s.api, runs: jobrun.New(s.api, namespace), namespace: namespace, insisted: insisted, openLog: s.openLog,
	}, nil
}

func (s *scene) openLog(_ context.Context, pod *corev1.Pod, _ *corev1.PodLogOptions) (io.ReadCloser, error) {
	left := s.logs[pod.Name]
	if len(left) == 0 {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	}
	s.logs[pod.Name] = left[1:]
	return left[0], nil
}

func lines(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }

// update changes the status of a JobRun.
func (s *scene) update(name string, change func(*v1alpha1.JobRunStatus)) {
	s.t.Helper()
	run := &v1alpha1.JobRun{}
	ctx := context.Background()
	if err := s.api.Get(ctx, types.NamespacedName{Namespace: "default", Name: name}, run); err != nil {
		s.t.Fatal(err)
	}
	change(&run.Status)
	if err := s.api.Status().Update(ctx, run); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) read(name string) *v1alpha1.JobRun {
	s.t.Helper()
	run := &v1alpha1.JobRun{}
	if err := s.api.Get(context.Background(), types.NamespacedName{Namespace: "default", Name: name}, run); err != nil {
		s.t.Fatal(err)
	}
	return run
}

// want compares the exit code and the output of a command. See wantText.
func (s *scene) want(code, wantCode int, stdout, stderr string) {
	s.t.Helper()
	if code != wantCode {
		s.t.Errorf("exit code %d, want %d", code, wantCode)
	}
	wantText(s.t, "stdout", s.stdout.String(), stdout)
	wantText(s.t, "stderr", s.stderr.String(), stderr)
}

// wantText compares a text with want. If want begins with "~", it is a list of parts, each after a "~". The text must
// contain each of them.
func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	parts, some := strings.CutPrefix(want, "~")
	if !some {
		if got != want {
			t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
		}
		return
	}
	for part := range strings.SplitSeq(parts, "~") {
		if !strings.Contains(got, part) {
			t.Errorf("%s is\n%s\nwhich does not contain %q", what, got, part)
		}
	}
}

// aRun returns a JobRun that is 90 seconds old.
func aRun(name string, changes ...func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name),
			CreationTimestamp: metav1.NewTime(synctestBegins.Add(-90 * time.Second)),
			Labels:            map[string]string{v1alpha1.LabelJobName: "sync"},
		},
		Spec: v1alpha1.JobRunSpec{
			JobName: "sync", ConcurrencyKey: "acme",
			Admission: &v1alpha1.Admission{Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "t-" + name, Token: "t-" + name},
		},
		Status: v1alpha1.JobRunStatus{RunRef: &v1alpha1.ObjectReference{Name: name, UID: types.UID("uid-" + name)}},
	}
	for _, change := range changes {
		change(run)
	}
	return run
}

// synctestBegins is the time at which every bubble begins.
var synctestBegins = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func phase(p v1alpha1.Phase) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) { r.Status.Phase = p }
}

func leased(r *v1alpha1.JobRun) {
	r.Status.Phase = v1alpha1.PhaseLeased
	r.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity: "job/" + r.Name + "-1", Generation: 1,
		AcquireTime: &metav1.MicroTime{Time: synctestBegins.Add(-30 * time.Second)},
	}
}

// receiptOf makes a JobRun a receipt of a run.
func receiptOf(run string) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) {
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, run
		r.Status.Phase = v1alpha1.PhaseCoalesced
		r.Status.RunRef = &v1alpha1.ObjectReference{Name: run, UID: types.UID("uid-" + run)}
	}
}

func completed(s *v1alpha1.JobRunStatus) {
	s.Phase = v1alpha1.PhaseCompleted
	s.Output = jsonOf(`{"synced":42}`)
	s.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: "Completed"}}
}

func failed(s *v1alpha1.JobRunStatus) {
	s.Phase, s.Error = v1alpha1.PhaseFailed, "it broke"
	s.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Reason: "JobFailed"}}
}

func cancelled(s *v1alpha1.JobRunStatus) {
	s.Phase, s.Error = v1alpha1.PhaseCancelled, "cancelled on request"
	s.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCancelled, Status: metav1.ConditionTrue, Reason: "Cancelled"}}
}

func ending(change func(*v1alpha1.JobRunStatus)) func(*v1alpha1.JobRun) {
	return func(r *v1alpha1.JobRun) { change(&r.Status) }
}

// coalescedBy returns an admit function that makes each trigger a receipt of a run.
func coalescedBy(run string) func(*v1alpha1.JobRun) error {
	return func(r *v1alpha1.JobRun) error {
		r.Spec.Admission.Disposition, r.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, run
		return nil
	}
}

// conflictWith returns an admit function that refuses each trigger, because a run waits.
func conflictWith(run string) func(*v1alpha1.JobRun) error {
	return func(r *v1alpha1.JobRun) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusConflict, Reason: metav1.StatusReasonConflict,
			Message: "run " + run + " is pending",
			Details: &metav1.StatusDetails{Name: r.Name, Causes: []metav1.StatusCause{{Type: "PendingRun", Message: run}}},
		}}
	}
}

// settle waits until each goroutine of the plugin has ended, or waits for time or a change.
func (s *scene) settle() { synctest.Wait() }
