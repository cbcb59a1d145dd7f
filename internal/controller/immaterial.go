// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"reflect"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// changesNoDecision reports whether a change touches only fields that no decision reads. Of a JobRun, this is the
// progress that workers report. The cache drops such fields of a Job, for example its Pod counts, so two versions of a
// Job may differ in their resourceVersion only. Of a Pod, decisions read whether it has ended, and why it does not get on.
func changesNoDecision(before, after client.Object) bool {
	if before == nil || after == nil || before.GetUID() != after.GetUID() {
		return false
	}
	switch after := after.(type) {
	case *v1alpha1.JobDefinition:
		old, ok := before.(*v1alpha1.JobDefinition)
		return ok && !decidesOtherwise(old, after)
	case *batchv1.Job:
		old, ok := before.(*batchv1.Job)
		return ok && sameButVersion(old, after)
	case *corev1.Pod:
		old, ok := before.(*corev1.Pod)
		return ok && executor.IsPodOver(old) == executor.IsPodOver(after) && executor.PodObstacle(old) == executor.PodObstacle(after)
	case *v1alpha1.JobRun:
		old, ok := before.(*v1alpha1.JobRun)
		if !ok || apiequality.Semantic.DeepEqual(old.Status.Progress, after.Status.Progress) {
			return false
		}
		reported := old.DeepCopy()
		reported.Status.Progress = after.Status.Progress
		return sameButVersion(reported, after)
	default:
		return false
	}
}

// sameButVersion reports whether two objects differ at most in their resourceVersion.
func sameButVersion[T any, P interface {
	*T
	client.Object
}](before, after P) bool {
	old := *before
	P(&old).SetResourceVersion(after.GetResourceVersion())
	return reflect.DeepEqual(&old, after)
}
