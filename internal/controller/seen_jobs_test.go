// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// The informer of Jobs tells every replica how Jobs end. Of a Job that a list found missing, the process knows what it
// saw before.
func TestJobWatch(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	executes, completed := makeJob(run, 1).Obj(), makeJob(run, 1).Complete().Since(5).Obj()
	deleted := makeJob(run, 1).Complete().Since(5).DeletingAt(5).Obj()
	replaced := makeJob(run, 1).Obj()
	replaced.UID = "later"
	missing := func(job *batchv1.Job) any { return toolscache.DeletedFinalStateUnknown{Key: "default/a-1", Obj: job} }
	for name, tc := range map[string]struct {
		feed  func(toolscache.ResourceEventHandler)
		want  fate
		known bool
	}{
		"added":                        {func(h toolscache.ResourceEventHandler) { h.OnAdd(completed, true) }, fateOpen, false},
		"added while it is deleted":    {func(h toolscache.ResourceEventHandler) { h.OnAdd(deleted, true) }, fateLost, true},
		"completed":                    {func(h toolscache.ResourceEventHandler) { h.OnUpdate(executes, completed) }, fateOpen, false},
		"deleted after its end":        {func(h toolscache.ResourceEventHandler) { h.OnUpdate(completed, deleted) }, fateEnded, true},
		"both at once, after a list":   {func(h toolscache.ResourceEventHandler) { h.OnUpdate(executes, deleted) }, fateLost, true},
		"gone after its end":           {func(h toolscache.ResourceEventHandler) { h.OnDelete(completed) }, fateEnded, true},
		"gone while it executed":       {func(h toolscache.ResourceEventHandler) { h.OnDelete(executes) }, fateLost, true},
		"missing, seen at its end":     {func(h toolscache.ResourceEventHandler) { h.OnDelete(missing(completed)) }, fateEnded, true},
		"missing, seen executing":      {func(h toolscache.ResourceEventHandler) { h.OnDelete(missing(executes)) }, fateOpen, true},
		"missing, seen with both":      {func(h toolscache.ResourceEventHandler) { h.OnDelete(missing(deleted)) }, fateLost, true},
		"missing without a last state": {func(h toolscache.ResourceEventHandler) { h.OnDelete(missing(nil)) }, fateOpen, false},
		"replaced, seen executing":     {func(h toolscache.ResourceEventHandler) { h.OnUpdate(executes, replaced) }, fateOpen, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			tc.feed(jobWatch{Reconciler: b.Reconciler}.handler())
			if seen, known := b.jobs.get(run.UID, executes.UID); seen.fate != tc.want || known != tc.known {
				t.Errorf("fate %d, known %t; want %d, %t", seen.fate, known, tc.want, tc.known)
			}
		})
	}
}

// What a process remembers of a Job is true of that Job only, whatever comes later.
func TestSeenJobsKeepsTheFirstFate(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	b := newBench()
	b.jobs.created(makeJob(run, 1).Obj())
	b.SeeJob(makeJob(run, 1).Obj(), makeJob(run, 1).DeletingAt(5).Obj())
	b.SeeJob(makeJob(run, 1).DeletingAt(5).Obj(), makeJob(run, 1).DeletingAt(5).Complete().Since(4).Obj())
	b.SeeJob(makeJob(run, 1).DeletingAt(5).Complete().Since(4).Obj(), nil)
	if seen, _ := b.jobs.get(run.UID, wrappers.UIDOf("a-1")); seen.fate != fateLost {
		t.Errorf("fate %d", seen.fate)
	}
	if _, known := b.jobs.ofGeneration(run.UID, 2); known {
		t.Error("known of another generation")
	}
	if _, known := b.jobs.ofGeneration("another", 1); known {
		t.Error("known of another run")
	}
	stranger := makeJob(run, 1).Obj()
	stranger.OwnerReferences[0].Kind = "CronJob"
	stranger.UID = "stranger"
	b.SeeJob(stranger, nil)
	if _, known := b.jobs.get(run.UID, "stranger"); known {
		t.Error("a Job of another owner is remembered")
	}
}

// The memory is bounded: a Job is forgotten when its run has ended or is gone.
func TestForgetJobs(t *testing.T) {
	job := makeJob(made("a").Obj(), 1).Complete().Obj()
	for name, tc := range map[string]struct {
		run    *v1alpha1.JobRun
		forget func(b bench, run types.UID)
		kept   bool
		later  bool // kept until the next sweep
	}{
		"the run executes":           {run: made("a").Leased(1, "5").Obj(), kept: true, later: true},
		"the run waits again":        {run: made("a").Leased(1, "5").Fenced().Phase(v1alpha1.PhasePending).Obj(), kept: true, later: true},
		"the run has ended":          {run: made("a").Leased(1, "5").Ended(v1alpha1.PhaseCompleted).Obj()},
		"the run is not in cache":    {kept: true},
		"another run of that name":   {run: made("a").UID("again").Token("again").Obj(), kept: true},
		"this process saw it delete": {forget: func(b bench, _ types.UID) { b.deleted(made("a").Obj()) }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			if tc.run != nil {
				b = newBench(tc.run)
			}
			uid := made("a").Obj().UID
			b.SeeJob(job, nil)
			if tc.forget != nil {
				tc.forget(b, uid)
			}
			b.forgetJobs(t.Context())
			if _, known := b.jobs.get(uid, job.UID); known != tc.kept {
				t.Errorf("remembered: %t, want %t", known, tc.kept)
			}
			b.clock.Step(b.SweepPeriod)
			b.forgetJobs(t.Context())
			if _, known := b.jobs.get(uid, job.UID); known != tc.later {
				t.Errorf("remembered after the next sweep: %t, want %t", known, tc.later)
			}
		})
	}
}

// A run that ends is forgotten with the write of its final status.
func TestForgetJobsOfAnEndedRun(t *testing.T) {
	run := made("a").Leased(1, "5").Obj()
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run)
	c.SeeJob(makeJob(run, 1).Complete().Obj(), nil)
	c.rest(nil)
	if len(c.Reconciler.jobs.remembered()) > 0 || c.run("a").Status.Phase != v1alpha1.PhaseCompleted {
		t.Errorf("remembered %v\n%s", c.Reconciler.jobs.remembered(), c.formatState())
	}
}

// The numbers of Pods show whether the output of the Job is known.
func TestSeenJobsKeepsTheNumbersOfPods(t *testing.T) {
	run, b := made("a").Leased(1, "5").Obj(), newBench()
	job := makeJob(run, 1).Complete().Obj()
	job.Status.Succeeded, job.Status.Failed = 2, 1
	b.SeeJob(job, nil)
	if seen, _ := b.jobs.get(run.UID, job.UID); seen.job.Status.Succeeded != 2 || seen.job.Status.Failed != 1 {
		t.Errorf("status %+v", seen.job.Status)
	}
}

// A Job that the controller deleted is not lost, even if the answer to the deletion was.
func TestStoppedJobIsNotLost(t *testing.T) {
	run := made("a").LeaseSeconds(30).FailOnJobLost().Leased(1, "5").Obj()
	job := makeJob(run, 1).Obj()
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run, job)
	c.store.After = func(verb string, _ client.Object) error {
		if strings.HasPrefix(verb, "delete") {
			return errors.New("connection reset")
		}
		return nil
	}
	if err := c.newAction(home, decision.NewSnapshot(decision.Observation{})).deleteJob(t.Context(), job); err == nil {
		t.Fatal("the answer was not lost")
	}
	c.SeeJob(job, nil)
	if e := c.observe().Executions[run.UID]; e.JobLost || !e.JobGone {
		t.Errorf("lost %t, gone %t", e.JobLost, e.JobGone)
	}
}

// If the lease has expired, it does not matter how its Job ended.
func TestExpiredLeaseIsNoLostJob(t *testing.T) {
	run := made("a").LeaseSeconds(30).FailOnJobLost().Leased(1, "5").Obj()
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run)
	c.SeeJob(makeJob(run, 1).Obj(), nil)
	if e := c.observe().Executions[run.UID]; !e.JobLost || e.JobGone {
		t.Errorf("before: lost %t, gone %t", e.JobLost, e.JobGone)
	}
	c.clock.Step(time.Minute)
	if e := c.observe().Executions[run.UID]; e.JobLost || !e.JobGone {
		t.Errorf("after: lost %t, gone %t", e.JobLost, e.JobGone)
	}
}

// The watch shows labelled Jobs only, so it tells of the deletion of a Job that lost its labels.
func TestJobWithoutLabelsIsNotLost(t *testing.T) {
	run := made("a").FailOnJobLost().Leased(1, "5").Obj()
	unlabelled := makeJob(run, 1).Obj()
	unlabelled.Labels = nil
	c := newScene(t, makeKey("k").Leased("a", 1, "5").Obj(), run, unlabelled)
	c.SeeJob(makeJob(run, 1).Obj(), nil)
	if e := c.observe().Executions[run.UID]; e.JobLost || e.Job == nil {
		t.Errorf("lost %t, Job %v", e.JobLost, e.Job)
	}
	unlabelled.Status = makeJob(run, 1).Complete().Obj().Status
	if err := c.store.Status().Update(t.Context(), unlabelled); err != nil {
		t.Fatal(err)
	}
	if e := c.observe().Executions[run.UID]; e.Result == nil {
		t.Error("its end is not known")
	}
}
