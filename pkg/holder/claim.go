// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// WithoutOutcome returns a selector of a job's JobRuns that are Pending, Leased or have no phase. A watch with it sends a
// deletion when a run ends.
func WithoutOutcome(job string) fields.Selector {
	terms := []fields.Selector{fields.OneTermEqualSelector("spec.jobName", job)}
	for _, phase := range []v1alpha1.Phase{
		v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent,
	} {
		terms = append(terms, fields.OneTermNotEqualSelector("status.phase", string(phase)))
	}
	return fields.AndSelectors(terms...)
}

// Claimable reports whether a run waits for an external worker. Most runs can be claimed before they read Pending: see
// v1alpha1.JobRun.ClaimableUnannounced.
func Claimable(run *v1alpha1.JobRun) bool {
	isAnnounced := run.Status.Phase == v1alpha1.PhasePending && !run.RunsAsJob() && !run.EndRequested()
	return isAnnounced || run.ClaimableUnannounced()
}

// Duration returns how long the run's lease lives without renewal: spec.leaseDurationSeconds or, if that is not set,
// chosen, cut to whole seconds and at least 1 second.
func Duration(run *v1alpha1.JobRun, chosen time.Duration) time.Duration {
	if run.Spec.LeaseDurationSeconds > 0 {
		return time.Duration(run.Spec.LeaseDurationSeconds) * time.Second
	}
	return max(chosen.Truncate(time.Second), time.Second)
}

// ClaimOf returns a copy of run that claims its lease. It keeps the resourceVersion, so only the version that was read
// can be claimed.
func ClaimOf(run *v1alpha1.JobRun, identity string, duration time.Duration, now time.Time) *v1alpha1.JobRun {
	claim := run.DeepCopy()
	if run.ClaimableUnannounced() { // The operator's first write would set these.
		claim.Status.RunRef = &v1alpha1.ObjectReference{Name: run.Name, UID: run.UID}
		claim.Status.Stored = run.ResourceVersion
	}
	stamp := metav1.NewMicroTime(now.Truncate(time.Microsecond))
	claim.Status.Phase = v1alpha1.PhaseLeased
	claim.Status.Error = "" // The operator may have written that no worker claims the run.
	claim.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity:  identity,
		Generation:      run.LeaseGeneration() + 1,
		AcquireTime:     &stamp,
		RenewTime:       &stamp,
		DurationSeconds: int32(duration / time.Second),
	}
	return claim
}

// Claim sends a claim until an answer is known, and returns the claimed run. It gives up when the lease that the claim may
// have got is over, or when ctx ends. It may send the claim several times: at most one is stored, because all have the
// same resourceVersion. A conflict means that the run changed, or that another run executes for its key.
func Claim(ctx context.Context, api client.Client, c clock.Clock, claim *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	backoff := NewBackoff()
	sent := c.Now()
	over := time.Duration(claim.Status.Lease.DurationSeconds) * time.Second
	unanswered := false
	for {
		claimed := claim.DeepCopy()
		call, cancel := context.WithTimeout(ctx, CallTimeout)
		err := api.Status().Update(call, claimed)
		cancel()
		switch {
		case err == nil:
			return claimed, nil
		case apierrors.IsConflict(err) && unanswered:
			if stored, known := storedClaim(ctx, api, claim); known {
				if stored == nil {
					return nil, err
				}
				return stored, nil
			}
		case RefusedForGood(err), apierrors.IsConflict(err):
			return nil, err
		default:
			unanswered = true
		}
		if c.Since(sent) > over || !Pause(ctx, c, backoff.Step()) {
			return nil, err
		}
	}
}

// storedClaim returns the run if it has this claim, else nil. known is false if the run could not be read.
func storedClaim(ctx context.Context, api client.Client, claim *v1alpha1.JobRun) (stored *v1alpha1.JobRun, known bool) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	run := &v1alpha1.JobRun{}
	if err := api.Get(ctx, client.ObjectKeyFromObject(claim), run); err != nil {
		return nil, apierrors.IsNotFound(err)
	}
	mine, l := claim.Status.Lease, run.Status.Lease
	if run.UID == claim.UID && run.Status.Phase == v1alpha1.PhaseLeased && l != nil && l.HolderIdentity == mine.HolderIdentity &&
		l.Generation == mine.Generation && l.AcquireTime.Equal(mine.AcquireTime) {
		return run, true
	}
	return nil, true
}
