// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/health"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// life is a JobRun as the operator or a worker wrote it, and what kstatus must read in it.
type life struct {
	run  *v1alpha1.JobRun
	want status.Status
}

// lives returns a JobRun of every phase, by what it is. The functions that decide on statuses wrote them.
func lives() map[string]life {
	written := func(w *wrappers.JobRunWrapper, status v1alpha1.JobRunStatus) *v1alpha1.JobRun {
		run := w.DeepCopy()
		run.Status = status
		return run
	}
	ended := func(phase v1alpha1.Phase) *v1alpha1.JobRun {
		leased := made("a").Leased(1, "5")
		return written(leased, endedStatus(leased.Obj(), ending{phase: phase, generation: 1, reason: "R", message: "m", now: now}))
	}
	fresh := made("a").Obj()
	fresh.Status.ObservedGeneration = -1 // the CRD's default
	line := made("a")
	refused := written(made("a"), leasedStatus(made("a").Obj(), 1, "10", now))
	refused.Status.Error = "exceeded quota"
	leader := written(made("a"), DecideBatch(whole()).Ops[0].(WriteStatus).Status)
	receipt := func(run *v1alpha1.JobRun) *v1alpha1.JobRun {
		bound := written(answered("r", "a", "4"), boundStatus(answered("r", "a", "4").Obj(), fresh, v1alpha1.PhaseCoalesced, now))
		if run != nil {
			bound.Status = outcomeStatus(bound, run)
		}
		return bound
	}
	delivery := written(delivered("r", "a"), boundStatus(delivered("r", "a").Obj(), fresh, v1alpha1.PhaseIdempotent, now))
	orphan := receipt(nil)
	orphan.Status = cancelledReceiptStatus(orphan, ReasonRunDeleted, "run a was deleted", now)
	return map[string]life{
		"not written yet":                        {fresh, status.InProgressStatus},
		"in line":                                {written(line, inLineStatus(line.Obj())), status.InProgressStatus},
		"the leader of a batch":                  {leader, status.InProgressStatus},
		"Pending":                                {written(made("a"), pendingStatus(made("a").Obj())), status.InProgressStatus},
		"Leased":                                 {written(made("a"), leasedStatus(made("a").Obj(), 1, "10", now)), status.InProgressStatus},
		"Leased, and its Job is refused":         {refused, status.InProgressStatus},
		"Leased without a holder":                {written(made("a"), expiredStatus(made("a").Leased(1, "5").Obj())), status.InProgressStatus},
		"Completed":                              {ended(v1alpha1.PhaseCompleted), status.CurrentStatus},
		"Failed":                                 {ended(v1alpha1.PhaseFailed), status.FailedStatus},
		"Cancelled":                              {ended(v1alpha1.PhaseCancelled), status.FailedStatus},
		"Coalesced":                              {receipt(nil), status.InProgressStatus},
		"Coalesced, and its run completed":       {receipt(ended(v1alpha1.PhaseCompleted)), status.CurrentStatus},
		"Coalesced, and its run failed":          {receipt(ended(v1alpha1.PhaseFailed)), status.FailedStatus},
		"Coalesced, and its run was cancelled":   {receipt(ended(v1alpha1.PhaseCancelled)), status.FailedStatus},
		"Coalesced, and its run was deleted":     {orphan, status.FailedStatus},
		"Idempotent":                             {delivery, status.InProgressStatus},
		"Idempotent, and its run completed":      {outcomeOf(delivery, ended(v1alpha1.PhaseCompleted)), status.CurrentStatus},
		"Leased, in a status that lost the rest": {claimedBare(), status.InProgressStatus},
	}
}

func outcomeOf(receipt, run *v1alpha1.JobRun) *v1alpha1.JobRun {
	receipt = receipt.DeepCopy()
	receipt.Status = outcomeStatus(receipt, run)
	return receipt
}

// claimedBare returns a run whose worker replaced the status by its claim. The API server sets the default of
// observedGeneration then.
func claimedBare() *v1alpha1.JobRun {
	run := makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker").Obj()
	run.Status = v1alpha1.JobRunStatus{Phase: run.Status.Phase, Lease: run.Status.Lease, ObservedGeneration: -1}
	return run
}

// whole returns a batch whose only member exists.
func whole() Batch {
	leader := made("a").Obj()
	leader.Spec.Batch = &v1alpha1.BatchMember{ID: "b", Size: 1, Leader: "a"}
	return Batch{Leader: leader, Members: []*v1alpha1.JobRun{leader}}
}

func TestKstatusReadsEveryPhase(t *testing.T) {
	phases := map[v1alpha1.Phase]bool{}
	for name, life := range lives() {
		t.Run(name, func(t *testing.T) {
			phases[life.run.Status.Phase] = true
			if want := health.Want(life.run); want != life.want {
				t.Errorf("health wants %s, this table %s", want, life.want)
			}
			if err := health.Check(life.run); err != nil {
				t.Error(err)
			}
			if life.run.MisstatesOutcome() {
				t.Errorf("it would be written again: %+v", life.run.Status)
			}
		})
	}
	if len(phases) != 8 {
		t.Errorf("the table has the phases %v", phases)
	}
}

// The operator repairs what a worker or a user changed at or after the end, so that kstatus reads the outcome.
func TestOutcomesAreRestated(t *testing.T) {
	asked := func(run *v1alpha1.JobRun) {
		run.Generation++
		run.Spec.Cancel = new(true)
	}
	notYetReady := func(run *v1alpha1.JobRun) {
		for i := range run.Status.Conditions {
			if c := &run.Status.Conditions[i]; c.Type == v1alpha1.ConditionReady {
				c.Status = metav1.ConditionFalse
			}
		}
	}
	notStalled := func(run *v1alpha1.JobRun) { run.Status.Conditions = run.Status.Conditions[:2] }
	bare := func(run *v1alpha1.JobRun) {
		run.Status.Conditions = []metav1.Condition{condition("Complete", "Mine", "")}
		run.Status.ObservedGeneration = -1
	}
	all := lives()
	for name, tc := range map[string]struct {
		run    string
		change func(*v1alpha1.JobRun)
	}{
		"cancel after the end":                        {"Completed", asked},
		"cancel after a failure":                      {"Failed", asked},
		"cancel of a receipt with an outcome":         {"Coalesced, and its run failed", asked},
		"a worker wrote Complete and its time itself": {"Completed", notYetReady},
		"a worker wrote Failed and its time itself":   {"Failed", notStalled},
		"a worker replaced the status by a whole end": {"Completed", bare},
		"a client replaced the status of a receipt":   {"Coalesced, and its run completed", bare},
	} {
		t.Run(name, func(t *testing.T) {
			run := all[tc.run].run.DeepCopy()
			tc.change(run)
			if health.Check(run) == nil {
				t.Fatal("kstatus reads the outcome already")
			}
			plan := DecideReport(run, now)
			if len(plan.Ops) != 1 {
				t.Fatalf("plan %q", plan)
			}
			run.Status = plan.Ops[0].(WriteStatus).Status
			if err := health.Check(run); err != nil {
				t.Error(err)
			}
			if again := DecideReport(run, now); len(again.Ops) > 0 {
				t.Errorf("it is written again: %s", again)
			}
		})
	}
}

// A run that ended under a version without Ready is left as it is: there may be 100,000 of them. So is a JobRun that is
// being deleted, which raises the generation, too.
func TestOutcomesThatAreLeft(t *testing.T) {
	old := made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Reported().Obj()
	deleted := lives()["Completed"].run
	deleted.Generation++
	deleted.DeletionTimestamp = &now
	for name, run := range map[string]*v1alpha1.JobRun{"of an older version": old, "being deleted": deleted} {
		if plan := DecideReport(run, now); len(plan.Ops) > 0 {
			t.Errorf("%s: %s", name, plan)
		}
	}
}
