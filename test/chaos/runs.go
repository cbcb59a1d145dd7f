// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// refuseLabel marks JobRuns that a policy refuses after the webhook has admitted them.
	refuseLabel = "chaos.jobrun.dev/refuse"
	// jobByWorker and jobByJob are the jobNames of runs that a worker or a Job executes.
	jobByWorker = "by-worker"
	jobByJob    = "by-job"
	// workerLease is the leaseDurationSeconds of runs for workers.
	workerLease = 4
	// jobSeconds is how long a Job takes.
	jobSeconds = "0.3"
)

// newRun draws a JobRun. Most have a hot key, and most coalesce.
func (c *caller) newRun(name string) *v1alpha1.JobRun {
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	spec := &run.Spec
	spec.Input = &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"caller": %d, "n": %d}`, c.number, c.count)}
	worker := c.drawKey(spec)
	if spec.ConcurrencyKey != "" && c.random.IntN(4) > 0 {
		spec.Coalesce = v1alpha1.CoalesceSkip
	}
	if c.random.IntN(6) == 0 {
		spec.IdempotencyKey = fmt.Sprintf("d%d-%d", c.random.IntN(deliveries), c.count/8)
	}
	if c.random.IntN(5) == 0 || c.brief {
		spec.TTLSecondsAfterFinished = new(int32(c.random.IntN(5)))
	}
	if worker {
		spec.JobName, spec.LeaseDurationSeconds = jobByWorker, workerLease
		if spec.ConcurrencyKey != "" && c.random.IntN(4) > 0 {
			spec.OnLeaseExpired = v1alpha1.OnLeaseExpiredRequeue
		}
	} else {
		spec.JobName, spec.Template = jobByJob, jobTemplate(jobSeconds)
	}
	return run
}

// drawKey draws the key, and whether a worker executes the run. Workers have half of the hot keys and most of the cold
// ones.
func (c *caller) drawKey(spec *v1alpha1.JobRunSpec) (worker bool) {
	switch n := c.random.IntN(100); {
	case n < 65:
		hot := c.random.IntN(c.hotKeys)
		spec.ConcurrencyKey = fmt.Sprintf("hot-%d", hot)
		return hot%2 == 0
	case n < 95:
		cold := c.random.IntN(coldKeys)
		spec.ConcurrencyKey = fmt.Sprintf("cold-%d", cold)
		return cold%6 > 0
	default:
		return c.random.IntN(4) > 0
	}
}

func jobTemplate(seconds string) *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers: []corev1.Container{{
				Name: "main", Image: "busybox:1.37", Command: []string{"sleep", seconds},
			}},
		}},
	}}
}
