// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// A change that no decision reads enqueues nothing. Any other change enqueues something.
func TestChangesNoDecision(t *testing.T) {
	job := func(change func(*batchv1.Job)) client.Object {
		job := makeJob(made("a").Obj(), 1).Obj()
		job.ResourceVersion = "2"
		change(job)
		return job
	}
	run := func(change func(*v1alpha1.JobRun)) client.Object {
		run := made("a").Leased(1, "9").ResourceVersion("2").Obj()
		change(run)
		return run
	}
	ofRun := makeJob(made("a").Obj(), 1).Obj()
	pod := func(change func(*corev1.PodStatus)) client.Object { return podOf(ofRun, "p", change) }
	deletedPod := podOf(ofRun, "p", waits("ErrImagePull", "no such image"))
	deletedPod.DeletionTimestamp = &metav1.Time{}
	oldJob, oldRun := job(func(job *batchv1.Job) { job.ResourceVersion = "1" }), run(func(run *v1alpha1.JobRun) { run.ResourceVersion = "1" })
	progress := &v1alpha1.Progress{Generation: 1, Current: ptr.To(int64(3))}
	tests := map[string]struct {
		before, after client.Object
		// want is true for a change that no decision reads.
		want bool
	}{
		"a Job with a new resourceVersion only": {oldJob, job(func(*batchv1.Job) {}), true},
		"a Job that has ended": {oldJob, job(func(job *batchv1.Job) {
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		}), false},
		"a Job that is deleted":                 {oldJob, job(func(job *batchv1.Job) { job.DeletionTimestamp = &metav1.Time{} }), false},
		"a Job that lost its labels":            {oldJob, job(func(job *batchv1.Job) { job.Labels = nil }), false},
		"another Job of the same name":          {oldJob, job(func(job *batchv1.Job) { job.UID = "other" }), false},
		"a new Job":                             {nil, job(func(*batchv1.Job) {}), false},
		"a Job that is gone":                    {oldJob, nil, false},
		"a new Pod":                             {nil, pod(nil), false},
		"a Pod that is gone":                    {pod(nil), nil, false},
		"a Pod that starts":                     {pod(waits("ContainerCreating", "")), pod(nil), true},
		"a Pod that has ended":                  {pod(nil), pod(ended(corev1.PodSucceeded, "", 1)), false},
		"a Pod that does not get on":            {pod(waits("ContainerCreating", "")), pod(waits("ErrImagePull", "x")), false},
		"a Pod that does not get on any better": {pod(waits("ErrImagePull", "x")), pod(waits("ImagePullBackOff", "x")), true},
		"a stuck Pod that is being deleted":     {pod(waits("ErrImagePull", "no such image")), deletedPod, false},
		"a run whose worker reports progress":   {oldRun, run(func(run *v1alpha1.JobRun) { run.Status.Progress = progress }), true},
		"a run with a new resourceVersion only": {oldRun, run(func(*v1alpha1.JobRun) {}), false},
		"a run whose worker reports progress and renews": {oldRun, run(func(run *v1alpha1.JobRun) {
			run.Status.Progress, run.Status.Lease.RenewTime = progress, &metav1.MicroTime{}
		}), false},
		"a run whose worker reports progress and its end": {oldRun, run(func(run *v1alpha1.JobRun) {
			run.Status.Progress, run.Status.Phase = progress, v1alpha1.PhaseCompleted
		}), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := changesNoDecision(test.before, test.after); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
			enqueues := len(newBench().RequestsForChange(t.Context(), test.before, test.after)) > 0
			if enqueues == test.want {
				t.Errorf("the change enqueues a request: %t, want %t", enqueues, !test.want)
			}
		})
	}
}
