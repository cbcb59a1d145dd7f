// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file checks what idempotency keys remember of their owners (P10).

// ownerChanged checks a write of an idempotency key: its owner keeps it until it has ended, and then for as long as the terms
// of the key say.
func (j *Judge) ownerChanged(before, after *v1alpha1.RunKeySpec) {
	if after != nil && after.Outcome != nil && runkey.Remembered(before) == nil {
		j.remembers(after)
	}
	owner := runkey.Owner(before)
	if owner == (runkey.Identity{}) || owner == runkey.Owner(after) {
		return
	}
	terms, key := runkey.TermsIn(before), delivery{before.JobName, before.Key}
	switch run := j.find(owner); {
	case before.Outcome != nil && j.o.Clock != nil && j.o.Clock.Now().Before(before.Outcome.ForgetTime.Time):
		j.fail("P10: idempotencyKey %q is forgotten before %s", before.Key, before.Outcome.ForgetTime)
	case before.Outcome != nil:
		j.freed[key] = true
	case run == nil:
		j.goneOwner(before, owner)
	case j.tookOver(owner, runkey.Owner(after)):
	case terms.TTLSeconds == 0 && runkey.Owner(after).RunName == owner.RunName:
		// A trigger takes a reservation over under its own name (P1), while the other one's create is in progress.
	case run.IsReceipt() || run.Spec.Batch != nil && j.decisionOf(run) != v1alpha1.BatchStarted:
	case !run.HasEnded():
		j.fail("P10: %s lost idempotencyKey %q before it ended", describe(run), before.Key)
	case !releases(terms, run.Status.Phase):
		j.fail("P10: %s released idempotencyKey %q", describe(run), before.Key)
	default:
		j.freed[key] = true
	}
}

// tookOver reports whether a key went to the trigger that brought it to its owner, and that was promoted since.
func (j *Judge) tookOver(owner, next runkey.Identity) bool {
	run := j.find(next)
	return run != nil && run.Spec.Admission != nil && run.Spec.Admission.Disposition == v1alpha1.DispositionCoalesced && runkey.AnsweredWith(run) == owner && !run.IsReceipt()
}

// goneOwner checks that the operator deletes no run before its key remembers how the run ended. People may.
func (j *Judge) goneOwner(key *v1alpha1.RunKeySpec, owner runkey.Identity) {
	run := j.findEver(owner)
	if run == nil || !run.HasEnded() || withdrawn(run) {
		return
	}
	terms := runkey.TermsIn(key)
	if j.o.Kept(run.UID) && terms.TTLSeconds > 0 && !releases(terms, run.Status.Phase) {
		j.fail("P10: %s was deleted before idempotencyKey %q remembered its end", describe(run), key.Key)
	}
	j.freed[delivery{key.JobName, key.Key}] = true
}

// remembers checks the outcome that an idempotency key begins to remember.
func (j *Judge) remembers(key *v1alpha1.RunKeySpec) {
	run, end, terms := j.findEver(runkey.Owner(key)), key.Outcome, runkey.TermsIn(key)
	if run == nil || run.UID != end.UID || run.Status.Phase != end.Phase || !run.HasEnded() {
		j.fail("P10: idempotencyKey %q remembers %v, but its owner is %v", key.Key, end, run)
		return
	}
	if releases(terms, end.Phase) {
		j.fail("P10: %s does not release idempotencyKey %q", describe(run), key.Key)
	}
	if least := run.Status.CompletionTime.Add(terms.TTL()); end.ForgetTime.Time.Before(least) {
		j.fail("P10: idempotencyKey %q of %s is remembered until %s, before %s", key.Key, describe(run), end.ForgetTime, least)
	}
	if err := j.onTermsOf(key, run); err != nil {
		j.fail("%s", err)
	}
}

// onTermsOf checks that an idempotency key has the terms of its owner, if the owner brought it. Other terms may be those of a
// trigger whose create was refused after its answer.
func (j *Judge) onTermsOf(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) error {
	brought := deliveryOf(run) == delivery{key.JobName, key.Key} && !run.WasAbsorbed()
	if terms := runkey.TermsIn(key); brought && terms != runkey.TermsOf(run) {
		return fmt.Errorf("P10: idempotencyKey %q has the terms %v, but %s brought it on %v", key.Key, terms, describe(run), runkey.TermsOf(run))
	}
	return nil
}

// executesAgain checks that no delivery executes while its idempotency key remembers how another run ended.
func (j *Judge) executesAgain(token string) {
	for _, run := range j.runs {
		if runkey.IdentityOf(run).Token != token || run.Spec.IdempotencyKey == "" {
			continue
		}
		row := j.keys[v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)]
		if row != nil && row.Spec.Outcome != nil && runkey.Owner(&row.Spec) != runkey.IdentityOf(run) && row.Spec.Owner.RunName != run.Name {
			j.fail("P10: %s executes, but idempotencyKey %q remembers %s of %v", describe(run), row.Spec.Key, row.Spec.Outcome.Phase, row.Spec.Owner)
		}
	}
}

// inherits checks that a receipt gets exactly the outcome of its run, also if that run is gone by then.
func (j *Judge) inherits(old, receipt *v1alpha1.JobRun) {
	if !receipt.IsReceipt() || old.HasOutcome() || !receipt.HasOutcome() || receipt.EndRequested() {
		return
	}
	run := j.everRuns[receipt.Status.RunRef.UID]
	if run == nil {
		j.fail("P10: receipt %s has the outcome of a run that never existed", describe(receipt))
		return
	}
	if !run.HasEnded() || sameOutcome(receipt, run) {
		return
	}
	failed := meta.FindStatusCondition(receipt.Status.Conditions, v1alpha1.ConditionCancelled)
	if j.o.Kept(run.UID) || !j.deleted[run.UID] || failed == nil || failed.Reason != "RunDeleted" {
		j.fail("P10: receipt %s has another outcome than %s", describe(receipt), describe(run))
	}
}

func sameOutcome(receipt, run *v1alpha1.JobRun) bool {
	kind := v1alpha1.OutcomeCondition(run.Status.Phase)
	a, b := meta.FindStatusCondition(receipt.Status.Conditions, kind), meta.FindStatusCondition(run.Status.Conditions, kind)
	return receipt.Outcome() == run.Status.Phase && receipt.Status.CompletionTime.Equal(run.Status.CompletionTime) &&
		a != nil && b != nil && a.Reason == b.Reason
}

// lasts checks that at rest each idempotency key has done what its terms say.
func (j *Judge) lasts(key *v1alpha1.RunKeySpec) error {
	run, terms := j.find(runkey.Owner(key)), runkey.TermsIn(key)
	switch {
	case key.Outcome != nil:
		return nil // Keys that last longer than a minute need a sweep.
	case run == nil:
		return fmt.Errorf("the RunKey of idempotencyKey %q is left at rest, but its owner %v is gone", key.Key, runkey.Owner(key))
	case run.HasEnded() && releases(terms, run.Status.Phase):
		return fmt.Errorf("P10: %s keeps idempotencyKey %q at rest", describe(run), key.Key)
	case run.HasEnded() && terms.TTLSeconds > 0:
		return fmt.Errorf("P10: idempotencyKey %q does not remember %s at rest", key.Key, describe(run))
	default:
		return j.onTermsOf(key, run)
	}
}

// findEver returns the JobRun with an identity in its last state; nil if it never existed.
func (j *Judge) findEver(id runkey.Identity) *v1alpha1.JobRun {
	for _, run := range j.everRuns {
		if runkey.IdentityOf(run) == id {
			return run
		}
	}
	return nil
}

// releases reports whether a key is released when its owner ends in a phase. It repeats the rule of the code that it judges.
func releases(terms runkey.Terms, end v1alpha1.Phase) bool {
	return terms.Release == v1alpha1.IdempotencyReleaseOnFailure && (end == v1alpha1.PhaseFailed || end == v1alpha1.PhaseCancelled)
}
