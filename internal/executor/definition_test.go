// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestHoldsBack(t *testing.T) {
	run := func(executor v1alpha1.Executor, defined bool) *v1alpha1.JobRun {
		run := &v1alpha1.JobRun{Spec: v1alpha1.JobRunSpec{JobName: "sync", Admission: &v1alpha1.Admission{Executor: executor}}}
		if defined {
			run.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: "sync"}
		}
		return run
	}
	definition := func(change func(*v1alpha1.JobDefinition)) *v1alpha1.JobDefinition {
		d := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync", Generation: 2}}
		d.Spec.Template = &batchv1.JobTemplateSpec{}
		if change != nil {
			change(d)
		}
		return d
	}
	notReady := func(generation int64) func(*v1alpha1.JobDefinition) {
		return func(d *v1alpha1.JobDefinition) {
			d.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, ObservedGeneration: generation, Message: "no such zone",
			}}
		}
	}
	inline := run("", false)
	inline.Spec.Template = &batchv1.JobTemplateSpec{}
	own := run(v1alpha1.ExecutorJob, true)
	own.Spec.Template = &batchv1.JobTemplateSpec{}
	suspended := func(d *v1alpha1.JobDefinition) { d.Spec.Suspend = new(true) }
	for name, tc := range map[string]struct {
		definition *v1alpha1.JobDefinition
		run        *v1alpha1.JobRun
		want       string
	}{
		"as it should be":                {definition(nil), run(v1alpha1.ExecutorJob, true), ""},
		"gone":                           {nil, run(v1alpha1.ExecutorJob, true), "held back: JobDefinition sync does not exist"},
		"gone, for a worker":             {nil, run(v1alpha1.ExecutorWorker, true), "held back: JobDefinition sync does not exist"},
		"being deleted":                  {definition(func(d *v1alpha1.JobDefinition) { d.DeletionTimestamp = &metav1.Time{} }), run(v1alpha1.ExecutorJob, true), "held back: JobDefinition sync does not exist"},
		"suspended":                      {definition(suspended), run(v1alpha1.ExecutorJob, true), "held back: JobDefinition sync is suspended"},
		"not ready":                      {definition(notReady(2)), run(v1alpha1.ExecutorJob, true), "held back: JobDefinition sync is not ready: no such zone"},
		"not ready in an old generation": {definition(notReady(1)), run(v1alpha1.ExecutorJob, true), ""},
		"of the other executor":          {definition(nil), run(v1alpha1.ExecutorWorker, true), "held back: JobDefinition sync now has the executor Job, and this run needs Worker"},
		"of an undefined run":            {definition(suspended), run(v1alpha1.ExecutorWorker, false), ""},
		"suspended, for a run with a template of its own": {definition(suspended), own, "held back: JobDefinition sync is suspended"},
		"gone, for a run with a template of its own":      {nil, own, ""},
		"of a run with a template":                        {nil, inline, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := HoldsBack(tc.definition, tc.run)
			if got != tc.want {
				t.Errorf("holds back: %q, want %q", got, tc.want)
			}
			if got != "" && !IsHeldBack(got) {
				t.Errorf("%q is not known as the operator's own text", got)
			}
		})
	}
}

// Whoever may trigger a job, but not write its template, must not say what its Pods may do.
func TestNewDefinedJobInheritsNothing(t *testing.T) {
	definition := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Name: "sync", UID: "uid-sync", Generation: 2}}
	pod := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "data"}}}
	pod.Spec.Containers = []corev1.Container{{Name: "main"}}
	definition.Spec.Template = &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: *pod}}
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{
		Name: "a", UID: "uid-a",
		Labels:      map[string]string{"app": "of-a-service", "team": "other", "kueue.x-k8s.io/queue-name": "fast"},
		Annotations: map[string]string{"iam.amazonaws.com/role": "admin"},
	}}
	run.Spec.JobName = "sync"

	job := NewDefinedJob(run, definition, 1, "")
	ours := map[string]string{v1alpha1.LabelRun: "a", v1alpha1.LabelJobName: "sync"}
	if diff := cmp.Diff(ours, job.Labels); diff != "" {
		t.Errorf("labels of the Job (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(merged(map[string]string{"team": "data"}, ours), job.Spec.Template.Labels); diff != "" {
		t.Errorf("labels of the Pods (-want +got):\n%s", diff)
	}
	for what, annotations := range map[string]map[string]string{"Job": job.Annotations, "Pods": job.Spec.Template.Annotations} {
		if role, found := annotations["iam.amazonaws.com/role"]; found {
			t.Errorf("the %s got the role %q", what, role)
		}
	}
	if len(run.Labels) != 3 || len(run.Annotations) != 1 {
		t.Errorf("the run has changed: %v", run.ObjectMeta)
	}
}
