// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// cachedPods returns the Pods of a Job that the cache shows. Callers must not change them. The cache never proves that no
// Pod executes (I8).
func (o *observer) cachedPods(ctx context.Context, job *batchv1.Job) ([]*corev1.Pod, error) {
	var found corev1.PodList
	err := o.Client.List(ctx, &found, client.InNamespace(job.Namespace),
		client.MatchingFields{cache.FieldPodJob: string(job.UID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	pods := make([]*corev1.Pod, len(found.Items))
	for i := range found.Items {
		pods[i] = &found.Items[i]
	}
	return pods, nil
}

// endedPods returns the Pods of a finished Job: those that the cache shows, and those that were deleted and that this
// process remembers. If Pods are missing that ended as the Job did, endedPods also lists the Pods live.
func (o *observer) endedPods(ctx context.Context, run *v1alpha1.JobRun, job *batchv1.Job) ([]corev1.Pod, error) {
	pods, err := o.cachedPods(ctx, job)
	if err != nil {
		return nil, err
	}
	known := podSet{}
	known.add(o.ended.of(runkey.IdentityOf(run).Token, job.UID)...)
	known.add(pods...) // They are as new as the remembered ones, or newer.
	if executor.ShowEnd(job, known.all()) {
		return known.all(), nil
	}
	var live corev1.PodList
	err = o.Live.List(ctx, &live, client.InNamespace(job.Namespace),
		client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)})
	if err != nil {
		return nil, fmt.Errorf("list the Pods of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	for i := range live.Items {
		known.add(&live.Items[i])
	}
	return known.all(), nil
}

// podSet holds Pods by UID.
type podSet map[types.UID]*corev1.Pod

// add adds Pods. A Pod replaces an earlier one of the same UID.
func (s podSet) add(pods ...*corev1.Pod) {
	for _, pod := range pods {
		s[pod.UID] = pod
	}
}

// all returns the Pods in the order of their UIDs.
func (s podSet) all() []corev1.Pod {
	pods := make([]corev1.Pod, 0, len(s))
	for _, pod := range s {
		pods = append(pods, *pod)
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return cmp.Compare(a.UID, b.UID) })
	return pods
}
