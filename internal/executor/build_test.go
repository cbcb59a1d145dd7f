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
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// made returns a builder for a run of the key "k" that was answered Created.
func made(name string) *wrappers.JobRunWrapper {
	return wrappers.MakeJobRun(name).Key("k").Template().Created()
}

// template sets every field that NewJob changes.
func template() batchv1.JobTemplateSpec {
	ttl := int32(7)
	own := []corev1.EnvVar{
		{Name: "GREETING", Value: "hello $(JOBRUN_NAME)"}, {Name: v1alpha1.EnvGeneration, Value: "999"}, {Name: "LAST", Value: "x"},
	}
	return batchv1.JobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"kueue.x-k8s.io/queue-name": "q", v1alpha1.LabelRun: "forged"},
			Annotations: map[string]string{"team": "data", v1alpha1.AnnotationToken: "forged", v1alpha1.AnnotationJobTTL: "forged"},
		},
		Spec: batchv1.JobSpec{
			TTLSecondsAfterFinished: &ttl,
			BackoffLimit:            new(int32),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "sync", v1alpha1.LabelKey: "forged"}},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "init"}},
					Containers:     []corev1.Container{{Name: "main", Env: own}, {Name: "side", TerminationMessagePolicy: "File"}},
				},
			},
		},
	}
}

func TestNewJob(t *testing.T) {
	run := made("a").TemplateObj(template()).Input(`{"cost":"$5 $(HOME) $$"}`).Key("$(KEY)").Obj()
	before := run.DeepCopy()
	keyName := v1alpha1.ConcurrencyKeyName(wrappers.JobName, "$(KEY)")

	env := []corev1.EnvVar{
		{Name: "JOBRUN_NAME", Value: "a"},
		{Name: "JOBRUN_NAMESPACE", Value: "default"},
		{Name: "JOBRUN_JOB_NAME", Value: "job"},
		{Name: "JOBRUN_INPUT", Value: `{"cost":"$$5 $$(HOME) $$$$"}`},
		{Name: "JOBRUN_CONCURRENCY_KEY", Value: "$$(KEY)"},
		{Name: "JOBRUN_GENERATION", Value: "3"},
		{Name: "JOBRUN_KEY_VERSION", Value: "17"},
		{Name: "JOBRUN_INPUT_COST", Value: "$$5 $$(HOME) $$$$"},
	}
	ours := map[string]string{"batch.jobrun.dev/token": "token-a", "batch.jobrun.dev/generation": "3"}
	want := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a-3", Namespace: "default",
			Labels: map[string]string{
				"kueue.x-k8s.io/queue-name": "q",
				"batch.jobrun.dev/run":      "a", "batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": keyName,
			},
			Annotations: merged(map[string]string{"team": "data", "batch.jobrun.dev/ttl-seconds-after-finished": "7"}, ours),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch.jobrun.dev/v1alpha1", Kind: "JobRun", Name: "a", UID: "uid-a", Controller: new(true),
			}},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:         new(int32),
			PodReplacementPolicy: new(batchv1.Failed),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"app": "sync", "batch.jobrun.dev/run": "a", "batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": keyName},
					Annotations: merged(map[string]string{"kubectl.kubernetes.io/default-container": "main"}, ours),
				},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "init", Env: env, TerminationMessagePolicy: "FallbackToLogsOnError"}},
					Containers: []corev1.Container{
						{Name: "main", TerminationMessagePolicy: "FallbackToLogsOnError", Env: append(append([]corev1.EnvVar{}, env...),
							corev1.EnvVar{Name: "GREETING", Value: "hello $(JOBRUN_NAME)"}, corev1.EnvVar{Name: "LAST", Value: "x"})},
						{Name: "side", Env: env, TerminationMessagePolicy: "File"},
					},
				},
			},
		},
	}
	if diff := cmp.Diff(want, NewJob(run, 3, "17")); diff != "" {
		t.Errorf("Job (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, run); diff != "" {
		t.Errorf("the run changed:\n%s", diff)
	}
}

func TestNewJobOfARunWithoutKeyAndInput(t *testing.T) {
	run := wrappers.MakeJobRun("a").Template().Created().Obj()
	forged := map[string]string{v1alpha1.LabelKey: "forged"}
	run.Spec.Template.Labels, run.Spec.Template.Spec.Template.Labels = forged, forged
	job := NewJob(run, 1, "")
	for _, labels := range []map[string]string{job.Labels, job.Spec.Template.Labels} {
		if _, ok := labels[v1alpha1.LabelKey]; ok {
			t.Errorf("labels = %v", labels)
		}
	}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if want, ok := map[string]string{"JOBRUN_INPUT": "null", "JOBRUN_CONCURRENCY_KEY": ""}[v.Name]; ok && v.Value != want {
			t.Errorf("%s = %q, want %q", v.Name, v.Value, want)
		}
	}
}

func TestNewJobKeepsWhatTheTemplateChooses(t *testing.T) {
	chosen := template()
	chosen.Spec.PodReplacementPolicy = new(batchv1.TerminatingOrFailed)
	chosen.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "side"}
	job := NewJob(made("a").TemplateObj(chosen).Obj(), 1, "")
	if got := *job.Spec.PodReplacementPolicy; got != batchv1.TerminatingOrFailed {
		t.Errorf("podReplacementPolicy %s", got)
	}
	if got := job.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"]; got != "side" {
		t.Errorf("default container %s", got)
	}
}

// The containers of a Pod do not share one list of variables.
func TestAddEnvDoesNotAlias(t *testing.T) {
	job := NewJob(made("a").TemplateObj(template()).Obj(), 1, "")
	containers := job.Spec.Template.Spec.Containers
	containers[1].Env[0].Value = "changed"
	if got := containers[0].Env[0].Value; got != "a" {
		t.Errorf("JOBRUN_NAME of another container became %q", got)
	}
}
