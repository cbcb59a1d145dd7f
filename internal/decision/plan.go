// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Plan is what a decision wants done, in this order. The first operation that
// does not succeed ends it, unless no other rests on it: the deletion of a JobRun,
// and the status of a receipt that the API server refuses for what it is.
type Plan struct {
	// Step names the decision, for logs and tests.
	Step string
	Ops  []Op
	// After is when to look again even if nothing changes; 0 for never.
	After time.Duration
}

// Op is one operation of a Plan.
type Op interface{ op() }

type (
	// CheckKey reads the RunKey live and requires the version decided on, or written
	// before in the same plan.
	CheckKey struct{}

	// CheckRun reads a JobRun live and requires the version decided on, or written
	// before in the same plan.
	CheckRun struct{ Run *v1alpha1.JobRun }

	// StopStrays lists the Jobs of the home live, deletes the unfinished ones, and
	// requires that there were none.
	StopStrays struct{}

	// StopRun lists the Jobs and Pods of a run live, deletes the unfinished Jobs, and
	// requires that neither an unfinished Job nor a running Pod is left.
	StopRun struct {
		Run runkey.Identity
		// Generation whose finished Job proves that its Pods have ended, too.
		Generation int64
	}

	// CheckPods lists the Pods of a run live and requires that none of them runs:
	// its Job may have been deleted before its UID was written down.
	CheckPods struct{ Run runkey.Identity }

	// SwapKey makes Next of the RunKey, by compare-and-swap on the version
	// decided on; nil deletes it.
	SwapKey struct{ Next *v1alpha1.RunKeySpec }

	// CreateJob creates the Job of a run for a generation, or finds the one
	// that was created before.
	CreateJob struct {
		Run        *v1alpha1.JobRun
		Generation int64
		// KeyVersion is the one that the claim of the key was based on; empty without a key.
		KeyVersion string
	}

	// ConfirmLease reads the RunKey live once the Job is there. If the key does not
	// lease the generation any more, it deletes the Job and ends the plan.
	ConfirmLease struct {
		Run        runkey.Identity
		Generation int64
	}

	// WriteStatus writes a status, by compare-and-swap on the version decided
	// on or written before in the same plan. A status that reads Leased gets
	// the Job that the plan created.
	WriteStatus struct {
		Run    *v1alpha1.JobRun
		Status v1alpha1.JobRunStatus
	}

	// DeleteJob deletes a Job with its Pods.
	DeleteJob struct{ Job *batchv1.Job }

	// DeleteRun deletes a JobRun at the version decided on.
	DeleteRun struct{ Run *v1alpha1.JobRun }

	// Emit records an event about what was written before it.
	Emit struct{ Event Event }

	// Count counts what was written before it.
	Count struct{ Metric Metric }
)

func (CheckKey) op()     {}
func (CheckRun) op()     {}
func (StopStrays) op()   {}
func (StopRun) op()      {}
func (CheckPods) op()    {}
func (SwapKey) op()      {}
func (CreateJob) op()    {}
func (ConfirmLease) op() {}
func (WriteStatus) op()  {}
func (DeleteJob) op()    {}
func (DeleteRun) op()    {}
func (Emit) op()         {}
func (Count) op()        {}
