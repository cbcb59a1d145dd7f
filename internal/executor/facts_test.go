// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func identify(job *batchv1.Job) (runkey.Identity, int64) { return IdentityOf(job), GenerationOf(job) }

// A Job is identified by the labels and annotations of the operator.
func TestIdentity(t *testing.T) {
	id, generation := identify(NewJob(made("a").Obj(), 3, ""))
	if id != (runkey.Identity{RunName: "a", Token: "token-a"}) || generation != 3 {
		t.Errorf("identity = %v, generation %d", id, generation)
	}
	for _, garbage := range []string{"", "x", "1.5", "99999999999999999999"} {
		job := wrappers.MakeJob(made("a").Obj(), 3).Obj()
		job.Name = "a-" + garbage
		if _, generation := identify(job); generation != 0 {
			t.Errorf("generation %q is read as %d", garbage, generation)
		}
	}
	bare := wrappers.MakeJob(made("a").Obj(), 3).Obj()
	delete(bare.Annotations, v1alpha1.AnnotationGeneration)
	if _, generation := identify(bare); generation != 3 {
		t.Errorf("without its annotation the generation is read as %d", generation)
	}
	if id, generation := identify(&batchv1.Job{}); id != (runkey.Identity{}) || generation != 0 {
		t.Errorf("a bare Job is that of %v, generation %d", id, generation)
	}
}

func TestResultOf(t *testing.T) {
	condition := func(kind batchv1.JobConditionType, status corev1.ConditionStatus) *batchv1.Job {
		return &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: kind, Status: status}}}}
	}
	for name, tc := range map[string]struct {
		job  *batchv1.Job
		want batchv1.JobConditionType
	}{
		"no condition":       {job: &batchv1.Job{}},
		"suspended":          {job: condition(batchv1.JobSuspended, corev1.ConditionTrue)},
		"about to fail":      {job: condition(batchv1.JobFailureTarget, corev1.ConditionTrue)},
		"about to complete":  {job: condition(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue)},
		"not complete":       {job: condition(batchv1.JobComplete, corev1.ConditionFalse)},
		"maybe failed":       {job: condition(batchv1.JobFailed, corev1.ConditionUnknown)},
		"complete":           {job: condition(batchv1.JobComplete, corev1.ConditionTrue), want: batchv1.JobComplete},
		"failed":             {job: condition(batchv1.JobFailed, corev1.ConditionTrue), want: batchv1.JobFailed},
		"failed, after more": {job: wrappers.MakeJob(made("a").Obj(), 1).Failed("x", "").Obj(), want: batchv1.JobFailed},
	} {
		t.Run(name, func(t *testing.T) {
			var got batchv1.JobConditionType
			if c := ResultOf(tc.job); c != nil {
				got = c.Type
			}
			if got != tc.want {
				t.Errorf("result %q, want %q", got, tc.want)
			}
		})
	}
}

// A Job that completes while it is being deleted was told to stop. Its times have seconds only.
func TestOwnEnd(t *testing.T) {
	job := func() *wrappers.JobWrapper { return wrappers.MakeJob(made("a").Obj(), 1) }
	for name, tc := range map[string]struct {
		job  *wrappers.JobWrapper
		want bool
	}{
		"it executes":                     {job(), false},
		"it completed":                    {job().Complete().Since(5), true},
		"it failed":                       {job().Failed("x", "").Since(5), true},
		"it is being deleted":             {job().DeletingAt(5), false},
		"it completed, then was deleted":  {job().Complete().Since(5).DeletingAt(6), true},
		"it was deleted, then completed":  {job().DeletingAt(5).Complete().Since(6), false},
		"both in the same second":         {job().DeletingAt(5).Complete().Since(5), false},
		"it completed at an unknown time": {job().DeletingAt(5).Complete(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := OwnEnd(tc.job.Obj()) != nil; got != tc.want {
				t.Errorf("ended by itself: %t, want %t", got, tc.want)
			}
		})
	}
	withinASecond := job().Complete().Since(5).DeletingAt(5).Obj()
	withinASecond.DeletionTimestamp.Time = withinASecond.DeletionTimestamp.Add(900 * time.Millisecond)
	if OwnEnd(withinASecond) != nil {
		t.Error("fractions of a second count")
	}
}

// A client that may create Jobs may give them any label and any controller.
func TestExecutesRun(t *testing.T) {
	run := wrappers.MakeJobRun("a").Key("k").Created().Obj()
	for name, tc := range map[string]struct {
		change func(*batchv1.Job)
		want   bool
	}{
		"its Job":               {func(*batchv1.Job) {}, true},
		"another name":          {func(job *batchv1.Job) { job.Name = "evil" }, false},
		"no annotations":        {func(job *batchv1.Job) { job.Annotations = nil }, true},
		"another generation":    {func(job *batchv1.Job) { job.Name = "a-01" }, false},
		"no generation":         {func(job *batchv1.Job) { job.Name = "a-" }, false},
		"another run's label":   {func(job *batchv1.Job) { job.Labels[v1alpha1.LabelRun] = "b" }, false},
		"no label":              {func(job *batchv1.Job) { delete(job.Labels, v1alpha1.LabelRun) }, false},
		"no controller":         {func(job *batchv1.Job) { job.OwnerReferences = nil }, false},
		"another controller":    {func(job *batchv1.Job) { job.OwnerReferences[0].Kind = "CronJob" }, false},
		"a JobRun of elsewhere": {func(job *batchv1.Job) { job.OwnerReferences[0].APIVersion = "example.com/v1" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := wrappers.MakeJob(run, 1).Obj().DeepCopy()
			tc.change(job)
			if got := ExecutesRun(job); got != tc.want {
				t.Errorf("%t, want %t", got, tc.want)
			}
		})
	}
}
