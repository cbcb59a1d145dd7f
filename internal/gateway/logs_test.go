// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
)

const logsOfA = "/v1/namespaces/default/runs/a/logs"

// leasedRun returns a run that a Job executes under a generation.
func leasedRun(name string, generation int64, change ...func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{ObjectMeta: named(name)}
	run.UID = types.UID("uid-" + name)
	run.Spec = v1alpha1.JobRunSpec{JobName: "sync", Admission: &v1alpha1.Admission{
		Executor: v1alpha1.ExecutorJob, Token: "t-" + name, Disposition: v1alpha1.DispositionCreated,
	}}
	run.Status.Phase = v1alpha1.PhaseLeased
	run.Status.Lease = &v1alpha1.RunLease{Generation: generation}
	for _, change := range change {
		change(run)
	}
	return run
}

// podOfJob returns a Pod of the Job of a run. Its container main runs.
func podOfJob(name, run string, generation int64, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: named(name)}
	pod.Labels = map[string]string{v1alpha1.LabelRun: run}
	pod.Annotations = map[string]string{v1alpha1.AnnotationToken: "t-" + run}
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "batch/v1", Kind: "Job", Name: fmt.Sprintf("%s-%d", run, generation), Controller: ptr.To(true),
	}}
	pod.Spec.Containers = []corev1.Container{{Name: "main"}, {Name: "side"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}, {Name: "side"},
	}
	for _, change := range change {
		change(pod)
	}
	return pod
}

// opened are the logs that a gateway opened.
type opened struct {
	pod     string
	options corev1.PodLogOptions
}

func withLog(text string, last *opened) func(*Options) {
	return func(o *Options) {
		o.Streams = events.DefaultOptions
		o.OpenLog = func(_ context.Context, pod types.NamespacedName, options *corev1.PodLogOptions) (io.ReadCloser, error) {
			*last = opened{pod.Name, *options}
			return io.NopCloser(strings.NewReader(text)), nil
		}
	}
}

func TestLogs(t *testing.T) {
	older := metav1.NewTime(time.Now().Add(-time.Hour))
	api := newFake(t, leasedRun("a", 2),
		podOfJob("a-1-x", "a", 1),
		podOfJob("a-2-x", "a", 2, func(pod *corev1.Pod) { pod.CreationTimestamp = older }),
		podOfJob("a-2-y", "a", 2, func(pod *corev1.Pod) { pod.CreationTimestamp = metav1.Now() }),
		podOfJob("a-2-z", "a", 2, func(pod *corev1.Pod) { pod.Annotations[v1alpha1.AnnotationToken] = "an earlier run's" }),
		leasedRun("receipt", 0, func(run *v1alpha1.JobRun) {
			run.Status = v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseCoalesced, RunRef: &v1alpha1.ObjectReference{Name: "a", UID: "uid-a"}}
		}),
	)
	var last opened
	g := newGate(t, api, withLog("one\ntwo\n", &last))
	for _, path := range []string{logsOfA, "/v1/namespaces/default/runs/receipt/logs"} {
		got := g.send("GET", path, "")
		if got.Code != http.StatusOK || got.Body.String() != "one\ntwo\n" || got.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %v %s", path, got.Code, got.Header(), got.Body)
		}
		if last.pod != "a-2-y" || last.options.Container != "main" {
			t.Errorf("%s: the log of %+v", path, last)
		}
	}
	g.send("GET", logsOfA+"?follow=true&tailLines=0&sinceSeconds=60&timestamps=true&container=main", "")
	o := last.options
	if !o.Follow || !o.Timestamps || o.Previous || *o.TailLines != 0 || *o.SinceSeconds != 60 || o.Container != "main" {
		t.Errorf("options: %+v", o)
	}
}

func TestThereAreNoLogs(t *testing.T) {
	waiting := func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
	}
	for name, tc := range map[string]struct {
		query, want string
		code        int
		reason      metav1.StatusReason
		objects     []client.Object
	}{
		"no such run": {want: `"a" not found`, code: 404, reason: metav1.StatusReasonNotFound},
		"a worker's": {
			want: "an external worker executes run a", code: 404, reason: metav1.StatusReasonNotFound,
			objects: []client.Object{leasedRun("a", 1, func(run *v1alpha1.JobRun) { run.Spec.Admission.Executor = v1alpha1.ExecutorWorker })},
		},
		"it waits": {
			want: "run a has no Pod yet: it is Pending", code: 409, reason: metav1.StatusReasonConflict,
			objects: []client.Object{leasedRun("a", 0, func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhasePending })},
		},
		"the next attempt has no Pod": {
			want: "run a has no Pod yet: it is Leased, quota", code: 409, reason: metav1.StatusReasonConflict,
			objects: []client.Object{leasedRun("a", 2, func(run *v1alpha1.JobRun) { run.Status.Error = "quota" }), podOfJob("a-1-x", "a", 1)},
		},
		"it has ended": {
			want: "run a has ended, and its Pod is gone", code: 404, reason: metav1.StatusReasonNotFound,
			objects: []client.Object{leasedRun("a", 1, func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhaseCompleted })},
		},
		"not decided": {
			want: "not decided yet", code: 409, reason: metav1.StatusReasonConflict,
			objects: []client.Object{leasedRun("a", 0, func(run *v1alpha1.JobRun) {
				run.Spec.Admission.Disposition, run.Status = v1alpha1.DispositionCoalesced, v1alpha1.JobRunStatus{}
			})},
		},
		"it starts": {
			want: "container main of Pod a-1-x has not started: ImagePullBackOff", code: 409, reason: metav1.StatusReasonConflict,
			objects: []client.Object{leasedRun("a", 1), podOfJob("a-1-x", "a", 1, waiting)},
		},
		"not restarted": {
			query: "?previous=true", want: "was not restarted", code: 404, reason: metav1.StatusReasonNotFound,
			objects: []client.Object{leasedRun("a", 1), podOfJob("a-1-x", "a", 1)},
		},
		"no such container": {
			query: "?container=other", want: `no container "other", but main, side`, code: 400, reason: metav1.StatusReasonBadRequest,
			objects: []client.Object{leasedRun("a", 1), podOfJob("a-1-x", "a", 1)},
		},
		"no such parameter": {query: "?tail=1", want: `no parameter "tail"`, code: 400, reason: metav1.StatusReasonBadRequest},
		"a negative number": {query: "?tailLines=-1", want: "tailLines must be a number", code: 400, reason: metav1.StatusReasonBadRequest},
		"no seconds":        {query: "?sinceSeconds=0", want: "sinceSeconds must be a number of at least 1", code: 400, reason: metav1.StatusReasonBadRequest},
		"neither":           {query: "?follow=yes", want: "follow must be true or false", code: 400, reason: metav1.StatusReasonBadRequest},
		"no name":           {query: "?container=a%2Fb", want: "no name of a container", code: 400, reason: metav1.StatusReasonBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, newFake(t, tc.objects...), withLog("", &opened{}))
			if status := g.send("GET", logsOfA+tc.query, "").wantStatus(tc.code, tc.reason); !strings.Contains(status.Message, tc.want) {
				t.Errorf("%q, not %q", status.Message, tc.want)
			}
		})
	}
	off := newGate(t, newFake(t, leasedRun("a", 1), podOfJob("a-1-x", "a", 1)))
	if status := off.send("GET", logsOfA, "").wantStatus(404, metav1.StatusReasonNotFound); !strings.Contains(status.Message, "--gateway-logs") {
		t.Error(status.Message)
	}
}

func TestLogsNeedRights(t *testing.T) {
	for _, denied := range []string{"get default/jobruns/a", "get default/pods/"} {
		g := newGate(t, newFake(t, leasedRun("a", 1), podOfJob("a-1-x", "a", 1)), withLog("", &opened{}))
		g.denied[denied] = true
		g.send("GET", logsOfA, "").wantStatus(403, metav1.StatusReasonForbidden)
	}
	g := newGate(t, newFake(t, leasedRun("a", 1), podOfJob("a-1-x", "a", 1)), withLog("", &opened{}))
	g.denied["get default/pods/"] = true
	if status := g.send("GET", logsOfA, "").wantStatus(403, metav1.StatusReasonForbidden); !strings.Contains(status.Message,
		`the verb get on pods/log`) || !strings.Contains(status.Message, `{apiGroups: [""], resources: [pods/log], verbs: [get]}`) {
		t.Error(status.Message)
	}
}

// What the API server refuses the gateway itself is a 500, and what it says about a log is passed on.
func TestLogsThatCannotBeOpened(t *testing.T) {
	forbidden := apierrors.NewForbidden(pods.GroupResource(), "a-1-x",
		errors.New(`User "gateway" cannot get resource "pods/log" in API group "" in the namespace "default"`))
	for want, refusal := range map[int]error{
		500: forbidden, 404: apierrors.NewNotFound(pods.GroupResource(), "a-1-x"), 400: apierrors.NewBadRequest("no"), 503: io.ErrUnexpectedEOF,
	} {
		g := newGate(t, newFake(t, leasedRun("a", 1), podOfJob("a-1-x", "a", 1)), withLog("", &opened{}), func(o *Options) {
			o.OpenLog = func(context.Context, types.NamespacedName, *corev1.PodLogOptions) (io.ReadCloser, error) {
				return nil, refusal
			}
		})
		if got := g.send("GET", logsOfA, ""); got.Code != want {
			t.Errorf("%v: %d %s", refusal, got.Code, got.Body)
		}
	}
}

// followed is the log of a container that runs on after its first line.
type followed struct {
	*gate
	client *http.Client
	url    string
	// lines is the container.
	lines *io.PipeWriter
}

func follow(t *testing.T, change ...func(*Options)) *followed {
	t.Helper()
	reader, writer := io.Pipe()
	change = append([]func(*Options){withLog("", &opened{}), func(o *Options) {
		o.OpenLog = func(context.Context, types.NamespacedName, *corev1.PodLogOptions) (io.ReadCloser, error) {
			return reader, nil
		}
	}}, change...)
	f := &followed{gate: newGate(t, newFake(t, leasedRun("a", 1), podOfJob("a-1-x", "a", 1)), change...), lines: writer}
	server := httptest.NewTLSServer(f.gate)
	t.Cleanup(server.Close)
	f.client, f.url = server.Client(), server.URL
	return f
}

// open opens the log, and reads the first line of the container.
func (f *followed) open() *http.Response {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.url+logsOfA+"?follow=true", http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer ann")
	response, err := f.client.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = response.Body.Close() })
	go func() { _, _ = io.WriteString(f.lines, "one\n") }()
	first := make([]byte, 4)
	if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != "one\n" {
		f.t.Fatalf("%q, %v", first, err)
	}
	return response
}

// A log that is whole ends its answer. One that is cut breaks the connection, so that nobody takes it for whole.
func TestHowALogEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		end   func(*followed)
		whole bool
	}{
		"with its container":     {func(f *followed) { _ = f.lines.Close() }, true},
		"by a lost node":         {func(f *followed) { _ = f.lines.CloseWithError(errors.New("connection reset")) }, false},
		"when the gateway stops": {func(f *followed) { f.Drain() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow(t)
			response := f.open()
			tc.end(f)
			if rest, err := io.ReadAll(response.Body); (err == nil) != tc.whole || len(rest) > 0 {
				t.Errorf("%q, %v", rest, err)
			}
		})
	}
}

// A log is followed as long as the caller has the rights, and is one of the caller's streams.
func TestAFollowedLogIsAStream(t *testing.T) {
	watch := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
	var revoked atomic.Bool
	f := follow(t, func(o *Options) {
		o.Clock, o.Streams.PerCaller = watch, 1
		may := o.Authorizer
		o.Authorizer = authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetResource() == "pods" && a.GetSubresource() == "log" && revoked.Load() {
				return authorizer.DecisionNoOpinion, "", nil
			}
			return may.Authorize(ctx, a)
		})
	})
	response := f.open()
	f.send("GET", logsOfA, "").wantStatus(429, metav1.StatusReasonTooManyRequests)
	for before := f.asked.Load(); f.asked.Load() < before+4; time.Sleep(time.Millisecond) { // it asks for two rights each minute
		watch.Step(time.Minute)
	}
	go func() { _, _ = io.WriteString(f.lines, "two\n") }()
	second := make([]byte, 4)
	if _, err := io.ReadFull(response.Body, second); err != nil || string(second) != "two\n" {
		t.Fatalf("%q, %v", second, err)
	}
	revoked.Store(true)
	ended := make(chan error)
	go func() {
		_, err := io.ReadAll(response.Body)
		ended <- err
	}()
	for {
		watch.Step(time.Minute)
		select {
		case err := <-ended:
			if err == nil {
				t.Error("the end looks like that of a whole log")
			}
			if leave, err := f.streams.Enter("ann"); err != nil {
				t.Error(err)
			} else {
				leave()
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
