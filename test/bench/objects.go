// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// jobSpec returns the spec of the README's example. The benchmark's node does not execute its command.
func jobSpec() batchv1.JobSpec {
	return batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{
			Name: "main", Image: "busybox:1.37",
			Command: []string{"sh", "-c", `sleep 20; echo "{\"synced\": 42}" > /dev/termination-log`},
		}},
	}}}
}

func plainJob(ns, name string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: jobSpec()}
}

// jobRun returns the README's example, without a key.
func jobRun(ns, name string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"env": "prod"}},
		Spec: v1alpha1.JobRunSpec{
			JobName:  "sync-users",
			Input:    &apiextensionsv1.JSON{Raw: []byte(`{"org":"acme","full":false,"since":"2026-01-01T00:00:00Z"}`)},
			Template: &batchv1.JobTemplateSpec{Spec: jobSpec()},
		},
	}
}

// workerJob is the job of runs that workers execute.
const workerJob = "convert"

// workerRun returns a run for a worker, with its own key.
func workerRun(ns, name string) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       v1alpha1.JobRunSpec{JobName: workerJob, ConcurrencyKey: name},
	}
}

func keyed(run *v1alpha1.JobRun, key string) *v1alpha1.JobRun {
	run.Spec.ConcurrencyKey = key
	return run
}

func skipping(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	run.Spec.Coalesce = v1alpha1.CoalesceSkip
	return run
}

// held suspends the run's Job. The run executes until its Job is resumed.
func held(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	run.Spec.Template.Spec.Suspend = ptr.To(true)
	return run
}
