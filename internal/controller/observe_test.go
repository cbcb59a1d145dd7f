// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

var home = Request{Namespace: wrappers.Namespace, RunKey: makeKey("k").Obj().Name}

// lagging reads from its own cache and writes to the shared store.
type lagging struct {
	client.Client
	cache *wrappers.Store
}

func (l lagging) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return l.cache.Get(ctx, key, o, opts...)
}

func (l lagging) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return l.cache.List(ctx, list, opts...)
}

// lag gives the controller a cache that shows only the given objects.
func (b bench) lag(cached ...client.Object) bench {
	cache := newBench(cached...).store
	b.Client = lagging{b.store, cache}
	b.Keys = keystore.New(keystore.Options{Cached: cache, Live: b.store, Writer: b.store, Clock: b.clock})
	return b
}

func observed(t *testing.T, b bench) decision.Observation {
	t.Helper()
	o, err := b.observeHome(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// P7: a reservation has lapsed when this process has seen it without its run for the grace period, and a live read does
// not show the run either.
func TestReservationGrace(t *testing.T) {
	key := makeKey("k").Pending("a").Obj()
	t.Run("after the grace period", func(t *testing.T) {
		b := newBench(key)
		for _, step := range []time.Duration{0, time.Minute, 29 * time.Second} {
			b.clock.Step(step)
			if o := observed(t, b); o.ReservationLapsed || len(o.Gone) > 0 {
				t.Fatalf("lapsed %s early", o.Recheck)
			}
		}
		if o := observed(t, b); o.Recheck != time.Second {
			t.Errorf("look again after %s, want 1s", o.Recheck)
		}
		b.clock.Step(time.Second)
		if o := observed(t, b); !o.ReservationLapsed {
			t.Error("not lapsed after the grace period")
		}
	})
	t.Run("each reservation has its own", func(t *testing.T) {
		b := newBench(key)
		observed(t, b)
		b.clock.Step(89 * time.Second)
		stored := &v1alpha1.RunKey{}
		if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(key), stored); err != nil {
			t.Fatal(err)
		}
		stored.Spec = *makeKey("k").Pending("b").Row()
		if err := b.store.Update(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		observed(t, b)
		b.clock.Step(2 * time.Second)
		if o := observed(t, b); o.ReservationLapsed {
			t.Error("lapsed with the time of another reservation")
		}
	})
	t.Run("not while the run is there", func(t *testing.T) {
		b := newBench(key, made("a").Obj())
		b.clock.Step(time.Hour)
		if o := observed(t, b); o.ReservationLapsed || len(o.Runs) != 1 {
			t.Errorf("lapsed %t, runs %v", o.ReservationLapsed, o.Runs)
		}
	})
	t.Run("not while it is there and the cache does not show it", func(t *testing.T) {
		b := newBench(key, made("a").Obj()).lag(key)
		observed(t, b)
		b.clock.Step(time.Hour)
		if _, err := b.observeHome(t.Context(), home); !errors.Is(err, errStale) {
			t.Errorf("error %v, want stale", err)
		}
	})
	t.Run("at once if it was seen deleted", func(t *testing.T) {
		b := newBench(key)
		b.deleted(made("a").Obj())
		if o := observed(t, b); !o.ReservationLapsed {
			t.Error("not lapsed")
		}
	})
	t.Run("not if another of its name was", func(t *testing.T) {
		b := newBench(key)
		b.deleted(made("a").Token("earlier").Obj())
		if o := observed(t, b); o.ReservationLapsed {
			t.Error("lapsed")
		}
	})
	t.Run("at once if it has executed before", func(t *testing.T) {
		if o := observed(t, newBench(makeKey("k").Pending("a").LastGeneration(2).Obj())); !o.ReservationLapsed {
			t.Error("not lapsed")
		}
	})
	t.Run("with another run of its name", func(t *testing.T) {
		b := newBench(key, made("a").Token("other").Obj())
		if o := observed(t, b); o.ReservationLapsed {
			t.Error("lapsed, although the other run may be deleted before the create is applied")
		}
		b.clock.Step(time.Hour)
		if o := observed(t, b); !o.ReservationLapsed {
			t.Error("not lapsed")
		}
	})
}

// A run that the cache does not show counts as gone only if a live read does not show it either.
func TestGoneIsSeenLive(t *testing.T) {
	receipt := answered("r", "a", "4").Obj()
	bound := answered("r", "a", "4").BoundTo("a").Obj()
	ended := made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()
	other := made("a").UID("other").Token("other").Obj()
	leased := makeKey("k").Leased("a", 1, "5").Obj()
	for name, tc := range map[string]struct {
		stored, cached []client.Object
		// id is empty if the controller looks for the run by its UID.
		id   runkey.Identity
		want string
	}{
		"the run of a receipt ended":                     {of(receipt, ended), nil, runkey.IdentityOf(ended), "other"},
		"the run of a receipt is gone":                   {of(receipt), nil, runkey.IdentityOf(ended), "gone"},
		"the run of a receipt is another of its name":    {of(receipt, other), nil, runkey.IdentityOf(ended), "gone"},
		"the run of a receipt is gone from the cache":    {of(receipt, ended), of(receipt), runkey.IdentityOf(ended), "stale"},
		"the run of a bound receipt ended":               {of(bound, ended), nil, runkey.Identity{}, "other"},
		"the run of a bound receipt is gone":             {of(bound), nil, runkey.Identity{}, "gone"},
		"the run of a bound receipt is another by UID":   {of(bound, other), nil, runkey.Identity{}, "gone"},
		"the run of a bound receipt is not in the cache": {of(bound, ended), of(bound), runkey.Identity{}, "stale"},
		"the run with the lease ended":                   {of(leased, ended), nil, runkey.IdentityOf(ended), "other"},
		"the run with the lease is gone":                 {of(leased), nil, runkey.IdentityOf(ended), "gone"},
		"the run with the lease is not in the cache":     {of(leased, ended), of(leased), runkey.IdentityOf(ended), "stale"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(tc.stored...)
			if tc.cached != nil {
				b = b.lag(tc.cached...)
			}
			o, err := b.observeHome(t.Context(), home)
			got := "unknown"
			switch {
			case errors.Is(err, errStale):
				got = "stale"
			case err != nil:
				t.Fatal(err)
			case o.Gone[tc.id] || (tc.id == runkey.Identity{} && o.GoneUIDs[ended.UID]):
				got = "gone"
			case len(o.Others) == 1 && o.Others[0].UID == ended.UID:
				got = "other"
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// P8: the observer reads the runs that receipts are counted on before it lists the receipts.
func TestReceiptsAreListedLast(t *testing.T) {
	b := newBench(makeKey("k").Pending("a").Obj(), made("a").Obj(), answered("r", "a", "10").Obj())
	o := observed(t, b)
	if len(o.Runs) != 2 || len(o.Relisted) != 2 {
		t.Fatalf("%d runs, %d receipts", len(o.Runs), len(o.Relisted))
	}
	// A receipt that is created between the two lists is only in Relisted.
	late := answered("late", "a", "10").Obj()
	late.ResourceVersion = ""
	lists := 0
	b.Client = stepIn{b.store, func() {
		if lists++; lists == 2 {
			if err := b.store.Create(t.Context(), late); err != nil {
				t.Error(err)
			}
		}
	}}
	o = observed(t, b)
	if len(o.Runs) != 2 || len(o.Relisted) != 3 {
		t.Errorf("%d runs, %d receipts; want the late one among receipts alone", len(o.Runs), len(o.Relisted))
	}
}

type stepIn struct {
	client.Client
	before func()
}

func (c stepIn) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.before()
	return c.Client.List(ctx, list, opts...)
}

// The lease of a dead worker expires one duration after its last renewal, whenever the controller last looked at its
// runs. The controller does not read the Lease live before that.
func TestLeaseExpiryFromTheLastRenewal(t *testing.T) {
	worker := makeRun("a").Key("k").LeaseSeconds(10).Created().Leased(1, "5").Holder("worker").Obj()
	b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), worker)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "worker"}}
	renew := func(shift time.Duration) { // shift is the error of the worker's clock
		at := metav1.NewMicroTime(b.clock.Now().Add(shift))
		lease.Spec.RenewTime = &at
		b.renewals().Update(t.Context(), event.TypedUpdateEvent[client.Object]{ObjectNew: lease.DeepCopy()}, nil)
	}
	expect := func(want time.Duration) {
		t.Helper()
		if e := observed(t, b).Executions[worker.UID]; !e.Expires || e.Left != want {
			t.Errorf("expires %t in %s, want %s", e.Expires, e.Left, want)
		}
	}
	renew(time.Hour)
	expect(10 * time.Second)
	b.clock.Step(3 * time.Second)
	renew(-time.Hour)
	b.clock.Step(3 * time.Second)
	renew(0)
	b.clock.Step(4 * time.Second)
	expect(6 * time.Second)
	b.clock.Step(6 * time.Second)
	expect(0)
	// The stored renewal has not reached the watch yet.
	lease.Spec.RenewTime.Time = b.clock.Now()
	if err := b.store.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	expect(10 * time.Second)
}

// A Lease that the bounded renewals have dropped between two looks does not count as renewed.
func TestLeaseExpiryOfAForgottenLease(t *testing.T) {
	worker := makeRun("a").Key("k").LeaseSeconds(10).Created().Leased(1, "5").Holder("worker").Obj()
	at := metav1.NewMicroTime(now.Time)
	b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), worker, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "worker"}, Spec: coordinationv1.LeaseSpec{RenewTime: &at},
	})
	for _, want := range []time.Duration{10 * time.Second, 5 * time.Second, 0} {
		b.sightings.renewals.Clear()
		if e := observed(t, b).Executions[worker.UID]; !e.Expires || e.Left != want {
			t.Errorf("expires %t in %s, want %s", e.Expires, e.Left, want)
		}
		b.clock.Step(5 * time.Second)
	}
}

// A lease expires when this process has seen it unchanged for its duration.
func TestLeaseExpiry(t *testing.T) {
	worker := makeRun("a").Key("k").LeaseSeconds(10).Created().Leased(1, "5").Holder("worker").Obj()
	renewals := map[string]func(*testing.T, bench){
		"its own renewTime": func(t *testing.T, b bench) {
			run := &v1alpha1.JobRun{}
			if err := b.store.Get(t.Context(), client.ObjectKeyFromObject(worker), run); err != nil {
				t.Fatal(err)
			}
			at := metav1.NewMicroTime(b.clock.Now())
			run.Status.Lease.RenewTime = &at
			if err := b.store.Status().Update(t.Context(), run); err != nil {
				t.Fatal(err)
			}
		},
		"the Lease of its holder": func(t *testing.T, b bench) {
			at := metav1.NewMicroTime(b.clock.Now())
			lease := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "worker"}, Spec: coordinationv1.LeaseSpec{RenewTime: &at},
			}
			if err := b.store.Create(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, renew := range renewals {
		t.Run(name, func(t *testing.T) {
			b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), worker)
			expect := func(want time.Duration) {
				t.Helper()
				if e := observed(t, b).Executions[worker.UID]; !e.Expires || e.Left != want {
					t.Errorf("expires %t in %s, want %s", e.Expires, e.Left, want)
				}
			}
			expect(10 * time.Second)
			b.clock.Step(9 * time.Second)
			expect(time.Second)
			renew(t, b)
			expect(10 * time.Second)
			b.clock.Step(10 * time.Second)
			expect(0)
		})
	}
}

// The output of a finished Job is read even if the cache does not show the Job.
func TestOutputOfAJobThatTheCacheMisses(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	job := makeJob(run, 1).Complete().Obj()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "p",
			Labels: map[string]string{batchv1.ControllerUidLabel: string(job.UID)}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
		Status: corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "42"}},
		}}},
	}
	base := of(makeKey("k").Leased("a", 1, "5").Obj(), run)
	o := observed(t, newBench(and(base, of(job, pod))...).lag(base...))
	if e := o.Executions[run.UID]; e.Output == nil || string(e.Output.Raw) != "42" {
		t.Errorf("output %v", e.Output)
	}
}

// What failed in the Pods of a failed Job is read, from all of its Pods.
func TestFailureOfAJob(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	job := makeJob(run, 1).Failed("BackoffLimitExceeded", "too often").Obj()
	pod := func(name string, job types.UID, code int32, seconds int) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: name, UID: wrappers.UIDOf(name),
				Labels: map[string]string{batchv1.ControllerUidLabel: string(job)}},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
				Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: wrappers.At(seconds)}},
			}}},
		}
	}
	o := observed(t, newBench(makeKey("k").Leased("a", 1, "5").Obj(), run, job,
		pod("p", job.UID, 1, 1), pod("q", job.UID, 3, 2), pod("r", "other", 4, 3)))
	if e := o.Executions[run.UID]; e.Failure == nil || *e.Failure.ExitCode != 3 || e.Output != nil {
		t.Errorf("failure %+v, output %v", e.Failure, e.Output)
	}
}

// I8: a Job that the cache does not show counts as gone only if live reads show neither the Job nor a running Pod of it.
func TestJobGone(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	job := makeJob(run, 1).Obj()
	unlabelled := makeJob(run, 1).Obj()
	unlabelled.Labels = nil
	anotherJob := makeJob(run, 1).Obj()
	anotherJob.UID = "another"
	pod := func(phase corev1.PodPhase) client.Object {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: wrappers.Namespace, Name: "p",
				Labels: map[string]string{v1alpha1.LabelRun: "a"}, Annotations: map[string]string{v1alpha1.AnnotationToken: "token-a"}},
			Status: corev1.PodStatus{Phase: phase},
		}
	}
	working := func(job *batchv1.Job) client.Object { return podOf(job, "w", nil) }
	for name, tc := range map[string]struct {
		stored, cached []client.Object
		known          bool
		after          time.Duration
		lost           bool
	}{
		"it is there":                      {stored: of(job, working(job)), known: true},
		"it is there and not in the cache": {stored: of(job, working(job)), cached: of(working(job)), known: true, after: 5 * time.Second},
		"it is there and not labelled":     {stored: of(unlabelled, working(job)), known: true, after: 5 * time.Second},
		"it is gone":                       {after: 5 * time.Second, lost: true},
		"another of its name is there":     {stored: of(anotherJob, working(anotherJob)), known: true},
		"it is gone and a Pod runs":        {stored: of(pod(corev1.PodRunning)), after: 5 * time.Second},
		"it is gone and the cache lags":    {stored: of(pod(corev1.PodRunning)), cached: []client.Object{}, after: 5 * time.Second},
		"it is gone and its Pods ended":    {stored: of(pod(corev1.PodFailed)), after: 5 * time.Second, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			base := of(makeKey("k").Leased("a", 1, "5").Obj(), run)
			b := newBench(and(base, tc.stored)...)
			if tc.cached != nil {
				b = b.lag(and(base, tc.cached)...)
			}
			o := observed(t, b)
			if e := o.Executions[run.UID]; e.JobLost || e.JobGone || (e.Job != nil) != tc.known || o.Recheck != tc.after {
				t.Errorf("lost %t, gone %t, Job %v, look again after %s", e.JobLost, e.JobGone, e.Job != nil, o.Recheck)
			}
			b.clock.Step(lossPatience)
			if e := observed(t, b).Executions[run.UID]; e.JobLost != tc.lost {
				t.Errorf("later: lost %t", e.JobLost)
			}
		})
	}
}

func TestLeaseDuration(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want time.Duration
	}{
		"a Job's lease ends with the Job":      {made("a").Leased(1, "5").Obj(), 0},
		"a Job asked for heartbeats":           {made("a").LeaseSeconds(5).Leased(1, "5").Obj(), 5 * time.Second},
		"a worker's lease":                     {makeRun("a").Leased(1, "5").Obj(), 30 * time.Second},
		"a worker's lease as long as the spec": {makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj(), 7 * time.Second},
		"a worker's lease as long as it says":  {workerLease(9), 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leaseDuration(tc.run); got != tc.want {
				t.Errorf("leaseDuration() = %s, want %s", got, tc.want)
			}
		})
	}
}

func workerLease(seconds int32) *v1alpha1.JobRun {
	run := makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj()
	run.Status.Lease.DurationSeconds = seconds
	return run
}
