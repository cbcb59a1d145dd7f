// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package wrappers

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// JobRunWrapper builds a JobRun.
type JobRunWrapper struct{ v1alpha1.JobRun }

// MakeJobRun starts a JobRun that was stored without the webhook.
func MakeJobRun(name string) *JobRunWrapper {
	return &JobRunWrapper{v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         Namespace,
			Name:              name,
			UID:               UIDOf(name),
			ResourceVersion:   "1",
			Generation:        1,
			CreationTimestamp: Epoch,
		},
		Spec: v1alpha1.JobRunSpec{JobName: JobName},
	}}
}

// Obj returns the JobRun.
func (w *JobRunWrapper) Obj() *v1alpha1.JobRun { return &w.JobRun }

// UID sets the UID, for a second JobRun of the same name.
func (w *JobRunWrapper) UID(uid types.UID) *JobRunWrapper {
	w.ObjectMeta.UID = uid
	return w
}

// ResourceVersion sets the version.
func (w *JobRunWrapper) ResourceVersion(version string) *JobRunWrapper {
	w.ObjectMeta.ResourceVersion = version
	return w
}

// Age sets how many seconds after the Epoch the JobRun was created.
func (w *JobRunWrapper) Age(seconds int) *JobRunWrapper {
	w.CreationTimestamp = At(seconds)
	return w
}

// Stored sets the version with which the JobRun was created.
func (w *JobRunWrapper) Stored(version string) *JobRunWrapper {
	w.Status.Stored = version
	return w
}

// Deleting marks the JobRun as being deleted, held back by a foreign finalizer.
func (w *JobRunWrapper) Deleting() *JobRunWrapper {
	w.DeletionTimestamp = Epoch.DeepCopy()
	w.Finalizers = []string{"example.com/foreign"}
	return w
}

// Label adds a label.
func (w *JobRunWrapper) Label(name, value string) *JobRunWrapper {
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	w.Labels[name] = value
	return w
}

// Job sets spec.jobName.
func (w *JobRunWrapper) Job(jobName string) *JobRunWrapper {
	w.Spec.JobName = jobName
	return w
}

// Key sets spec.concurrencyKey.
func (w *JobRunWrapper) Key(key string) *JobRunWrapper {
	w.Spec.ConcurrencyKey = key
	return w
}

// Skip sets spec.coalesce to Skip.
func (w *JobRunWrapper) Skip() *JobRunWrapper {
	w.Spec.Coalesce = v1alpha1.CoalesceSkip
	return w
}

// IdempotencyKey sets spec.idempotencyKey.
func (w *JobRunWrapper) IdempotencyKey(key string) *JobRunWrapper {
	w.Spec.IdempotencyKey = key
	return w
}

// Remembered sets idempotencyTTLSeconds.
func (w *JobRunWrapper) Remembered(seconds int32) *JobRunWrapper {
	w.Spec.IdempotencyTTLSeconds = seconds
	return w
}

// ReleasedOnFailure sets idempotencyRelease to OnFailure.
func (w *JobRunWrapper) ReleasedOnFailure() *JobRunWrapper {
	w.Spec.IdempotencyRelease = v1alpha1.IdempotencyReleaseOnFailure
	return w
}

// Represents makes the JobRun stand for so many triggers. inputs are those of the latest ones, as JSON texts.
func (w *JobRunWrapper) Represents(count int32, inputs ...string) *JobRunWrapper {
	w.Spec.Represents = &v1alpha1.Represents{Count: count}
	for _, input := range inputs {
		w.Spec.Represents.Recent = append(w.Spec.Represents.Recent, v1alpha1.RepresentedTrigger{
			Input: &apiextensionsv1.JSON{Raw: []byte(input)}, Time: metav1.NewMicroTime(Epoch.Time), User: "caller",
		})
	}
	return w
}

// Input sets spec.input to JSON text.
func (w *JobRunWrapper) Input(json string) *JobRunWrapper {
	w.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(json)}
	return w
}

// Template sets a spec.template with one container.
func (w *JobRunWrapper) Template() *JobRunWrapper {
	return w.TemplateObj(batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "main", Image: "busybox"}},
	}}}})
}

// TemplateObj sets spec.template.
func (w *JobRunWrapper) TemplateObj(template batchv1.JobTemplateSpec) *JobRunWrapper {
	w.Spec.Template = &template
	return w
}

// LeaseSeconds sets spec.leaseDurationSeconds.
func (w *JobRunWrapper) LeaseSeconds(seconds int32) *JobRunWrapper {
	w.Spec.LeaseDurationSeconds = seconds
	return w
}

// Deadline sets spec.activeDeadlineSeconds.
func (w *JobRunWrapper) Deadline(seconds int64) *JobRunWrapper {
	w.Spec.ActiveDeadlineSeconds = seconds
	return w
}

// MaxAttempts sets spec.maxAttempts.
func (w *JobRunWrapper) MaxAttempts(n int32) *JobRunWrapper {
	w.Spec.MaxAttempts = n
	return w
}

// Requeue sets spec.onLeaseExpired to Requeue.
func (w *JobRunWrapper) Requeue() *JobRunWrapper {
	w.Spec.OnLeaseExpired = v1alpha1.OnLeaseExpiredRequeue
	return w
}

// FailOnJobLost sets spec.onJobLost to Fail.
func (w *JobRunWrapper) FailOnJobLost() *JobRunWrapper {
	w.Spec.OnJobLost = v1alpha1.OnJobLostFail
	return w
}

// TTL sets spec.ttlSecondsAfterFinished.
func (w *JobRunWrapper) TTL(seconds int32) *JobRunWrapper {
	w.Spec.TTLSecondsAfterFinished = &seconds
	return w
}

// Cancel sets spec.cancel to true.
func (w *JobRunWrapper) Cancel() *JobRunWrapper {
	cancel := true
	w.Spec.Cancel = &cancel
	return w
}

// Batch makes the JobRun a member of the leader's batch of two.
func (w *JobRunWrapper) Batch(leader string) *JobRunWrapper {
	w.Spec.Batch = &v1alpha1.BatchMember{ID: "batch-of-" + leader, Size: 2, Leader: leader}
	return w
}

// Decided sets the decision in status.batch.
func (w *JobRunWrapper) Decided(decision v1alpha1.BatchDecision) *JobRunWrapper {
	w.Status.Batch = &v1alpha1.BatchStatus{Decision: decision}
	return w
}

// Created sets the webhook's answer to Created.
func (w *JobRunWrapper) Created() *JobRunWrapper {
	return w.Admission(v1alpha1.DispositionCreated, w.Name, TokenOf(w.Name), "")
}

// CoalescedBy sets the webhook's answer to Coalesced, with the run that waited in that version of the RunKey.
func (w *JobRunWrapper) CoalescedBy(run, keyVersion string) *JobRunWrapper {
	return w.Admission(v1alpha1.DispositionCoalesced, run, TokenOf(run), keyVersion)
}

// DeliveredAs sets the webhook's answer to Idempotent, with the run of an earlier delivery.
func (w *JobRunWrapper) DeliveredAs(run string) *JobRunWrapper {
	return w.Admission(v1alpha1.DispositionIdempotent, run, TokenOf(run), "")
}

// Admission sets spec.admission. The trigger's own token is the default one.
func (w *JobRunWrapper) Admission(disposition v1alpha1.Disposition, runName, runToken, keyVersion string) *JobRunWrapper {
	w.Spec.Admission = &v1alpha1.Admission{
		Disposition: disposition, RunName: runName, RunToken: runToken, KeyVersion: keyVersion, Token: TokenOf(w.Name),
	}
	return w
}

// Definition sets the definition that completed the trigger. Its name is the jobName.
func (w *JobRunWrapper) Definition(uid types.UID) *JobRunWrapper {
	w.Spec.Admission.Definition = &v1alpha1.DefinitionReference{Name: w.Spec.JobName, UID: uid, Generation: 1}
	return w
}

// EndedAt sets when the run ended, in seconds after the Epoch.
func (w *JobRunWrapper) EndedAt(seconds int) *JobRunWrapper {
	end := At(seconds)
	w.Status.CompletionTime = &end
	return w
}

// Token sets the trigger's own token, for a second JobRun of the same name. If the answer is Created, the run's
// token is the same.
func (w *JobRunWrapper) Token(token string) *JobRunWrapper {
	if w.Spec.Admission.Disposition == v1alpha1.DispositionCreated {
		w.Spec.Admission.RunToken = token
	}
	w.Spec.Admission.Token = token
	return w
}

// Pending sets the status of a run that waits.
func (w *JobRunWrapper) Pending() *JobRunWrapper {
	w.Status.Phase = v1alpha1.PhasePending
	return w.self()
}

// Leased sets the status of a run that executes. Its claim was based on that version of the RunKey.
func (w *JobRunWrapper) Leased(generation int64, keyVersion string) *JobRunWrapper {
	at := metav1.NewMicroTime(Epoch.Time)
	w.Status.Phase = v1alpha1.PhaseLeased
	w.Status.Lease = &v1alpha1.RunLease{
		HolderIdentity:  "job/" + JobOf(w.Name, generation),
		Generation:      generation,
		KeyVersion:      keyVersion,
		AcquireTime:     &at,
		RenewTime:       &at,
		DurationSeconds: w.Spec.LeaseDurationSeconds,
	}
	if w.Status.StartTime == nil {
		w.Status.StartTime = Epoch.DeepCopy()
	}
	if w.Spec.Template != nil {
		job := JobOf(w.Name, generation)
		w.Status.JobRef = &v1alpha1.ObjectReference{Name: job, UID: UIDOf(job)}
	}
	return w.self()
}

// Fenced sets the status after an expiry: no holder, the next generation, one more attempt.
func (w *JobRunWrapper) Fenced() *JobRunWrapper {
	w.Status.Lease = &v1alpha1.RunLease{Generation: w.Status.Lease.Generation + 1, KeyVersion: w.Status.Lease.KeyVersion}
	w.Status.JobRef = nil
	w.Status.Attempts++
	return w
}

// Phase sets status.phase only.
func (w *JobRunWrapper) Phase(phase v1alpha1.Phase) *JobRunWrapper {
	w.Status.Phase = phase
	return w
}

// Holder sets the holder of the lease.
func (w *JobRunWrapper) Holder(identity string) *JobRunWrapper {
	w.Status.Lease.HolderIdentity = identity
	return w
}

// Attempts sets the number of leases that expired.
func (w *JobRunWrapper) Attempts(n int32) *JobRunWrapper {
	w.Status.Attempts = n
	return w
}

// Error sets status.error.
func (w *JobRunWrapper) Error(message string) *JobRunWrapper {
	w.Status.Error = message
	return w
}

// Ended sets the outcome of a run.
func (w *JobRunWrapper) Ended(phase v1alpha1.Phase) *JobRunWrapper {
	w.Status.Phase = phase
	w.Status.CompletionTime = Epoch.DeepCopy()
	if w.Status.Lease != nil {
		w.Status.FinishedGeneration = w.Status.Lease.Generation
	}
	return w.self()
}

// Reported adds the condition of the outcome.
func (w *JobRunWrapper) Reported() *JobRunWrapper {
	kind := map[v1alpha1.Phase]string{
		v1alpha1.PhaseCompleted: v1alpha1.ConditionComplete, v1alpha1.PhaseFailed: v1alpha1.ConditionFailed,
		v1alpha1.PhaseCancelled: v1alpha1.ConditionCancelled,
	}[w.Status.Phase]
	w.Status.Conditions = append(w.Status.Conditions, metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: string(w.Status.Phase), LastTransitionTime: Epoch,
	})
	return w
}

// BoundTo sets the status of a receipt that a run stands for.
func (w *JobRunWrapper) BoundTo(run string) *JobRunWrapper {
	w.Status.Phase = v1alpha1.PhaseCoalesced
	if w.Spec.Admission != nil && w.Spec.Admission.Disposition == v1alpha1.DispositionIdempotent {
		w.Status.Phase = v1alpha1.PhaseIdempotent
	}
	w.Status.RunRef = &v1alpha1.ObjectReference{Name: run, UID: UIDOf(run)}
	w.Status.ObservedGeneration = w.Generation
	return w
}

// Settled sets the completionTime, which means that a receipt has the outcome of its run.
func (w *JobRunWrapper) Settled() *JobRunWrapper {
	w.Status.CompletionTime = Epoch.DeepCopy()
	return w
}

// Counted adds receipts to status.coalesced.
func (w *JobRunWrapper) Counted(receipts ...string) *JobRunWrapper {
	if w.Status.Coalesced == nil {
		w.Status.Coalesced = &v1alpha1.CoalescedTriggers{}
	}
	for _, name := range receipts {
		w.Status.Coalesced.Count++
		w.Status.Coalesced.Recent = append(w.Status.Coalesced.Recent, v1alpha1.CoalescedTrigger{
			Name: name, UID: UIDOf(name), Time: Epoch.DeepCopy(),
		})
	}
	return w
}

// self sets what the controller writes with each status of a run.
func (w *JobRunWrapper) self() *JobRunWrapper {
	w.Status.RunRef = &v1alpha1.ObjectReference{Name: w.Name, UID: w.ObjectMeta.UID}
	w.Status.ObservedGeneration = w.Generation
	return w
}

// MakeKeyedRun starts a run of the key "k" that was answered Created.
func MakeKeyedRun(name string) *JobRunWrapper { return MakeJobRun(name).Key("k").Template().Created() }

// MakeKeylessRun starts a run without a key that was answered Created.
func MakeKeylessRun(name string) *JobRunWrapper { return MakeJobRun(name).Template().Created() }

// MakeAbsorbed starts a receipt of the key "k" that was answered Coalesced: see CoalescedBy.
func MakeAbsorbed(name, run, keyVersion string) *JobRunWrapper {
	return MakeJobRun(name).Key("k").Skip().Template().CoalescedBy(run, keyVersion)
}

// MakeDelivered starts a receipt without a key that was answered Idempotent.
func MakeDelivered(name, run string) *JobRunWrapper {
	return MakeJobRun(name).IdempotencyKey("i").Template().DeliveredAs(run)
}
