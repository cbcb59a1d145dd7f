// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// state returns the stored state in the text form of a scene.
func (b bench) state(t *testing.T) string {
	t.Helper()
	var (
		runs v1alpha1.JobRunList
		keys v1alpha1.RunKeyList
		jobs batchv1.JobList
		all  []client.Object
	)
	for _, list := range []client.ObjectList{&runs, &keys, &jobs} {
		if err := b.store.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for i := range runs.Items {
		all = append(all, &runs.Items[i])
	}
	for i := range keys.Items {
		all = append(all, &keys.Items[i])
	}
	for i := range jobs.Items {
		all = append(all, &jobs.Items[i])
	}
	return newScene(t, all...).formatState()
}

// reconcile reconciles a request once and returns the stored state.
func (b bench) reconcile(t *testing.T, req Request, wantAfter time.Duration) string {
	t.Helper()
	result, err := b.Reconcile(t.Context(), req)
	if err != nil || result.RequeueAfter != wantAfter {
		t.Errorf("again after %s, error %v; want %s", result.RequeueAfter, err, wantAfter)
	}
	return b.state(t)
}

func expectState(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(lines(oneSpace(want)), lines(oneSpace(got))); diff != "" {
		t.Errorf("stored (-want +got):\n%s\n%s", diff, got)
	}
}

// A run with a receipt goes from Pending to Completed, one reconcile after the other.
func TestReconcile(t *testing.T) {
	b := newBench(makeKey("k").Pending("a").Obj(), made("a").Obj(), answered("r", "a", "10").Obj())
	expectState(t, b.reconcile(t, home, 0), `key: leased=a g1<10
		a: Leased, g1<10
		r: -
		job a-1: runs`)
	expectState(t, b.reconcile(t, home, obstacleDelay), `key: leased=a g1<10
		a: Leased, g1<10, count 1 [r]
		r: Coalesced, of a
		job a-1: runs`)
	b.finish(t, "a-1", `{"rows": 3}`)
	expectState(t, b.reconcile(t, home, 0), `key: free
		a: Completed, g1<10, finished g1, count 1 [r], output {"rows":3}, Complete=Completed
		r: Coalesced, of a
		job a-1: Complete`)
	settled := `key: free
		a: Completed, g1<10, finished g1, count 1 [r], output {"rows":3}, Complete=Completed
		r: Coalesced, of a, output {"rows":3}, Complete=Completed
		job a-1: Complete`
	expectState(t, b.reconcile(t, home, 0), settled)
	writes := len(b.store.Writes())
	expectState(t, b.reconcile(t, home, 0), settled)
	if n := len(b.store.Writes()); n != writes {
		t.Errorf("at rest it writes %v", b.store.Writes()[writes:])
	}
}

// A Job must not outlive a run without a key. The controller that ended the run may have died before the Job was gone, or
// a paused controller may have created the Job after that.
func TestReconcileEnded(t *testing.T) {
	stray := makeJob(keyless("a").Leased(1, "").Obj(), 1)
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		job  *wrappers.JobWrapper
		want string
	}{
		"its Job executes": {keyless("a").Leased(1, "").Ended(v1alpha1.PhaseFailed), stray, `key: free
			a: Failed, g1, no holder, Failed=`},
		"its Job has ended": {
			keyless("a").Leased(1, "").Ended(v1alpha1.PhaseCompleted), makeJob(keyless("a").Leased(1, "").Obj(), 1).Complete(),
			`key: free
			a: Completed, g1, no holder, Complete=
			job a-1: Complete`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(slim(t, tc.run), tc.job.Obj())
			expectState(t, b.reconcile(t, runRequest(wrappers.Namespace, "a"), 0), tc.want)
		})
	}
}

// finish completes a Job in the way of the Job controller and the kubelet.
func (b bench) finish(t *testing.T, name, message string) {
	t.Helper()
	job := &batchv1.Job{}
	if err := b.store.Get(t.Context(), client.ObjectKey{Namespace: wrappers.Namespace, Name: name}, job); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: wrappers.Namespace, Name: name + "-x", Labels: map[string]string{batchv1.ControllerUidLabel: string(job.UID)},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
		Status: corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: now}},
		}}},
	}
	if err := b.store.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue})
	if err := b.store.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// The reconcile that meets a refusal records it in the status. A later one tries the Job again.
func TestReconcileBlocked(t *testing.T) {
	b := newBench(makeKey("k").Pending("a").Obj(), made("a").Obj())
	quota := true
	b.store.Before = func(verb string, o client.Object) error {
		if _, ok := o.(*batchv1.Job); ok && verb == "create" && quota {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, o.GetName(), errors.New("exceeded quota"))
		}
		return nil
	}
	blocked := `key: leased=a g1<10
		a: Leased, g1<10, "jobs \"a-1\" is forbidden: exceeded quota"`
	expectState(t, b.reconcile(t, home, time.Second), blocked)
	expectState(t, b.reconcile(t, home, time.Second), blocked)
	quota = false
	b.clock.Step(time.Second)
	expectState(t, b.reconcile(t, home, 0), `key: leased=a g1<10
		a: Leased, g1<10
		job a-1: runs`)
}

// A run fails if the API server refuses its Job for a reason that no retry can repair.
func TestReconcileInvalid(t *testing.T) {
	for name, err := range map[string]error{
		"a field":                       apierrors.NewInvalid(schema.GroupKind{Group: "batch", Kind: "Job"}, "a-1", field.ErrorList{field.Required(field.NewPath("spec"), "")}),
		"its size, says the API server": apierrors.NewRequestEntityTooLargeError("limit is 3145728"),
		"its size, says etcd":           apierrors.NewInternalError(errors.New("etcdserver: request is too large")),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(makeKey("k").Pending("a").Obj(), made("a").Obj())
			b.store.Before = func(verb string, o client.Object) error {
				if _, ok := o.(*batchv1.Job); ok && verb == "create" {
					return err
				}
				return nil
			}
			b.reconcile(t, home, 0)
			run := &v1alpha1.JobRun{}
			if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(made("a").Obj()), run); err != nil {
				t.Fatal(err)
			}
			if run.Status.Phase != v1alpha1.PhaseFailed || run.Status.Conditions[0].Reason != decision.ReasonInvalidJob {
				t.Errorf("status %+v", run.Status)
			}
		})
	}
}

// While a step waits for a Job to end, other steps of the key go on.
func TestReconcileWaits(t *testing.T) {
	b := newBench(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("a").Cancel().Leased(1, "5").Obj(), made("b").Obj(),
		makeJob(made("a").Obj(), 1).Deleting().Obj())
	expectState(t, b.reconcile(t, home, 0), `key: pending=b leased=a g1<5
		a: Leased, g1<5
		b: Pending
		job a-1: runs`)
}

// A receipt without room for its status does not block its key. Any user could create such a receipt.
func TestReconcileUnwritableReceipts(t *testing.T) {
	a := made("a").Leased(1, "5").Counted("r1", "r2").Obj()
	b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), a, makeJob(a, 1).Complete().Obj(),
		answered("r1", "a", "4").Age(1).Obj(), answered("r2", "a", "4").Age(2).Obj(), answered("r3", "a", "4").Age(3).Obj())
	refused := apierrors.NewInternalError(errors.New("etcdserver: request is too large"))
	b.store.Before = func(verb string, o client.Object) error {
		if strings.HasPrefix(verb, "status") && (o.GetName() == "r1" || o.GetName() == "r2") {
			return refused
		}
		return nil
	}
	if result, err := b.Reconcile(t.Context(), home); err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("result %+v, error %v", result, err)
	}
	for name, want := range map[string]v1alpha1.Phase{"a": v1alpha1.PhaseCompleted, "r1": ""} {
		stored := &v1alpha1.JobRun{}
		if err := b.store.Get(t.Context(), client.ObjectKey{Namespace: wrappers.Namespace, Name: name}, stored); err != nil {
			t.Fatal(err)
		}
		if stored.Status.Phase != want {
			t.Errorf("%s: phase %q, want %q", name, stored.Status.Phase, want)
		}
	}
}

// Reconcile tries again after a stale read, and returns any other error.
func TestReconcileErrors(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "x", errors.New("x"))
	terminating := apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("x"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, tc := range map[string]struct {
		err     error
		want    reconcile.Result
		wantErr bool
	}{
		"a lost race":                  {conflict, reconcile.Result{RequeueAfter: staleRetry}, false},
		"the namespace is terminating": {terminating, reconcile.Result{}, false},
		"anything else":                {errors.New("connection refused"), reconcile.Result{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(makeKey("k").Pending("a").Obj(), made("a").Obj())
			b.store.Before = func(string, client.Object) error { return tc.err }
			got, err := b.Reconcile(t.Context(), home)
			if got != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("result %+v, error %v", got, err)
			}
		})
	}
}

func TestReconcileIdempotencyKey(t *testing.T) {
	owner := Request{Namespace: wrappers.Namespace, RunKey: makeIdempotencyKey("i").Obj().Name}
	rowOf := func(b bench) string {
		key := &v1alpha1.RunKey{}
		if err := b.store.Get(t.Context(), client.ObjectKey{Namespace: owner.Namespace, Name: owner.RunKey}, key); err != nil {
			return "free"
		}
		return decision.KeyText(&key.Spec)
	}
	t.Run("it goes with its run, after the grace period", func(t *testing.T) {
		b := newBench(makeIdempotencyKey("i").Owner("a").Obj())
		b.reconcile(t, owner, 90*time.Second)
		b.clock.Step(90 * time.Second)
		b.reconcile(t, owner, 0)
		if got := rowOf(b); got != "free" {
			t.Errorf("row %s", got)
		}
	})
	t.Run("at once if the run was seen deleted", func(t *testing.T) {
		b := newBench(makeIdempotencyKey("i").Owner("a").Obj())
		b.deleted(made("a").IdempotencyKey("i").Obj())
		b.reconcile(t, owner, 0)
		if got := rowOf(b); got != "free" {
			t.Errorf("row %s", got)
		}
	})
	t.Run("it stays with its run", func(t *testing.T) {
		b := newBench(makeIdempotencyKey("i").Owner("a").Obj(), made("a").IdempotencyKey("i").Ended(v1alpha1.PhaseFailed).Obj())
		b.reconcile(t, owner, 0)
		if got := rowOf(b); got != "owner=a" {
			t.Errorf("row %s", got)
		}
	})
	t.Run("it is made again", func(t *testing.T) {
		b := newBench(made("a").IdempotencyKey("i").Obj())
		b.reconcile(t, owner, 0)
		if got := rowOf(b); got != "owner=a" {
			t.Errorf("row %s", got)
		}
	})
}

func TestReconcileRetention(t *testing.T) {
	run := made("a").TTL(90).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Reported().Obj()
	request := runRequest(wrappers.Namespace, "a")
	exists := func(b bench, name string) bool {
		return b.store.Get(t.Context(), client.ObjectKey{Namespace: wrappers.Namespace, Name: name}, &v1alpha1.JobRun{}) == nil
	}
	t.Run("in time", func(t *testing.T) {
		b := newBench(run)
		b.reconcile(t, request, 30*time.Second)
		if !exists(b, "a") {
			t.Error("it went too early")
		}
		b.clock.Step(30 * time.Second)
		b.reconcile(t, request, 0)
		if exists(b, "a") {
			t.Error("it is still there")
		}
	})
	t.Run("by its own clock, if another is ahead", func(t *testing.T) {
		ahead := run.DeepCopy()
		ahead.Status.CompletionTime = &metav1.Time{Time: now.Add(time.Hour)}
		b := newBench(ahead)
		b.reconcile(t, request, 0) // a sweep enqueues it again
		b.clock.Step(60 * time.Second)
		b.reconcile(t, request, 30*time.Second)
		b.clock.Step(30 * time.Second)
		b.reconcile(t, request, 0)
		if exists(b, "a") {
			t.Error("it is still there")
		}
		b.deleted(ahead)
		if n := len(b.sightings.unchanged); n > 0 {
			t.Errorf("%d observations are left of what is gone", n)
		}
	})
	t.Run("not before its receipts", func(t *testing.T) {
		for name, receipt := range map[string]client.Object{
			"uncounted": answered("r", "a", "4").Obj(), "without outcome": answered("r", "a", "4").BoundTo("a").Obj(),
		} {
			b := newBench(run, receipt)
			b.clock.Step(time.Hour)
			b.reconcile(t, request, 0)
			if !exists(b, "a") {
				t.Errorf("it went before a receipt %s", name)
			}
		}
	})
	t.Run("history", func(t *testing.T) {
		b := newBench(run, answered("r1", "a", "4").Age(1).BoundTo("a").Obj(), answered("r2", "a", "4").Age(2).BoundTo("a").Obj())
		b.ReceiptHistory = 1
		b.reconcile(t, request, 0)
		if exists(b, "r1") || !exists(b, "r2") {
			t.Error("not the oldest receipt went")
		}
	})
	t.Run("what cannot be deleted keeps no run from its end", func(t *testing.T) {
		a := keyless("a").IdempotencyKey("i").Leased(1, "").Obj()
		b := newBench(a, makeJob(a, 1).Complete().Obj(), made("r1").IdempotencyKey("i").DeliveredAs("a").Age(1).BoundTo("a").Obj())
		b.ReceiptHistory = 0
		b.store.Before = func(verb string, _ client.Object) error {
			if strings.HasPrefix(verb, "delete") {
				return errors.New("denied by a policy")
			}
			return nil
		}
		result, err := b.Reconcile(t.Context(), Request{Namespace: wrappers.Namespace, Run: "a"})
		if err != nil || result.RequeueAfter != time.Minute {
			t.Errorf("result %+v, error %v", result, err)
		}
		stored := &v1alpha1.JobRun{}
		if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(a), stored); err != nil {
			t.Fatal(err)
		}
		if stored.Status.Phase != v1alpha1.PhaseCompleted {
			t.Errorf("phase %s", stored.Status.Phase)
		}
	})
	t.Run("a run that is gone", func(t *testing.T) { newBench().reconcile(t, request, 0) })
}
