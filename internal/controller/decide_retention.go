package controller

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Retention is what a decision about how long to keep a JobRun is made from.
type Retention struct {
	Now metav1.Time
	Run *v1alpha1.JobRun
	// Unbound are the receipts that were answered with the run and are not
	// bound to any, Bound those bound to it, oldest first.
	Unbound []*v1alpha1.JobRun
	Bound   []*v1alpha1.JobRun
	// Held are those that must be kept: a member of the batch they lead has yet to
	// learn what became of it, or a receipt names them that has no outcome.
	Held map[types.UID]bool
	// History is how many bound receipts are kept.
	History int
}

// decideRetention says which JobRuns have been kept long enough. A run stays as
// long as one of its receipts has no outcome, for the receipt gets it from the
// run, and a receipt stays until it is counted.
func decideRetention(t Retention) Plan {
	if excess := len(t.Bound) - t.History; excess > 0 {
		plan := Plan{Step: "trim-receipts"}
		for _, receipt := range t.Bound[:excess] {
			if !t.Held[receipt.UID] {
				plan.Ops = append(plan.Ops, DeleteRun{receipt})
			}
		}
		if len(plan.Ops) > 0 {
			return plan
		}
	}
	left, kept := timeToLive(t.Run, t.Now)
	switch {
	case !kept || t.awaited():
		return Plan{}
	case left > 0:
		return Plan{After: left}
	default:
		return Plan{Step: "expire-ttl", Ops: []Op{DeleteRun{t.Run}}}
	}
}

// awaited reports whether a receipt, or a member of its batch, still needs the run.
func (t Retention) awaited() bool {
	return len(t.Unbound) > 0 || t.Held[t.Run.UID] || !allHaveOutcome(t.Bound)
}

func allHaveOutcome(receipts []*v1alpha1.JobRun) bool {
	return !slices.ContainsFunc(receipts, func(receipt *v1alpha1.JobRun) bool { return !runkey.HasOutcome(receipt) })
}

// timeToLive is how long a JobRun is kept from now; ok is false if it is kept
// for good.
func timeToLive(run *v1alpha1.JobRun, now metav1.Time) (left time.Duration, ok bool) {
	ttl, ended := run.Spec.TTLSecondsAfterFinished, run.Status.CompletionTime
	if ttl == nil || ended == nil || !runkey.HasOutcome(run) {
		return 0, false
	}
	return ended.Add(time.Duration(*ttl) * time.Second).Sub(now.Time), true
}
