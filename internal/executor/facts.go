// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// FenceName is the name of the webhook that refuses Jobs whose run is not leased. config/webhook names it too.
const FenceName = "fence.batch.jobrun.dev"

// ExecutesRun reports whether a Job executes the run that its label names. The run must own the Job as its
// controller, and the Job's name must be <run>-<generation>. Any Job may carry the label, but only one Job
// can have the name.
func ExecutesRun(job *batchv1.Job) bool {
	owner := metav1.GetControllerOf(job)
	return IsJobRun(owner) && owner.Name == job.Labels[v1alpha1.LabelRun] && GenerationOf(job) > 0
}

// IsJobRun reports whether an owner is a JobRun; false for nil.
func IsJobRun(owner *metav1.OwnerReference) bool {
	return owner != nil && owner.Kind == "JobRun" && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/")
}

// IdentityOf returns the run that a Job's label and annotation name.
func IdentityOf(job *batchv1.Job) runkey.Identity {
	return runkey.Identity{RunName: job.Labels[v1alpha1.LabelRun], Token: job.Annotations[v1alpha1.AnnotationToken]}
}

// GenerationOf returns the generation in a Job's name. It returns 0 if the name is not <run>-<generation>
// with the run that the label names.
func GenerationOf(job *batchv1.Job) int64 {
	digits, ok := strings.CutPrefix(job.Name, job.Labels[v1alpha1.LabelRun]+"-")
	generation, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || strconv.FormatInt(generation, 10) != digits {
		return 0
	}
	return generation
}

// TTLOf returns the ttlSecondsAfterFinished of the template that a Job was made from; ok is false without one.
func TTLOf(job *batchv1.Job) (ttl time.Duration, ok bool) {
	seconds, err := strconv.ParseInt(job.Annotations[v1alpha1.AnnotationJobTTL], 10, 32)
	return time.Duration(seconds) * time.Second, err == nil && seconds >= 0
}

// DefinitionOf returns the definition whose template a Job was made from; nil if it was made from the template of its run.
func DefinitionOf(job *batchv1.Job) *v1alpha1.DefinitionReference {
	reference := &v1alpha1.DefinitionReference{}
	if json.Unmarshal([]byte(job.Annotations[v1alpha1.AnnotationDefinition]), reference) != nil || reference.UID == "" {
		return nil
	}
	return reference
}

// ResultOf returns the condition that ended a Job, Complete or Failed; nil if the Job has not finished.
func ResultOf(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// IsFinished reports whether a Job has completed or failed.
func IsFinished(job *batchv1.Job) bool { return ResultOf(job) != nil }

// OwnEnd returns the condition that ended a Job, if this object shows that the Job ended before its deletion began;
// otherwise nil. The Pods of a Job that is being deleted are told to stop. A Pod that then exits 0 completes the Job,
// although it may have done half of its work. Both times have seconds only, so a Job that ended and was deleted in the
// same second proves nothing.
func OwnEnd(job *batchv1.Job) *batchv1.JobCondition {
	end := ResultOf(job)
	if end == nil || job.DeletionTimestamp == nil {
		return end
	}
	if end.LastTransitionTime.IsZero() || end.LastTransitionTime.Unix() >= job.DeletionTimestamp.Unix() {
		return nil
	}
	return end
}

// IsPodOver reports whether all containers of a Pod have ended for good.
func IsPodOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
