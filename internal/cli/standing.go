// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// standing returns the run that stands for a JobRun. For a run, this is the JobRun itself. It returns nil
// while that run is not known. The status decides, because the answer to the trigger may be outdated.
func (c *cluster) standing(ctx context.Context, asked *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	if !asked.IsReceipt() {
		if asked.Status.Phase == "" && asked.WasAbsorbed() {
			return nil, nil //nolint:nilnil // not decided yet
		}
		return asked, nil
	}
	if asked.Status.RunRef == nil {
		return nil, nil //nolint:nilnil // as above
	}
	run, err := c.runs.Get(ctx, asked.Status.RunRef.Name)
	if err != nil {
		return nil, err
	}
	if uid := asked.Status.RunRef.UID; uid != "" && uid != run.UID {
		return nil, jobrun.ErrNotFound // its name was used again
	}
	return run, nil
}

// podsOf returns the Pods of a run, the oldest first. Pods of an earlier run of the same name are left out.
func (c *cluster) podsOf(ctx context.Context, run *v1alpha1.JobRun) ([]corev1.Pod, error) {
	pods := &corev1.PodList{}
	err := c.api.List(ctx, pods, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name})
	if err != nil {
		return nil, err
	}
	token := runkey.IdentityOf(run).Token
	own := slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
		return pod.Annotations[v1alpha1.AnnotationToken] != token
	})
	slices.SortStableFunc(own, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return own, nil
}
