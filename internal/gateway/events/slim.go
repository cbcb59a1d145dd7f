// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// trim drops from a state what no event shows.
func trim(run *v1alpha1.JobRun) {
	run.ManagedFields, run.Spec.Template = nil, nil
	delete(run.Annotations, corev1.LastAppliedConfigAnnotation)
}

// slim drops from a state whose events are encoded what no later event needs. It keeps the input of a JobRun that may still
// become an absorbed trigger. Of a JobRun that will not change again it keeps what an event of its deletion shows.
func slim(run *v1alpha1.JobRun) {
	trim(run)
	run.Status.Output = nil
	if c := run.Status.Coalesced; c != nil {
		for i := range c.Recent {
			c.Recent[i].Input, c.Recent[i].Labels, c.Recent[i].Time = "", nil, nil
		}
	}
	if run.HasEnded() || run.IsReceipt() {
		run.Spec.Input = nil
		run.Annotations = kept(run.Annotations, v1alpha1.AnnotationTriggeredBy)
		run.Status.Failure = nil
		for i := range run.Status.Conditions {
			c := &run.Status.Conditions[i]
			*c = metav1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime}
		}
	}
}

// kept returns the one entry of a map, or nil.
func kept(all map[string]string, name string) map[string]string {
	if value, ok := all[name]; ok {
		return map[string]string{name: value}
	}
	return nil
}
