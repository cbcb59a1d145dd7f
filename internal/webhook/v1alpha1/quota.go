// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
)

// quotaError returns the API server's 403 for a JobRun that a ResourceQuota of its namespace forbids, else nil. The API
// server checks quotas after the webhook, so without this check the JobRun would reserve its key for nothing. The cache may
// lag, so a live read must confirm the refusal. If that read fails, the webhook leaves the decision to the API server. A
// namespace whose quotas do not limit JobRuns costs no read.
func (h *Handler) quotaError(ctx context.Context, run *v1alpha1.JobRun) error {
	if h.quotas == nil {
		return nil
	}
	var found corev1.ResourceQuotaList
	if err := h.quotas.List(ctx, &found, client.InNamespace(run.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list the ResourceQuotas, the API server decides")
		return nil
	}
	for i := range found.Items {
		if cache.QuotaRefusal(&found.Items[i]) != "" {
			if err := h.liveQuotaError(ctx, run, client.ObjectKeyFromObject(&found.Items[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// liveQuotaError returns the 403 if a live read shows that a quota allows no further JobRun.
func (h *Handler) liveQuotaError(ctx context.Context, run *v1alpha1.JobRun, name client.ObjectKey) error {
	quota := &corev1.ResourceQuota{}
	switch err := h.live.Get(ctx, name, quota); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		log.FromContext(ctx).Error(err, "Cannot read a ResourceQuota, the API server decides", "resourceQuota", name.Name)
		return nil
	}
	if refusal := cache.QuotaRefusal(quota); refusal != "" {
		return apierrors.NewForbidden(resource, run.Name, errors.New(refusal))
	}
	return nil
}
