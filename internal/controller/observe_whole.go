// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
)

// observeWhole replaces the slim JobRuns among Others by live reads, if a receipt may be counted on them or take over
// their outcome. It returns errStale if a live read shows another version than the cache.
func (o *observer) observeWhole(ctx context.Context) error {
	if !slices.ContainsFunc(o.Runs, mayBeReceipt) {
		return nil
	}
	for i, run := range o.Others {
		if !cache.IsSlim(run) {
			continue
		}
		whole := &v1alpha1.JobRun{}
		err := o.Live.Get(ctx, client.ObjectKeyFromObject(run), whole)
		switch {
		case apierrors.IsNotFound(err) || (err == nil && (whole.UID != run.UID || whole.ResourceVersion != run.ResourceVersion)):
			return fmt.Errorf("%w: JobRun %s/%s", errStale, run.Namespace, run.Name)
		case err != nil:
			return fmt.Errorf("read JobRun %s/%s: %w", run.Namespace, run.Name, err)
		}
		o.Others[i] = whole
	}
	return nil
}

// mayBeReceipt reports whether another run may stand for a JobRun.
func mayBeReceipt(run *v1alpha1.JobRun) bool {
	return run.IsReceipt() || run.WasAbsorbed() || run.BypassedWebhook()
}
