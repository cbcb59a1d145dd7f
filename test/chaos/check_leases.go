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
)

// checkLeases holds that no lease expires that its worker renews in time. The worker renewed in time if none of its
// renewals came later after the one before than the lease lives. What is too close to tell is taken for late.
func (r *Report) checkLeases(h *records, writes []write) {
	renewals := map[string][]write{} // by holder: of the Lease for all that it holds
	own := map[types.UID][]write{}   // by run: of its own
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

// workerOf is the worker that holds a run, if one does.
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

func (r *Report) checkExpiry(h *records, run *v1alpha1.JobRun, expiry write, renewals []write) {
	lives := time.Duration(run.Status.Lease.DurationSeconds) * time.Second
	slices.SortFunc(renewals, func(a, b write) int { return cmp.Compare(a.Revision, b.Revision) })
	next := expiry
	for i := len(renewals) - 1; i >= 0; i-- {
		if next.Seen-h.pulse.earliest(renewals[i].Revision) >= lives {
			return
		}
		if isClaimOf(renewals[i], run) {
			r.violate(leases, "the lease of %s by %s, generation %d, expired at %d though it was renewed every %s since its claim at %d",
				run.Name, workerOf(run), run.Status.Lease.Generation, expiry.Revision, lives, renewals[i].Revision)
			return
		}
		next = renewals[i]
	}
}

// isClaimOf reports whether a write gave a run its lease.
func isClaimOf(w write, run *v1alpha1.JobRun) bool {
	claimed, ok := w.New.(*v1alpha1.JobRun)
	return ok && claimed.UID == run.UID && claimed.Status.Lease.Generation == run.Status.Lease.Generation
}
