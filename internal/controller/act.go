// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
)

// errStale means that the stored object is not the version that the decision read. The caller observes again.
var errStale = errors.New("observed state is stale")

// waitingError means that a Job or a Pod must end before the plan can go on.
type waitingError struct {
	what string
	// poll is the time until the next look; 0 if a watch event reports the end.
	poll time.Duration
}

func (e *waitingError) Error() string { return "waiting for the end of " + e.what }

// refusedError means that the API server refused a Job.
type refusedError struct {
	run     types.UID
	refusal decision.Refusal
	// holdOff is the time until the next try; 0 if the refusal is final.
	holdOff time.Duration
}

func (e *refusedError) Error() string { return "Job refused: " + e.refusal.Message }

// action executes a Plan.
type action struct {
	*Reconciler
	req Request
	s   *decision.Snapshot
	// key is the RunKey that the decision read, or the one that this action wrote since.
	key *v1alpha1.RunKey
	// written holds the JobRuns whose status this action wrote.
	written map[types.UID]*v1alpha1.JobRun
	// unwritable holds the receipts whose status the API server refused for its content.
	unwritable map[types.UID]bool
	// job is the Job that this action created or found.
	job *batchv1.Job
	// finished is true if a live read showed that the Job of the lease has finished, and is not being deleted.
	finished bool
	// isOver is true if the rest of the plan is left out.
	isOver bool
	// journal lists the writes of this action for the log.
	journal journal
}

func (r *Reconciler) newAction(req Request, s *decision.Snapshot) *action {
	return &action{Reconciler: r, req: req, s: s, key: s.Key, written: map[types.UID]*v1alpha1.JobRun{}, unwritable: map[types.UID]bool{}}
}

// observation returns what the decision read, with the writes of this action applied.
func (a *action) observation() decision.Observation {
	o := a.s.Observation.Clone()
	o.Key = a.key
	for _, runs := range []*[]*v1alpha1.JobRun{&o.Runs, &o.Relisted, &o.Others} {
		latest := make([]*v1alpha1.JobRun, len(*runs))
		for i, run := range *runs {
			latest[i] = a.latest(run)
		}
		*runs = latest
	}
	return o
}

// carryOut executes a plan that needs no snapshot of a home.
func (r *Reconciler) carryOut(ctx context.Context, req Request, plan decision.Plan) error {
	return r.newAction(req, decision.NewSnapshot(decision.Observation{})).act(ctx, plan)
}

// act executes the operations of a plan in order. It stops at the first failure unless the failed operation is
// independent. The next observation finds what is left to do.
func (a *action) act(ctx context.Context, plan decision.Plan) error {
	subject := decision.SubjectOf(plan, a.key)
	var left error
	defer func() { a.journal.log(log.FromContext(ctx), a.req, plan, subject, left) }()
	for _, op := range plan.Ops {
		if a.isOver {
			break
		}
		err := a.do(ctx, op)
		if err == nil {
			continue
		}
		left = errors.Join(left, fmt.Errorf("%s of %s: %w", plan.Step, subject, err))
		if !isIndependent(op, err) {
			break
		}
		if write, ok := op.(decision.WriteStatus); ok {
			a.unwritable[write.Run.UID] = true
		}
	}
	return left
}

// isIndependent reports whether a plan goes on although this operation failed. A plan goes on if it could not delete a
// JobRun, or if the API server refused the status of a receipt for its content. But if the JobRun of that status reads
// Pending, the plan stops, because later operations need the waiting place of that JobRun.
func isIndependent(op decision.Op, err error) bool {
	switch op := op.(type) {
	case decision.DeleteRun:
		return true
	case decision.WriteStatus:
		isReceipt := op.Status.Phase == v1alpha1.PhaseCoalesced || op.Status.Phase == v1alpha1.PhaseIdempotent
		isWaiting := op.Run.Status.Phase == v1alpha1.PhasePending
		return isReceipt && !isWaiting && (isTooLarge(err) || namesField(err))
	default:
		return false
	}
}

func (a *action) do(ctx context.Context, op decision.Op) error {
	switch op := op.(type) {
	case decision.CheckKey:
		return a.checkKey(ctx)
	case decision.CheckRun:
		return a.checkRun(ctx, op.Run)
	case decision.StopStrays:
		return a.stopStrays(ctx)
	case decision.CheckUnconfirmed:
		return a.checkUnconfirmed(ctx, op.Jobs)
	case decision.StopRun:
		return a.stopRun(ctx, op)
	case decision.CheckPods:
		return a.checkPods(ctx, op.Run)
	case decision.SwapKey:
		return a.swapKey(ctx, op)
	case decision.CreateJob:
		return a.createJob(ctx, op)
	case decision.ConfirmLoss:
		return a.confirmLoss(op.Run)
	case decision.WriteStatus:
		return a.writeStatus(ctx, op.Run, op.Status)
	case decision.DeleteJob:
		return a.deleteJob(ctx, op.Job)
	case decision.DeleteRun:
		return a.deleteRun(ctx, op.Run)
	case decision.Emit:
		a.Events.emit(op.Event)
	case decision.Count:
		record(op.Metric)
	default:
		return fmt.Errorf("unknown operation %T", op)
	}
	return nil
}

func (a *action) keyName() types.NamespacedName {
	return types.NamespacedName{Namespace: a.req.Namespace, Name: a.req.RunKey}
}

// checkKey requires that a live read of the RunKey shows the version that the decision read. Without a key it passes.
func (a *action) checkKey(ctx context.Context) error {
	if a.req.RunKey == "" {
		return nil
	}
	live, err := a.Keys.Live(ctx, a.keyName())
	if err != nil {
		return err
	}
	if versionOf(live) != versionOf(a.key) {
		return fmt.Errorf("%w: RunKey %s", errStale, a.keyName())
	}
	return nil
}

// versionOf returns the version of a RunKey; empty while the key is free.
func versionOf(key *v1alpha1.RunKey) string {
	if key == nil {
		return ""
	}
	return string(key.UID) + "/" + key.ResourceVersion
}

func (a *action) swapKey(ctx context.Context, op decision.SwapKey) error {
	next := op.Next
	if op.Noted != nil && !a.finished {
		next, a.isOver = op.Noted, op.NotedIsLast
	}
	stored, err := a.Keys.CompareAndSwap(ctx, a.keyName(), a.key, next)
	if errors.Is(err, keystore.ErrChanged) {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	if err != nil {
		return err
	}
	switch {
	case stored != nil:
		a.writes.stored(stored)
	case a.key != nil:
		a.writes.deleted(a.key)
	}
	a.key = stored
	a.journal.note("RunKey %s: %s", a.req.RunKey, decision.KeyText(next))
	return nil
}

func (a *action) checkRun(ctx context.Context, run *v1alpha1.JobRun) error {
	live := &v1alpha1.JobRun{}
	err := a.Live.Get(ctx, client.ObjectKeyFromObject(run), live)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read JobRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	if err != nil || live.UID != run.UID || live.ResourceVersion != a.latest(run).ResourceVersion {
		return fmt.Errorf("%w: JobRun %s/%s", errStale, run.Namespace, run.Name)
	}
	return nil
}

// latest returns the run as this action last wrote it, or the given run if the action did not write it.
func (a *action) latest(run *v1alpha1.JobRun) *v1alpha1.JobRun {
	if written := a.written[run.UID]; written != nil {
		return written
	}
	return run
}

func (a *action) writeStatus(ctx context.Context, run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) error {
	before := a.latest(run)
	next := before.DeepCopy()
	if cache.IsSlim(next) {
		return fmt.Errorf("JobRun %s/%s is slim and must not be written", run.Namespace, run.Name)
	}
	next.Status = *status.DeepCopy()
	if next.Status.Phase == v1alpha1.PhaseLeased && a.job != nil {
		next.Status.JobRef = &v1alpha1.ObjectReference{Name: a.job.Name, UID: a.job.UID}
		next.Status.Definition = executor.DefinitionOf(a.job)
	}
	err := a.Client.Status().Update(ctx, next)
	if isTooLarge(err) && shorten(next) {
		err = a.Client.Status().Update(ctx, next)
	}
	switch {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		return fmt.Errorf("%w: JobRun %s/%s: %w", errStale, run.Namespace, run.Name, err)
	case err != nil:
		return fmt.Errorf("write the status of JobRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	a.written[run.UID] = next
	a.writes.stored(next)
	a.recordEnd(before, next)
	a.journal.note("JobRun %s: %s", run.Name, statusNote(run, status))
	if next.HasEnded() {
		a.noteEnd(next)
		a.sightings.forget(executionSubjects(run.UID)...)
		a.sightings.accepted(run.UID)
		a.jobs.forget(run.UID)
	}
	return nil
}

// shorten drops the optional texts of a status with an outcome: what failed, and the output of a receipt, which its
// run keeps. It reports whether there were any.
func shorten(next *v1alpha1.JobRun) bool {
	hasOutput := next.IsReceipt() && next.Status.Output != nil
	if !next.HasOutcome() || !hasOutput && next.Status.Failure == nil {
		return false
	}
	next.Status.Failure = nil
	if hasOutput {
		next.Status.Output = nil
	}
	return true
}

// isTooLarge reports whether the API server, its etcd client or etcd refused an object for its size.
func isTooLarge(err error) bool {
	return err != nil && (apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(err.Error(), "etcdserver: request is too large") ||
		strings.Contains(err.Error(), "trying to send message larger than max"))
}

func (a *action) deleteRun(ctx context.Context, run *v1alpha1.JobRun) error {
	err := a.Client.Delete(ctx, run.DeepCopy(),
		client.Preconditions{UID: &run.UID, ResourceVersion: &run.ResourceVersion},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	switch {
	case err == nil:
		a.writes.deleted(run)
		a.journal.note("JobRun %s: deleted", run.Name)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: JobRun %s/%s", errStale, run.Namespace, run.Name)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("delete JobRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	return nil
}
