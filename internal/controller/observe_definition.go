// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// observeDefinition reads the definition of the home's runs, if it rules one of them. A definition that the cache does not
// show may be newer than the cache, so it is read live before its runs are told that it does not exist.
func (o *observer) observeDefinition(ctx context.Context) error {
	run := firstRuled(o.Runs)
	if run == nil {
		return nil
	}
	name := client.ObjectKey{Namespace: run.Namespace, Name: run.Spec.JobName}
	found, err := cache.FindDefinition(ctx, o.Client, o.Live, name, nil)
	o.Definition = found
	return err
}

// firstRuled returns a run that a definition rules; nil if there is none. All runs of a home are of one job.
func firstRuled(runs []*v1alpha1.JobRun) *v1alpha1.JobRun {
	for _, run := range runs {
		if executor.IsDefined(run) {
			return run
		}
	}
	return nil
}

// decidesOtherwise reports whether a change of a definition matters to the runs that wait. Its counters do not.
func decidesOtherwise(old, now *v1alpha1.JobDefinition) bool {
	return old.Generation != now.Generation || (old.DeletionTimestamp == nil) != (now.DeletionTimestamp == nil) ||
		!apiequality.Semantic.DeepEqual(old.NotReady(), now.NotReady())
}

// requestsForDefinition returns the homes of the runs of a job that have no Job yet, and ends the backoff of those whose Job
// could not be made.
func (r *Reconciler) requestsForDefinition(ctx context.Context, definition *v1alpha1.JobDefinition) []Request {
	runs, err := r.list(ctx, definition.Namespace, cache.FieldUnstarted, definition.Name)
	if err != nil {
		log.FromContext(ctx).Error(err, "Listing the runs of a JobDefinition from the cache")
		return nil
	}
	for _, run := range runs {
		r.sightings.dueNow(run.UID)
	}
	return homeRequests(runs)
}
