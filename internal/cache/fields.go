// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Field indexes of the cache. The indexes of JobRuns and RunKeys are computed from spec and status, never from
// labels, because any client may change labels.
const (
	// FieldHome finds runs and receipts without outcome by their runkey.Home.
	FieldHome = "jobrun.home"
	// FieldIdempotency finds JobRuns by the name of their idempotency RunKey.
	FieldIdempotency = "jobrun.idempotency"
	// FieldAbsorber finds unbound receipts by the token of the run that they were answered with
	// (AbsorberToken), and bound receipts by the UID of their run (AbsorberUID).
	FieldAbsorber = "jobrun.absorber"
	// FieldBatch finds the members of a batch.
	FieldBatch = "jobrun.batch"
	// FieldPhase finds JobRuns that read Pending or Leased, or have no phase (NoPhase).
	FieldPhase = "jobrun.phase"
	// FieldOwner finds idempotency RunKeys by the token of their owner. The owner may have absorbed the trigger
	// that had the key. Then the owner itself has another idempotencyKey, or none.
	FieldOwner = "runkey.owner"
	// FieldJobHome finds Jobs by the runkey.Home of their run.
	FieldJobHome = "job.home"
	// FieldHeldByWorker finds the runs that external workers hold, by their jobName.
	FieldHeldByWorker = "jobrun.heldByWorker"
	// FieldUnstarted finds the runs without outcome that a definition rules and that have no Job and no holder yet, by their
	// jobName.
	FieldUnstarted = "jobrun.unstarted"
	// FieldJob finds the runs of a job that wait or execute, and those ended ones that a definition completed (JobRuns).
	FieldJob = "jobrun.job"
	// FieldPodJob finds the Pods of a Job by the UID of the Job.
	FieldPodJob = "pod.job"
)

// Fields lists the index function of each field.
var Fields = []struct {
	Object  client.Object
	Field   string
	Extract client.IndexerFunc
}{
	{&v1alpha1.JobRun{}, FieldHome, onRun(homeOfActive)},
	{&v1alpha1.JobRun{}, FieldIdempotency, onRun(idempotencyKeyName)},
	{&v1alpha1.JobRun{}, FieldAbsorber, onRun(absorbers)},
	{&v1alpha1.JobRun{}, FieldBatch, onRun(batchOf)},
	{&v1alpha1.JobRun{}, FieldPhase, onRun(activePhase)},
	{&v1alpha1.JobRun{}, FieldHeldByWorker, onRun(heldByWorker)},
	{&v1alpha1.JobRun{}, FieldUnstarted, onRun(unstarted)},
	{&v1alpha1.JobRun{}, FieldJob, onRun(jobOf)},
	{&v1alpha1.RunKey{}, FieldOwner, ownerToken},
	{&batchv1.Job{}, FieldJobHome, jobHome},
	{&corev1.Pod{}, FieldPodJob, podJob},
}

// SetupFields registers the field indexes.
func SetupFields(ctx context.Context, indexer client.FieldIndexer) error {
	for _, f := range Fields {
		if err := indexer.IndexField(ctx, f.Object, f.Field, f.Extract); err != nil {
			return err
		}
	}
	return nil
}

func onRun(extract func(*v1alpha1.JobRun) []string) client.IndexerFunc {
	return func(o client.Object) []string {
		run, ok := o.(*v1alpha1.JobRun)
		if !ok {
			return nil
		}
		return extract(run)
	}
}

func homeOfActive(run *v1alpha1.JobRun) []string {
	if run.HasOutcome() {
		return nil
	}
	return []string{runkey.Home(run)}
}

func idempotencyKeyName(run *v1alpha1.JobRun) []string {
	if run.Spec.IdempotencyKey == "" {
		return nil
	}
	return []string{v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)}
}

func absorbers(run *v1alpha1.JobRun) []string {
	var found []string
	if a := run.Spec.Admission; a != nil && a.Disposition != v1alpha1.DispositionCreated && run.Status.Phase == "" {
		found = append(found, AbsorberToken(a.RunToken))
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID != "" && ref.UID != run.UID {
		found = append(found, AbsorberUID(string(ref.UID)))
	}
	return found
}

// AbsorberToken is the value of FieldAbsorber for receipts not yet bound.
func AbsorberToken(token string) string { return "token/" + token }

// AbsorberUID is the value of FieldAbsorber for receipts bound to the run with that UID.
func AbsorberUID(uid string) string { return "uid/" + uid }

func batchOf(run *v1alpha1.JobRun) []string {
	if run.Spec.Batch == nil {
		return nil
	}
	return []string{Batch(run.Spec.Batch), BatchID(run.Spec.Batch.ID)}
}

// Batch is the value of FieldBatch for the members of a batch.
func Batch(b *v1alpha1.BatchMember) string { return b.Leader + "/" + b.ID }

// BatchID is the value of FieldBatch for the members of all batches with an id. No leader has an empty name.
func BatchID(id string) string { return "/" + id }

// NoPhase is the value of FieldPhase for JobRuns whose phase is empty.
const NoPhase = "None"

func activePhase(run *v1alpha1.JobRun) []string {
	switch run.Status.Phase {
	case "":
		return []string{NoPhase}
	case v1alpha1.PhasePending, v1alpha1.PhaseLeased:
		return []string{string(run.Status.Phase)}
	default:
		return nil
	}
}

func heldByWorker(run *v1alpha1.JobRun) []string {
	if run.Status.Phase != v1alpha1.PhaseLeased || run.RunsAsJob() || !run.IsHeld() {
		return nil
	}
	return []string{run.Spec.JobName}
}

func unstarted(run *v1alpha1.JobRun) []string {
	hasExecutor := run.Status.JobRef != nil || (!run.RunsAsJob() && run.IsHeld())
	if !executor.IsDefined(run) || run.HasOutcome() || run.IsReceipt() || hasExecutor {
		return nil
	}
	return []string{run.Spec.JobName}
}

// jobOf leaves out what nobody counts, so 100,000 ended runs without a definition take no room.
func jobOf(run *v1alpha1.JobRun) []string {
	switch phase := run.Status.Phase; {
	case phase == v1alpha1.PhasePending, phase == v1alpha1.PhaseLeased,
		run.HasEnded() && run.Spec.Admission != nil && run.Spec.Admission.Definition != nil:
		return []string{JobRuns(run.Spec.JobName, phase)}
	default:
		return nil
	}
}

// JobRuns is the value of FieldJob for the runs of a job in a phase.
func JobRuns(jobName string, phase v1alpha1.Phase) string { return string(phase) + "/" + jobName }

func ownerToken(o client.Object) []string {
	key, ok := o.(*v1alpha1.RunKey)
	if !ok || key.Spec.Owner == nil {
		return nil
	}
	return []string{key.Spec.Owner.Token}
}

func jobHome(o client.Object) []string {
	labels := o.GetLabels()
	if key := labels[v1alpha1.LabelKey]; key != "" {
		return []string{key}
	}
	if run := labels[v1alpha1.LabelRun]; run != "" {
		return []string{runkey.RunHome(run)}
	}
	return nil
}

func podJob(o client.Object) []string {
	if uid := o.GetLabels()[batchv1.ControllerUidLabel]; uid != "" {
		return []string{uid}
	}
	return nil
}
