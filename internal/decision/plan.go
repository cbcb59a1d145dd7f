// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Plan is an ordered list of operations. The first operation that fails ends the plan, with two exceptions:
//   - the deletion of a JobRun fails
//   - the API server refuses the status of a receipt for its content
//
// No other operation depends on these two.
type Plan struct {
	// Step names the decision, for logs and tests.
	Step string
	Ops  []Op
	// After is when to decide again even if nothing changes; 0 for never.
	After time.Duration
}

// Op is one operation of a Plan.
type Op interface{ op() }

type (
	// CheckKey reads the RunKey live and requires the version that the plan is based on or has written.
	CheckKey struct{}

	// CheckRun reads a JobRun live and requires the version that the plan is based on or has written.
	CheckRun struct{ Run *v1alpha1.JobRun }

	// StopStrays lists the Jobs of the home live and requires that all have finished. It deletes those that
	// have not.
	StopStrays struct{}

	// CheckUnconfirmed reads Jobs that may still appear live, and requires that none of them executes. It deletes those
	// that do.
	CheckUnconfirmed struct{ Jobs []v1alpha1.UnconfirmedJob }

	// StopRun requires that no Job and no Pod of a run executes. It reads live the Job of the last lease and those that the
	// key notes, and takes the others from the cache. It deletes unfinished Jobs.
	StopRun struct {
		Run runkey.Identity
		// Generation is the generation of the last lease. If the Job of that generation has finished, its
		// Pods have ended, too.
		Generation int64
	}

	// CheckPods lists the Pods of a run live and requires that none of them runs. Their Job may have been
	// deleted before the status named it.
	CheckPods struct{ Run runkey.Identity }

	// SwapKey replaces the RunKey with Next, by compare-and-swap on the version that the plan is based on or
	// has written. A nil Next deletes it.
	SwapKey struct {
		Next *v1alpha1.RunKeySpec
		// Noted, if set, takes the place of Next, unless the StopRun of this plan saw that the Job of the lease has
		// finished.
		Noted *v1alpha1.RunKeySpec
		// NotedIsLast leaves out the rest of the plan if Noted took the place of Next.
		NotedIsLast bool
	}

	// CreateJob creates the Job of a run for a generation, or finds the Job that was created before.
	CreateJob struct {
		Run        *v1alpha1.JobRun
		Generation int64
		// KeyVersion is the version of the key that the claim was based on; empty without a key.
		KeyVersion string
	}

	// ConfirmLoss requires that this process still does not know how the Job of a run ended.
	ConfirmLoss struct{ Run *v1alpha1.JobRun }

	// WriteStatus writes a status, by compare-and-swap on the version that the plan is based on or has
	// written. A Leased status gets the Job that the plan created as its jobRef.
	WriteStatus struct {
		Run    *v1alpha1.JobRun
		Status v1alpha1.JobRunStatus
	}

	// DeleteJob deletes a Job and its Pods.
	DeleteJob struct{ Job *batchv1.Job }

	// DeleteRun deletes a JobRun at the version that the plan is based on.
	DeleteRun struct{ Run *v1alpha1.JobRun }

	// Emit emits an event about an earlier write of the plan.
	Emit struct{ Event Event }

	// Count counts an earlier write of the plan in a metric.
	Count struct{ Metric Metric }
)

func (CheckKey) op()         {}
func (CheckRun) op()         {}
func (StopStrays) op()       {}
func (CheckUnconfirmed) op() {}
func (StopRun) op()          {}
func (CheckPods) op()        {}
func (SwapKey) op()          {}
func (CreateJob) op()        {}
func (ConfirmLoss) op()      {}
func (WriteStatus) op()      {}
func (DeleteJob) op()        {}
func (DeleteRun) op()        {}
func (Emit) op()             {}
func (Count) op()            {}
