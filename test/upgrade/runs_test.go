// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// workersJob is the job whose runs workers execute.
	workersJob = "work"
	// leaseSeconds is how long a lease of a worker lasts without renewal.
	leaseSeconds = 10
)

// makeRun returns a run of a worker.
func makeRun(namespace, name string, changes ...func(*v1alpha1.JobRunSpec)) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.JobRunSpec{JobName: workersJob, LeaseDurationSeconds: leaseSeconds},
	}
	for _, change := range changes {
		change(&run.Spec)
	}
	return run
}

// inline gives a run a template, and takes the lease of a worker away.
func inline(script string) func(*v1alpha1.JobRunSpec) {
	return func(s *v1alpha1.JobRunSpec) {
		s.JobName, s.LeaseDurationSeconds, s.Template = "sync", 0, jobTemplate(script)
	}
}

func jobTemplate(script string) *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers:                    []corev1.Container{{Name: "main", Image: "busybox:1.37", Command: []string{"sh", "-c", script}}},
		}},
	}}
}

func key(key string) func(*v1alpha1.JobRunSpec) {
	return func(s *v1alpha1.JobRunSpec) { s.ConcurrencyKey = key }
}

func skip(s *v1alpha1.JobRunSpec) { s.Coalesce = v1alpha1.CoalesceSkip }

func delivery(key string) func(*v1alpha1.JobRunSpec) {
	return func(s *v1alpha1.JobRunSpec) { s.IdempotencyKey = key }
}

// steps is the work of a worker's run.
func steps(n int) func(*v1alpha1.JobRunSpec) {
	return input(fmt.Sprintf(`{"steps": %d, "pause": "50ms"}`, n))
}

func input(text string) func(*v1alpha1.JobRunSpec) {
	return func(s *v1alpha1.JobRunSpec) { s.Input = &apiextensionsv1.JSON{Raw: []byte(text)} }
}

// all returns the JobRuns of a namespace.
func all(namespace string) []v1alpha1.JobRun {
	GinkgoHelper()
	var list v1alpha1.JobRunList
	Expect(k8s.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
	return list.Items
}

// withoutOutcome describes the JobRuns of a namespace that have no outcome.
func withoutOutcome(namespace string) []string {
	GinkgoHelper()
	var found []string
	for _, run := range all(namespace) {
		if !run.HasOutcome() {
			found = append(found, fmt.Sprintf("%s (%s, %s)", run.Name, run.Status.Phase, run.Status.Error))
		}
	}
	return found
}

// get returns a function that reads a JobRun.
func get(namespace, name string) func() (*v1alpha1.JobRun, error) {
	return func() (*v1alpha1.JobRun, error) {
		run := &v1alpha1.JobRun{}
		return run, k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, run)
	}
}

func inPhase(phase v1alpha1.Phase) OmegaMatcher { return HaveField("Status.Phase", phase) }
