// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// reconciledJob reconciles the request for a Job, and returns whether the Job is left and when to look again.
func (b bench) reconciledJob(t *testing.T, job client.Object) (left bool, after time.Duration) {
	t.Helper()
	request := Request{Namespace: wrappers.Namespace, Run: job.GetLabels()[v1alpha1.LabelRun], Job: job.GetName()}
	result, err := b.Reconcile(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	err = b.store.Get(t.Context(), client.ObjectKeyFromObject(job), job.DeepCopyObject().(client.Object))
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return !apierrors.IsNotFound(err), result.RequeueAfter
}

// fleeting returns the finished Job of a run, made from a template with a TTL of 0.
func fleeting(run *v1alpha1.JobRun) *wrappers.JobWrapper {
	job := makeJob(run, 1).Complete()
	job.Annotations[v1alpha1.AnnotationJobTTL] = "0"
	return job
}

// P6: the name of a finished Job is a lock, for a minute from when the lease is given up.
func TestP6LockOfFinishedJob(t *testing.T) {
	ended := func() *wrappers.JobRunWrapper { return made("a").Leased(1, "3").Ended(v1alpha1.PhaseCompleted) }
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		keys []client.Object
		want bool
	}{
		"a key is free":                           {ended(), nil, true},
		"a key leases the next run":               {ended(), of(makeKey("k").Leased("b", 1, "7").Obj()), true},
		"a key leases the run":                    {ended(), of(makeKey("k").Leased("a", 1, "3").Obj()), false},
		"the cached key does not show the claim":  {ended(), of(makeKey("k").Pending("a").Obj()), false},
		"a run without a key":                     {keyless("a").Leased(1, "").Ended(v1alpha1.PhaseFailed), nil, true},
		"a run of that name that does not own it": {ended().UID("other"), nil, false},
		"a run whose outcome is not stored":       {made("a").Leased(1, "3"), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			owner := tc.run.Obj().DeepCopy()
			owner.UID = wrappers.UIDOf("a")
			job := fleeting(owner).Obj()
			b := newBench(append(tc.keys, tc.run.Obj(), job)...)
			b.reconciledJob(t, job)
			b.clock.Step(59 * time.Second)
			if left, _ := b.reconciledJob(t, job); !left {
				t.Error("the Job went after 59 s")
			}
			b.clock.Step(time.Second)
			if left, _ := b.reconciledJob(t, job); left == tc.want {
				t.Errorf("the Job is left after 60 s: %t", left)
			}
		})
	}
	t.Run("a key that is released later", func(t *testing.T) {
		job := fleeting(ended().Obj()).Obj()
		key := makeKey("k").Leased("a", 1, "3").Obj()
		b := newBench(key, ended().Obj(), job)
		if _, after := b.reconciledJob(t, job); after != time.Minute {
			t.Errorf("looks again after %s", after)
		}
		b.clock.Step(time.Minute)
		b.reconciledJob(t, job)
		if err := b.store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if left, after := b.reconciledJob(t, job); !left || after != time.Minute {
			t.Errorf("left %t, looks again after %s", left, after)
		}
	})
}

// A Job that went because of its TTL changes nothing of its run.
func TestExpiredJobIsNotLost(t *testing.T) {
	run := slim(t, made("a").Leased(1, "3").Ended(v1alpha1.PhaseCompleted))
	job := fleeting(run).Obj()
	b := newBench(run, job)
	b.reconciledJob(t, job)
	b.clock.Step(time.Minute)
	if left, _ := b.reconciledJob(t, job); left {
		t.Fatal("the Job is left")
	}
	writes := b.store.Writes()
	for _, request := range b.RequestsForChange(t.Context(), job, nil) {
		b.clock.Step(time.Minute)
		if _, err := b.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(writes, b.store.Writes()); diff != "" {
		t.Errorf("writes after the Job went (-want +got):\n%s", diff)
	}
	if b.sightings.knows(unlockSubject(job.UID)) {
		t.Error("the Job is still remembered")
	}
}

// The end of a run enqueues its Job only if the TTL of the Job ends before the next sweep.
func TestSweepJobs(t *testing.T) {
	ended := func(name string) *v1alpha1.JobRun {
		return made(name).Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()
	}
	jobs := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	var stored []client.Object
	for name, ttl := range map[string]string{"over": "30", "soon": "90", "later": "121", "default": ""} { // They ended a minute ago.
		job := makeJob(ended(name), 1).Complete()
		job.Annotations[v1alpha1.AnnotationJobTTL] = ttl
		stored = append(stored, ended(name), job.Obj())
	}
	executing := made("executing").Leased(1, "5").Obj()
	stored = append(stored, executing, makeJob(executing, 1).Obj(), makeJob(ended("gone"), 1).Complete().Obj())
	b := newBench(stored...)
	b.JobTTL = 100 * time.Second
	for _, object := range stored {
		if err := jobs.Add(object); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]time.Duration{"over-1": 0, "soon-1": 30 * time.Second, "default-1": 40 * time.Second}
	queue := &delays{after: map[string]time.Duration{}}
	b.sweepJobs(t.Context(), jobs, queue)
	if diff := cmp.Diff(want, queue.after); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
	for name, want := range map[string]int{"over": 1, "soon": 1, "later": 0, "default": 1} {
		if got := b.requestsForEndedJob(t.Context(), ended(name)); len(got) != want {
			t.Errorf("the end of %s enqueued %v", name, got)
		}
	}
	queue = &delays{after: map[string]time.Duration{}, length: sweepRoom}
	if b.sweepJobs(t.Context(), jobs, queue); len(queue.after) > 0 {
		t.Errorf("enqueued in a full queue: %v", queue.after)
	}
	b.Shares = partOf() // Another replica owns the key.
	queue = &delays{after: map[string]time.Duration{}}
	if b.sweepJobs(t.Context(), jobs, queue); len(queue.after) > 0 {
		t.Errorf("enqueued without owning the key: %v", queue.after)
	}
}

// A Job may finish after its run has ended, for example at the deadline of the run. Then nothing but the Job's own event tells that
// its TTL has begun.
func TestJobThatEndsLateIsEnqueued(t *testing.T) {
	run := made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Obj()
	job := makeJob(run, 1)
	working := job.Obj().DeepCopy()
	done := job.Complete().Obj()
	c := newScene(t, run, done)
	c.JobTTL = time.Minute
	if got := c.RequestsForChange(t.Context(), working, done); !slices.Contains(got, jobRequest(done)) {
		t.Errorf("enqueued: %v", got)
	}
}
