// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package wrappers

import (
	"fmt"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// JobWrapper builds a Job.
type JobWrapper struct{ batchv1.Job }

// JobOf returns the name of the Job that executes a run under a generation.
func JobOf(run string, generation int64) string { return fmt.Sprintf("%s-%d", run, generation) }

// MakeJob returns a builder with the Job that executes a run under a generation.
func MakeJob(run *v1alpha1.JobRun, generation int64) *JobWrapper {
	token := string(run.UID)
	if run.Spec.Admission != nil {
		token = run.Spec.Admission.Token
	}
	labels := map[string]string{v1alpha1.LabelRun: run.Name, v1alpha1.LabelJobName: run.Spec.JobName}
	if run.Spec.ConcurrencyKey != "" {
		labels[v1alpha1.LabelKey] = v1alpha1.ConcurrencyKeyName(run.Spec.JobName, run.Spec.ConcurrencyKey)
	}
	controller := true
	name := JobOf(run.Name, generation)
	return &JobWrapper{batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace:       run.Namespace,
		Name:            name,
		UID:             UIDOf(name),
		ResourceVersion: "1",
		Labels:          labels,
		Annotations: map[string]string{
			v1alpha1.AnnotationToken:      token,
			v1alpha1.AnnotationGeneration: strconv.FormatInt(generation, 10),
		},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobRun", Name: run.Name, UID: run.UID, Controller: &controller,
		}},
	}}}
}

// Obj returns the Job.
func (w *JobWrapper) Obj() *batchv1.Job { return &w.Job }

// Complete adds the condition Complete.
func (w *JobWrapper) Complete() *JobWrapper { return w.condition(batchv1.JobComplete, "", "") }

// Failed adds the condition Failed.
func (w *JobWrapper) Failed(reason, message string) *JobWrapper {
	return w.condition(batchv1.JobFailed, reason, message)
}

// Deleting marks the Job as being deleted in the foreground.
func (w *JobWrapper) Deleting() *JobWrapper {
	w.DeletionTimestamp = Epoch.DeepCopy()
	w.Finalizers = []string{metav1.FinalizerDeleteDependents}
	return w
}

// DeletingAt marks the Job as being deleted in the foreground since some seconds after Epoch.
func (w *JobWrapper) DeletingAt(seconds int) *JobWrapper {
	w.Deleting()
	*w.DeletionTimestamp = At(seconds)
	return w
}

// Since sets the time of the last condition to some seconds after Epoch.
func (w *JobWrapper) Since(seconds int) *JobWrapper {
	w.Status.Conditions[len(w.Status.Conditions)-1].LastTransitionTime = At(seconds)
	return w
}

func (w *JobWrapper) condition(kind batchv1.JobConditionType, reason, message string) *JobWrapper {
	w.Status.Conditions = append(w.Status.Conditions, batchv1.JobCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message,
	})
	return w
}
