// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// busy is a script that runs until the Job is deleted.
const busy = "exec sleep 600"

// output returns a script that ends with this JSON as the run's output.
func output(json string) string {
	return "echo '" + json + "' > ${JOBRUN_TERMINATION_LOG:-/dev/termination-log}"
}

func template(script string) *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers:                    []corev1.Container{{Name: "main", Image: "busybox:1.37", Command: []string{"sh", "-c", script}}},
		}},
	}}
}

// get reads a JobRun through the API, whatever the surface.
func get(name string) *v1alpha1.JobRun {
	GinkgoHelper()
	run := &v1alpha1.JobRun{}
	Expect(k8s.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, run)).To(Succeed())
	return run
}

// wait waits until the JobRun has the phase.
func wait(name string, phase v1alpha1.Phase) *v1alpha1.JobRun {
	GinkgoHelper()
	Eventually(func() v1alpha1.Phase { return get(name).Status.Phase }).Should(Equal(phase), "%s", name)
	return get(name)
}

func runs() []v1alpha1.JobRun {
	GinkgoHelper()
	var found v1alpha1.JobRunList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return found.Items
}

func keys() []v1alpha1.RunKey {
	GinkgoHelper()
	var found v1alpha1.RunKeyList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return found.Items
}

func jobs() []batchv1.Job {
	GinkgoHelper()
	var found batchv1.JobList
	Expect(k8s.List(ctx, &found, client.InNamespace(ns))).To(Succeed())
	return found.Items
}

// loseJob deletes the Job of a run by hand.
func loseJob(run *v1alpha1.JobRun) {
	GinkgoHelper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: run.Status.JobRef.Name}}
	Expect(k8s.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
}
