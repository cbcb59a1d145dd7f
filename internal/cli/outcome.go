package cli

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// outcomeOf is how a run ended, or the run that stands for a receipt: Completed,
// Failed or Cancelled; empty as long as it has not.
func outcomeOf(run *v1alpha1.JobRun) v1alpha1.Phase {
	for condition, end := range map[string]v1alpha1.Phase{
		v1alpha1.ConditionComplete:  v1alpha1.PhaseCompleted,
		v1alpha1.ConditionFailed:    v1alpha1.PhaseFailed,
		v1alpha1.ConditionCancelled: v1alpha1.PhaseCancelled,
	} {
		if run.Status.Phase == end || meta.IsStatusConditionTrue(run.Status.Conditions, condition) {
			return end
		}
	}
	return ""
}

// isReceipt reports whether another run stands for the trigger.
func isReceipt(run *v1alpha1.JobRun) bool {
	return run.Status.Phase == v1alpha1.PhaseCoalesced || run.Status.Phase == v1alpha1.PhaseIdempotent
}
