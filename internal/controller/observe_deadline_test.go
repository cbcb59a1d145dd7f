// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"math"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// A deadline counts from when this process first saw the lease. Each lease has a deadline of its own.
func TestDeadlineCountsFromTheLease(t *testing.T) {
	bounded := func() *wrappers.JobRunWrapper { return made("a").Deadline(10) }
	b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), bounded().Pending().Obj())
	store := func(object client.Object) {
		t.Helper()
		if err := b.store.Restore(t.Context(), of(makeKey("k").Leased("a", 1, "5").Obj(), object)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want time.Duration) {
		t.Helper()
		if e := observed(t, b).Executions[wrappers.UIDOf("a")]; e.DeadlineLeft != want || e.Overdue != (want == 0) {
			t.Errorf("overdue %t, %s left, want %s", e.Overdue, e.DeadlineLeft, want)
		}
	}
	expect(10 * time.Second)
	b.clock.Step(4 * time.Second)
	store(unnamed(bounded().Leased(1, "5").Error("no quota")).Obj()) // The claim is stored.
	expect(6 * time.Second)
	b.clock.Step(6 * time.Second)
	expect(0)
	store(bounded().Leased(3, "5").Obj())
	expect(10 * time.Second)
	b.clock.Step(10 * time.Second)
	expect(0)

	restarted := newBench(makeKey("k").Leased("a", 3, "5").Obj(), bounded().Leased(3, "5").Obj())
	restarted.clock.Step(time.Hour)
	if e := observed(t, restarted).Executions[wrappers.UIDOf("a")]; e.DeadlineLeft != 10*time.Second {
		t.Errorf("%s left for a new process, want 10s", e.DeadlineLeft)
	}
}

// A claim that is not stored yet has a Job that the cache may not show.
func TestDeadlineReadsTheJobOfAClaimLive(t *testing.T) {
	run := made("a").Deadline(10).Pending().Obj()
	base := of(makeKey("k").Leased("a", 1, "5").Obj(), run)
	b := newBench(and(base, of(makeJob(run, 1).Complete().Obj()))...).lag(base...)
	observed(t, b)
	b.clock.Step(10 * time.Second)
	if job := observed(t, b).Executions[run.UID].Job; job == nil || len(job.Status.Conditions) == 0 {
		t.Errorf("the finished Job was not read: %v", job)
	}
}

func TestDeadlineOf(t *testing.T) {
	const longest = 9223372036 * time.Second
	for seconds, want := range map[int64]time.Duration{1: time.Second, 1e10: longest, math.MaxInt64: longest} {
		if got := deadlineOf(made("a").Deadline(seconds).Obj()); got != want {
			t.Errorf("%d seconds: %s, want %s", seconds, got, want)
		}
	}
}

// A Job that has finished before the deadline ends its run, even if the cache does not show its end yet.
func TestDeadlineReadsTheJobLive(t *testing.T) {
	run := made("a").Deadline(10).Leased(1, "5").Obj()
	base := of(makeKey("k").Leased("a", 1, "5").Obj(), run)
	another := makeJob(run, 1).Complete().Obj()
	another.UID = "another"
	for name, tc := range map[string]struct {
		stored []client.Object
		step   time.Duration
		want   bool
	}{
		"it has finished":              {of(makeJob(run, 1).Complete().Obj()), 10 * time.Second, true},
		"it has not":                   {of(makeJob(run, 1).Obj()), 10 * time.Second, false},
		"it is gone":                   {nil, 10 * time.Second, false},
		"another of its name finished": {of(another), 10 * time.Second, false},
		"the deadline has not passed":  {of(makeJob(run, 1).Complete().Obj()), 9 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(and(base, tc.stored)...).lag(and(base, of(makeJob(run, 1).Obj()))...)
			observed(t, b)
			b.clock.Step(tc.step)
			if finished := len(observed(t, b).Executions[run.UID].Job.Status.Conditions) > 0; finished != tc.want {
				t.Errorf("finished %t, want %t", finished, tc.want)
			}
		})
	}
}

// The key of an overdue run stays with it until nothing of it executes (I8). Other steps of the key go on.
func TestDeadlineHoldsTheKey(t *testing.T) {
	b := newBench(and(of(makeKey("k").Leased("a", 1, "5").Pending("b").Obj(), made("b").Obj()),
		of(made("a").Deadline(10).Leased(1, "5").Obj(), makeJob(made("a").Obj(), 1).Deleting().Obj()))...)
	b.reconcile(t, home, 10*time.Second)
	b.clock.Step(10 * time.Second)
	expectState(t, b.reconcile(t, home, 0), `key: pending=b leased=a g1<5
		a: Failed, g1<5, finished g1, Failed=DeadlineExceeded, "the lease lasted longer than activeDeadlineSeconds, 10 seconds"
		b: Pending
		job a-1: runs`)
	if n := len(b.sightings.unchanged); n > 0 {
		t.Errorf("%d observations are left of a run that ended", n)
	}
	job := &batchv1.Job{}
	if err := b.store.Get(t.Context(), client.ObjectKey{Namespace: wrappers.Namespace, Name: "a-1"}, job); err != nil {
		t.Fatal(err)
	}
	job.Finalizers = nil
	if err := b.store.Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	expectState(t, b.reconcile(t, home, 0), `key: pending=b unconfirmed=a-1
		a: Failed, g1<5, finished g1, Failed=DeadlineExceeded, "the lease lasted longer than activeDeadlineSeconds, 10 seconds"
		b: Pending`)
}
