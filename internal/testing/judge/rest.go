// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"errors"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/health"
)

// AtRest checks what must hold once nothing changes any more.
func (j *Judge) AtRest() error {
	var errs []error
	for _, run := range j.runs {
		errs = append(errs, j.hasOutcome(run), j.startedAfter(run), j.countsWhatItStandsFor(run), j.countsNothingElse(run), j.countsAll(run),
			j.allOrNothing(run), j.endsRestored(run), health.Check(run))
	}
	errs = append(errs, j.nothingLeft(), j.idempotent())
	return errors.Join(errs...)
}

// hasOutcome checks I2: no accepted trigger is lost.
func (j *Judge) hasOutcome(run *v1alpha1.JobRun) error {
	if run.HasOutcome() {
		if run.Spec.TTLSecondsAfterFinished != nil {
			return fmt.Errorf("%s is kept after its ttlSecondsAfterFinished", describe(run))
		}
		return nil
	}
	return fmt.Errorf("I2: %s has no outcome at rest", describe(run))
}

// startedAfter checks I2 for a receipt: its run started after the receipt's trigger was accepted, or was
// cancelled or deleted.
func (j *Judge) startedAfter(receipt *v1alpha1.JobRun) error {
	if receipt.Status.Phase != v1alpha1.PhaseCoalesced {
		return nil
	}
	run := j.everRuns[receipt.Status.RunRef.UID]
	if run == nil {
		return fmt.Errorf("I2: receipt %s is bound to a run that never existed", describe(receipt))
	}
	if run.Status.Phase == v1alpha1.PhaseCoalesced || run.Status.Phase == v1alpha1.PhaseIdempotent {
		if j.ended(receipt.UID) || j.endsWithNobody(run) {
			return nil // It ended before the controller could bind it anew.
		}
		return fmt.Errorf("P1: receipt %s is bound to receipt %s", describe(receipt), describe(run))
	}
	if withdrawn(run) {
		return fmt.Errorf("batch: receipt %s is bound to %s, which was withdrawn", describe(receipt), describe(run))
	}
	if run.Status.Phase == v1alpha1.PhaseCancelled || j.deleted[run.UID] {
		return nil
	}
	accepted, err := strconv.ParseUint(receipt.Spec.Admission.KeyVersion, 10, 64)
	if receipt.Spec.Admission.Disposition != v1alpha1.DispositionCoalesced {
		accepted, err = j.created[receipt.UID], nil // The receipt was a run, and was displaced.
	}
	if err != nil {
		return fmt.Errorf("P2: receipt %s has keyVersion %q", describe(receipt), receipt.Spec.Admission.KeyVersion)
	}
	for _, claim := range j.claims[runkey.IdentityOf(run)] {
		if claim > accepted {
			return nil
		}
	}
	return fmt.Errorf("I2: receipt %s, accepted at %d, is bound to %s, claimed at %v",
		describe(receipt), accepted, describe(run), j.claims[runkey.IdentityOf(run)])
}

// endsWithNobody follows a chain of receipts, and reports whether one of the JobRuns that they name was deleted.
func (j *Judge) endsWithNobody(receipt *v1alpha1.JobRun) bool {
	for run := receipt; run.Status.Phase == v1alpha1.PhaseCoalesced || run.Status.Phase == v1alpha1.PhaseIdempotent; {
		uid := run.Status.RunRef.UID
		if j.deleted[uid] {
			return true
		}
		run = j.everRuns[uid]
	}
	return false
}

// countsWhatItStandsFor checks I3: a run counts every receipt that is bound to it.
func (j *Judge) countsWhatItStandsFor(run *v1alpha1.JobRun) error {
	for _, receipt := range j.everRuns {
		bound := receipt.Status.Phase == v1alpha1.PhaseCoalesced && receipt.Status.RunRef.UID == run.UID
		if bound && !j.counted[run.UID][receipt.UID] {
			return fmt.Errorf("I3: %s does not count its receipt %s", describe(run), describe(receipt))
		}
	}
	return nil
}

// countsNothingElse checks the other half of I3: no trigger that a run counted executes itself, if the run
// was claimed.
func (j *Judge) countsNothingElse(run *v1alpha1.JobRun) error {
	if j.ended(run.UID) || len(j.claims[runkey.IdentityOf(run)]) == 0 {
		return nil
	}
	for uid := range j.counted[run.UID] {
		if trigger := j.everRuns[uid]; len(j.claims[runkey.IdentityOf(trigger)]) > 0 && trigger.Status.Phase != v1alpha1.PhaseCoalesced {
			return fmt.Errorf("I3: %s has counted %s, which executed itself", describe(run), describe(trigger))
		}
	}
	return nil
}

// nothingLeft checks that no concurrency RunKey exists any more, that each idempotency RunKey is needed, and that every Job is
// finished, or gone.
func (j *Judge) nothingLeft() error {
	for _, key := range j.keys {
		if j.o.NotesStay && runkey.IsFree(&key.Spec) && len(key.Spec.Unconfirmed) > 0 {
			continue
		}
		if key.Spec.Kind == v1alpha1.RunKeyConcurrency {
			return fmt.Errorf("the RunKey of %q is left at rest: pending %v, line %v, leased %v",
				key.Spec.Key, runkey.Pending(&key.Spec), runkey.Line(&key.Spec), runkey.Leased(&key.Spec))
		}
		if err := j.lasts(&key.Spec); err != nil {
			return err
		}
	}
	for _, job := range j.jobs {
		if !executor.IsFinished(job) {
			return fmt.Errorf("at rest, Job %s is unfinished", job.Name)
		}
		if j.o.JobsGo {
			return fmt.Errorf("at rest, Job %s is kept after its TTL", job.Name)
		}
	}
	return nil
}

// idempotent checks I6: one run stands for all deliveries of an idempotency key, unless one of them was
// deleted or cancelled, or the key was released or forgotten.
func (j *Judge) idempotent() error {
	stand := map[delivery]types.UID{}
	for uid, run := range j.everRuns {
		key := deliveryOf(run)
		if key.key == "" || run.Status.RunRef == nil || withdrawn(run) || j.touched(key) || j.freed[key] {
			continue
		}
		if other, ok := stand[key]; ok && other != run.Status.RunRef.UID {
			return fmt.Errorf("I6: for idempotencyKey %q of job %q stand both %s and %s", key.key, key.job,
				describe(j.everRuns[other]), describe(j.everRuns[j.everRuns[uid].Status.RunRef.UID]))
		}
		stand[key] = run.Status.RunRef.UID
	}
	return nil
}

// delivery is an idempotency key of a job.
type delivery struct{ job, key string }

func deliveryOf(run *v1alpha1.JobRun) delivery {
	return delivery{run.Spec.JobName, run.Spec.IdempotencyKey}
}

// touched reports whether a trigger with the idempotency key, or a run that stands for one, was deleted or
// cancelled.
func (j *Judge) touched(key delivery) bool {
	for uid, run := range j.everRuns {
		if deliveryOf(run) != key {
			continue
		}
		if j.ended(uid) || j.absorberEnded(run) || (run.Status.RunRef != nil && j.ended(run.Status.RunRef.UID)) {
			return true
		}
	}
	return false
}

// absorberEnded is ended for the run that the trigger's answer names.
func (j *Judge) absorberEnded(receipt *v1alpha1.JobRun) bool {
	for uid, run := range j.everRuns {
		if runkey.IdentityOf(run).Token == receipt.Spec.Admission.RunToken {
			return j.ended(uid)
		}
	}
	return false // That run never existed.
}

// ended reports whether a JobRun was deleted or cancelled.
func (j *Judge) ended(uid types.UID) bool {
	run := j.everRuns[uid]
	return j.deleted[uid] || run == nil || run.CancelRequested()
}
