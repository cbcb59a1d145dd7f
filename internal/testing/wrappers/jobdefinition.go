// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package wrappers

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// JobDefinitionWrapper builds a JobDefinition.
type JobDefinitionWrapper struct{ v1alpha1.JobDefinition }

// MakeJobDefinition returns a builder with a definition of the job of MakeJobRun, without a template.
func MakeJobDefinition() *JobDefinitionWrapper {
	return &JobDefinitionWrapper{v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{
		Namespace: Namespace, Name: JobName, UID: UIDOf(JobName), Generation: 3, ResourceVersion: "1",
	}}}
}

// Obj returns the definition.
func (w *JobDefinitionWrapper) Obj() *v1alpha1.JobDefinition { return &w.JobDefinition }

// Template adds a template of one container.
func (w *JobDefinitionWrapper) Template(container string) *JobDefinitionWrapper {
	w.Spec.Template = &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: container, Image: "image"}},
	}}}}
	return w
}

// Suspended sets spec.suspend.
func (w *JobDefinitionWrapper) Suspended() *JobDefinitionWrapper {
	w.Spec.Suspend = new(true)
	return w
}

// NotReady sets the condition Ready to False.
func (w *JobDefinitionWrapper) NotReady(message string) *JobDefinitionWrapper {
	w.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, ObservedGeneration: w.Generation,
		Reason: v1alpha1.ReasonInvalidSchedule, Message: message,
	}}
	return w
}

// DefinedBy makes the definition of MakeJobDefinition the one that completed the trigger, and sets the executor.
func (w *JobRunWrapper) DefinedBy(executor v1alpha1.Executor) *JobRunWrapper {
	w.Spec.Admission.Executor = executor
	w.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: JobName, UID: UIDOf(JobName), Generation: 1}
	return w
}
