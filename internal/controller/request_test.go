// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A change enqueues every request whose decision it may change.
func TestRequests(t *testing.T) {
	home := Request{Namespace: wrappers.Namespace, RunKey: makeKey("k").Obj().Name}
	owner := Request{Namespace: wrappers.Namespace, RunKey: makeIdempotencyKey("i").Obj().Name}
	run := func(name string) Request { return Request{Namespace: wrappers.Namespace, Run: name} }
	foreign := makeJob(made("a").Obj(), 1).Obj()
	foreign.OwnerReferences = nil
	for name, tc := range map[string]struct {
		stored []client.Object
		object client.Object
		want   []Request
	}{
		"a run":                       {nil, made("a").Obj(), []Request{home}},
		"a run without a key":         {nil, keyless("a").Obj(), []Request{run("a")}},
		"a run that ended":            {nil, made("a").Ended(v1alpha1.PhaseFailed).Obj(), []Request{home, run("a")}},
		"a run with idempotencyKey":   {nil, made("a").IdempotencyKey("i").Obj(), []Request{home, owner}},
		"a receipt":                   {nil, answered("r", "a", "4").Obj(), []Request{home, run("a")}},
		"a bound receipt":             {nil, answered("r", "a", "4").BoundTo("a").Obj(), []Request{home, run("a")}},
		"a receipt with an outcome":   {nil, answered("r", "a", "4").BoundTo("a").Settled().Obj(), []Request{home, run("r"), run("a")}},
		"a receipt that became a run": {nil, answered("r", "a", "4").Leased(1, "9").Obj(), []Request{home, run("a")}},
		"a receipt of another run":    {nil, answered("r", "a", "4").BoundTo("b").Obj(), []Request{home, run("a"), run("b")}},
		"a member of a batch":         {nil, made("a").Batch("l").Obj(), []Request{home, run("l")}},
		"a member that has started":   {nil, made("a").Batch("l").Decided(v1alpha1.BatchStarted).Obj(), []Request{home, run("l")}},
		"a leader": {
			of(keyless("m").Batch("l").Obj(), keyless("n").Batch("l").Decided(v1alpha1.BatchStarted).Obj()),
			made("l").Batch("l").Obj(), []Request{home, run("l"), run("m")},
		},
		"a run with a receipt elsewhere": {
			of(delivered("r", "a").Obj(), delivered("s", "a").Key("other").BoundTo("a").Obj(), answered("q", "a", "4").Obj()), made("a").Obj(),
			[]Request{home, run("r"), {Namespace: wrappers.Namespace, RunKey: makeKey("other").Obj().Name}},
		},
		"a run whose twins wait": {
			of(delivered("r", "gone").Obj()), made("a").IdempotencyKey("i").Obj(), []Request{home, owner, run("r")},
		},
		"a run that owns the key of a trigger it absorbed": {
			of(makeIdempotencyKey("theirs").Owner("a").Obj(), makeIdempotencyKey("others").Owner("b").Obj(),
				stored("r").Key("other").IdempotencyKey("theirs").Obj()), made("a").Obj(),
			[]Request{
				home,
				{Namespace: wrappers.Namespace, RunKey: makeIdempotencyKey("theirs").Obj().Name},
				{Namespace: wrappers.Namespace, RunKey: makeKey("other").Obj().Name},
			},
		},
		"a concurrency key": {of(made("a").Obj()), makeKey("k").Pending("a").Obj(), []Request{home}},
		"an idempotency key": {
			of(delivered("r", "gone").Obj(), delivered("s", "gone").Key("k").Obj(), delivered("t", "gone").BoundTo("a").Obj()),
			makeIdempotencyKey("i").Owner("r").Obj(), []Request{owner, run("r"), home},
		},
		"an idempotency key with a TTL": {
			of(delivered("r", "gone").Key("k").BoundTo("gone").Obj(), delivered("s", "gone").Key("other").BoundTo("gone").Settled().Obj()),
			makeIdempotencyKey("i").Owner("gone").Remembered(60).Obj(), []Request{owner, home, run("gone")},
		},
		"a Job of a key":                {nil, makeJob(made("a").Obj(), 1).Obj(), []Request{home, run("a")}},
		"a Job of a run without a key":  {nil, makeJob(keyless("a").Obj(), 1).Obj(), []Request{run("a")}},
		"a foreign Job":                 {nil, &batchv1.Job{}, nil},
		"a foreign Job with our labels": {nil, foreign, []Request{home}},
		"a Pod of a key":                {nil, podOf(makeJob(made("a").Obj(), 1).Obj(), "p", nil), []Request{home}},
		"a Pod of a run without a key":  {nil, podOf(makeJob(keyless("a").Obj(), 1).Obj(), "p", nil), []Request{run("a")}},
		"a foreign Pod":                 {nil, &corev1.Pod{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newBench(tc.stored...).requests(context.Background(), tc.object)); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// A JobRun that had ended before this process started enqueues only what no other object enqueues, because there may be
// 100,000 of them.
func TestRequestsForExisting(t *testing.T) {
	home := Request{Namespace: wrappers.Namespace, RunKey: makeKey("k").Obj().Name}
	run := func(name string) Request { return Request{Namespace: wrappers.Namespace, Run: name} }
	for name, tc := range map[string]struct {
		object client.Object
		want   []Request
	}{
		"a run that ended":               {slim(t, made("a").Ended(v1alpha1.PhaseFailed)), nil},
		"a run without a key that ended": {slim(t, keyless("a").Ended(v1alpha1.PhaseCompleted)), nil},
		"a run that is to be deleted":    {slim(t, made("a").TTL(1).Ended(v1alpha1.PhaseCompleted)), []Request{run("a")}},
		"a run that is to be deleted much later": {
			slim(t, made("a").TTL(3600).Ended(v1alpha1.PhaseCompleted)), nil,
		},
		"a run that owns its idempotency": {slim(t, made("a").IdempotencyKey("i").Ended(v1alpha1.PhaseFailed)), nil},
		"a receipt with an outcome":       {slim(t, answered("r", "a", "4").BoundTo("a").Settled()), []Request{run("a")}},
		"a member that ended": {
			slim(t, made("a").Batch("l").Decided(v1alpha1.BatchStarted).Ended(v1alpha1.PhaseCompleted)), []Request{run("l")},
		},
		"a run whose worker has reported its end": {made("a").Leased(1, "9").Ended(v1alpha1.PhaseCompleted).Obj(), []Request{home, run("a")}},
		"a receipt without an outcome":            {answered("r", "a", "4").BoundTo("a").Obj(), []Request{home, run("a")}},
		"a run":                                   {made("a").Obj(), []Request{home}},
		"a concurrency key":                       {makeKey("k").Leased("a", 1, "9").Obj(), []Request{home}},
		"a Job":                                   {makeJob(made("a").Obj(), 1).Obj(), []Request{home, run("a")}},
		"a Pod":                                   {podOf(makeJob(made("a").Obj(), 1).Obj(), "p", nil), nil},
		"a Job that has ended":                    {makeJob(made("a").Obj(), 1).Complete().Obj(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newBench().RequestsForExisting(t.Context(), tc.object)); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// The handler treats the initial list and a resync as existing objects, and any other event as a change.
func TestHandlerTellsChangesFromExistingObjects(t *testing.T) {
	before := slim(t, made("a").ResourceVersion("1").Ended(v1alpha1.PhaseFailed))
	after := before.DeepCopy()
	after.ResourceVersion = "2"
	b := newBench()
	for name, tc := range map[string]struct {
		tell     func(handler.TypedEventHandler[client.Object, Request], workqueue.TypedRateLimitingInterface[Request])
		enqueues bool
	}{
		"the initial list": {func(h handler.TypedEventHandler[client.Object, Request], q workqueue.TypedRateLimitingInterface[Request]) {
			h.Create(t.Context(), event.CreateEvent{Object: before, IsInInitialList: true}, q)
		}, false},
		"a new object": {func(h handler.TypedEventHandler[client.Object, Request], q workqueue.TypedRateLimitingInterface[Request]) {
			h.Create(t.Context(), event.CreateEvent{Object: before}, q)
		}, true},
		"a resync": {func(h handler.TypedEventHandler[client.Object, Request], q workqueue.TypedRateLimitingInterface[Request]) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: before}, q)
		}, false},
		"a changed object": {func(h handler.TypedEventHandler[client.Object, Request], q workqueue.TypedRateLimitingInterface[Request]) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, q)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[Request]())
			defer queue.ShutDown()
			tc.tell(b.handler(), queue)
			if enqueues := queue.Len() > 0; enqueues != tc.enqueues {
				t.Errorf("enqueues something: %t", enqueues)
			}
		})
	}
}

// A new run that a worker may claim at once is left to the workers for a moment.
func TestHandlerLeavesNewRunsToWorkers(t *testing.T) {
	for name, tc := range map[string]struct {
		run       *wrappers.JobRunWrapper
		isInitial bool
		want      time.Duration
	}{
		"for a worker":                 {makeRun("a").Created(), false, announceDelay},
		"for a worker, with a key":     {makeRun("a").Key("k").Created(), false, 0},
		"for a worker, seen at a list": {makeRun("a").Created(), true, 0},
		"for a Job":                    {keyless("a"), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			added := &delays{after: map[string]time.Duration{}}
			newBench().handler().Create(t.Context(), event.CreateEvent{Object: tc.run.Obj(), IsInInitialList: tc.isInitial}, added)
			for name, after := range added.after {
				if after != tc.want {
					t.Errorf("%s is enqueued after %v, want %v", name, after, tc.want)
				}
			}
			if len(added.after) == 0 {
				t.Error("nothing is enqueued")
			}
		})
	}
}

// slim returns what the cache keeps of a JobRun with an outcome.
func slim(t *testing.T, w *wrappers.JobRunWrapper) *v1alpha1.JobRun {
	t.Helper()
	kind, ok := map[v1alpha1.Phase]string{
		v1alpha1.PhaseFailed: v1alpha1.ConditionFailed, v1alpha1.PhaseCancelled: v1alpha1.ConditionCancelled,
	}[w.Status.Phase]
	if !ok {
		kind = v1alpha1.ConditionComplete
	}
	meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: kind})
	object, err := cache.Slim(w.Obj())
	if err != nil || !cache.IsSlim(w.Obj()) {
		t.Fatalf("the cache would hold all of %v: %v", object, err)
	}
	return w.Obj()
}

// A cache that missed a deletion reports the next object of that name as a change of the deleted one. The home of the
// deleted one is enqueued too.
func TestADeletionThatWasMissed(t *testing.T) {
	before, after := made("a").Obj(), made("a").Key("l").UID("another").Token("another").Obj()
	b := newBench()
	want := []Request{homeRequest(before), homeRequest(after)}
	if diff := cmp.Diff(want, b.RequestsForChange(t.Context(), before, after)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if token := before.Spec.Admission.Token; !b.sightings.wasDeleted(token) {
		t.Error("the deletion is not recorded")
	}
	if diff := cmp.Diff(want[1:], b.RequestsForChange(t.Context(), after, after)); diff != "" {
		t.Errorf("requests of a change (-want +got):\n%s", diff)
	}
}
