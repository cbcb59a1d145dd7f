// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// leaseDuration returns how long the lease of a run lives without a renewal; 0 if it ends with the Job.
func leaseDuration(run *v1alpha1.JobRun) time.Duration {
	seconds := run.Spec.LeaseDurationSeconds
	if run.Status.Lease != nil && run.Status.Lease.DurationSeconds > 0 {
		seconds = run.Status.Lease.DurationSeconds
	}
	if seconds == 0 && !run.RunsAsJob() {
		seconds = v1alpha1.DefaultLeaseDurationSeconds
	}
	return time.Duration(seconds) * time.Second
}

// renewalState is what changes in a run's status when its holder renews there.
type renewalState struct {
	generation int64
	renewed    string
}

// idle returns how long this process has seen no renewal of a run's lease. The holder renews in the status of the run,
// or through one Lease object for all of its runs. The controller watches Lease objects. idle also reads the object live
// if the watch has never shown it, and before the lease expires.
func (r *Reconciler) idle(ctx context.Context, run *v1alpha1.JobRun, duration time.Duration) (time.Duration, error) {
	state := renewalState{generation: run.LeaseGeneration()}
	if run.Status.Lease.RenewTime != nil {
		state.renewed = run.Status.Lease.RenewTime.String()
	}
	idle := r.sightings.unchangedFor(leaseSubject(run.UID), state)
	holder := run.Status.Lease.HolderIdentity
	if run.RunsAsJob() || holder == "" || len(content.IsPathSegmentName(holder)) > 0 {
		return idle, nil // A Job renews no Lease object, and no Lease object can have an empty or invalid name.
	}
	name := types.NamespacedName{Namespace: run.Namespace, Name: holder}
	since, known := r.sightings.sinceRenewal(name)
	if known && min(idle, since) < duration {
		return min(idle, since), nil
	}
	lease := &coordinationv1.Lease{}
	switch err := r.Live.Get(ctx, name, lease); {
	case err == nil:
		r.sightings.noteRenewal(lease)
		since, known = r.sightings.sinceRenewal(name)
		// The renewals have a bounded size and may have lost this Lease object since the last look.
		since = max(since, r.sightings.unchangedFor(holderSubject(run.UID), renewalOf(lease)))
	case !apierrors.IsNotFound(err):
		return 0, fmt.Errorf("read Lease %s: %w", name, err)
	}
	if known {
		return min(idle, since), nil
	}
	return idle, nil
}
