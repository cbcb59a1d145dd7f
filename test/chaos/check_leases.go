// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"cmp"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// checkLeases checks that no lease expires that its worker renews in time: with less than the lease's duration between
// any two renewals. A renewal that may have been late counts as late.
func (r *Report) checkLeases(h *records, writes []write) {
	renewals := map[string][]write{} // of the worker's Lease object, by worker
	own := map[types.UID][]write{}   // of the lease in a run's status, by run
	for _, w := range writes {
		old, _ := w.Old.(*v1alpha1.JobRun)
		switch object := w.New.(type) {
		case *coordinationv1.Lease:
			renewals[object.Name] = append(renewals[object.Name], w)
		case *v1alpha1.JobRun:
			switch {
			case old != nil && workerOf(old) != "" && object.Status.Attempts > old.Status.Attempts:
				r.put(leases, 1)
				r.checkExpiry(h, old, w, slices.Concat(renewals[workerOf(old)], own[old.UID]))
			case workerOf(object) != "" && (old == nil || !sameLease(old, object)):
				own[object.UID] = append(own[object.UID], w)
			}
		}
	}
}

// checkExpiries counts what followed the leases that expired, for I5. The judge checks it.
func (r *Report) checkExpiries(writes []write) {
	expired := map[runkey.Identity]bool{}
	followed := func(run runkey.Identity, what string) {
		if expired[run] {
			delete(expired, run)
			r.put("I5", 1)
			r.Numbers["expired, "+what]++
		}
	}
	for _, w := range writes {
		switch object := w.New.(type) {
		case *v1alpha1.JobRun:
			old, _ := w.Old.(*v1alpha1.JobRun)
			if old != nil && object.Status.Attempts > old.Status.Attempts {
				r.Numbers["expired leases"]++
				expired[runkey.IdentityOf(object)] = true
			}
			if object.Status.Phase == v1alpha1.PhaseFailed {
				followed(runkey.IdentityOf(object), "failed")
			}
		case *v1alpha1.RunKey:
			old, _ := w.Old.(*v1alpha1.RunKey)
			if old == nil || runkey.Leased(&old.Spec) != runkey.Pending(&object.Spec) {
				continue
			}
			if runkey.Pending(&old.Spec) == (runkey.Identity{}) {
				followed(runkey.Pending(&object.Spec), "waits again")
			} else {
				followed(runkey.Pending(&object.Spec), "displaced another")
			}
		}
	}
}

// workerOf returns the worker that holds a run, or "".
func workerOf(run *v1alpha1.JobRun) string {
	lease := run.Status.Lease
	if run.Status.Phase != v1alpha1.PhaseLeased || lease == nil || strings.HasPrefix(lease.HolderIdentity, "job/") {
		return ""
	}
	return lease.HolderIdentity
}

func sameLease(a, b *v1alpha1.JobRun) bool {
	return a.Status.Lease != nil && b.Status.Lease != nil && a.Status.Lease.Generation == b.Status.Lease.Generation &&
		a.Status.Lease.RenewTime.Equal(b.Status.Lease.RenewTime)
}

// checkExpiry goes back from an expiry through the renewals. It reports a violation if it reaches the claim of the lease
// without finding a gap of the lease's duration.
func (r *Report) checkExpiry(h *records, run *v1alpha1.JobRun, expiry write, renewals []write) {
	lives := time.Duration(run.Status.Lease.DurationSeconds) * time.Second
	slices.SortFunc(renewals, func(a, b write) int { return cmp.Compare(a.Revision, b.Revision) })
	next := expiry
	for i := len(renewals) - 1; i >= 0; i-- {
		if next.Seen-h.pulse.earliest(renewals[i].Revision) >= lives {
			return
		}
		if isClaimOf(renewals[i], run) {
			r.violate(leases, "the lease of %s by %s, generation %d, expired at revision %d, but was renewed at least every %s since its claim at revision %d",
				run.Name, workerOf(run), run.Status.Lease.Generation, expiry.Revision, lives, renewals[i].Revision)
			return
		}
		next = renewals[i]
	}
}

// isClaimOf reports whether a write gave a run the lease that it has.
func isClaimOf(w write, run *v1alpha1.JobRun) bool {
	claimed, ok := w.New.(*v1alpha1.JobRun)
	return ok && claimed.UID == run.UID && claimed.Status.Lease.Generation == run.Status.Lease.Generation
}
