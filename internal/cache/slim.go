// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"unique"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// slimGeneration marks a slim JobRun, which lacks fields of the stored one. The API server never gives an
// object this generation, and it refuses a status with this observedGeneration. So a slim JobRun cannot be
// written by mistake.
const slimGeneration = -2

var (
	// slimTemplate replaces each template. It still shows that the run executes as a Job.
	slimTemplate = &batchv1.JobTemplateSpec{}
	// slimConditions replace the conditions of an ended JobRun, by the type of its outcome condition.
	slimConditions = map[string][]metav1.Condition{
		v1alpha1.ConditionComplete:  {{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}},
		v1alpha1.ConditionFailed:    {{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}},
		v1alpha1.ConditionCancelled: {{Type: v1alpha1.ConditionCancelled, Status: metav1.ConditionTrue}},
	}
)

var _ toolscache.TransformFunc = Slim

// Slim drops the fields that no reader of the cache needs. Readers need:
//   - of an ended JobRun, which may stay for long: its identity, outcome and TTL, and the time of the schedule that triggered it
//   - of any other JobRun: everything but the annotations that its Job does not get, and the triggers that a bound receipt represents
//   - of a Job: its identity, conditions and TTL, whether it is suspended, from which definition it was made, and how many Pods
//     ended in a finished one
//   - of a Lease: the holder and the renewTime
//   - of a ResourceQuota: the numbers of JobRuns and Jobs that it allows
//
// slim_pod.go says what they need of a Pod.
func Slim(object any) (any, error) {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		object.ManagedFields, object.Annotations = nil, annotationsOf(object)
		if r := object.Spec.Represents; r != nil && (object.IsReceipt() || object.HasOutcome()) {
			r.Recent = nil // Its count is left, for the inputs have been recorded.
		}
		if condition := settled(object); condition != "" {
			slimRun(object, condition)
		}
	case *batchv1.Job:
		slimJob(object)
	case *corev1.Pod:
		slimPod(object)
	case *coordinationv1.Lease:
		slimLease(object)
	case *corev1.ResourceQuota:
		slimQuota(object)
	case metav1.Object:
		object.SetManagedFields(nil)
	}
	return object, nil
}

// IsSlim reports whether a JobRun lacks the fields that Slim drops from an ended JobRun.
func IsSlim(run *v1alpha1.JobRun) bool { return run.Generation == slimGeneration }

// settled returns the type of the condition that says how a JobRun ended. It returns "" if the operator must
// still write more on the JobRun than the count of absorbed triggers.
func settled(run *v1alpha1.JobRun) string {
	if !run.HasOutcome() || run.MisstatesOutcome() || run.Status.CompletionTime == nil || (run.Spec.Batch != nil && run.Status.Batch == nil) {
		return ""
	}
	condition := v1alpha1.OutcomeCondition(run.Outcome())
	if !meta.IsStatusConditionTrue(run.Status.Conditions, condition) {
		return ""
	}
	return condition
}

// annotationsOf returns the annotations of a JobRun that its Job gets, and the time of its schedule.
func annotationsOf(run *v1alpha1.JobRun) map[string]string {
	kept := executor.Inherited(run.Annotations)
	if at, ok := run.Annotations[v1alpha1.AnnotationScheduledTime]; ok && run.Labels[v1alpha1.LabelSchedule] != "" {
		if kept == nil {
			kept = map[string]string{}
		}
		kept[v1alpha1.AnnotationScheduledTime] = at
	}
	return kept
}

func slimRun(run *v1alpha1.JobRun, condition string) {
	labels, annotations := run.Labels, run.Annotations
	run.ObjectMeta = metav1.ObjectMeta{
		Namespace:         canonical(run.Namespace),
		Name:              run.Name,
		UID:               run.UID,
		ResourceVersion:   run.ResourceVersion,
		Generation:        slimGeneration,
		CreationTimestamp: run.CreationTimestamp,
		DeletionTimestamp: run.DeletionTimestamp,
	}
	if name := labels[v1alpha1.LabelSchedule]; name != "" {
		run.Labels = map[string]string{v1alpha1.LabelSchedule: canonical(name)}
		run.Annotations = only(annotations, v1alpha1.AnnotationScheduledTime)
	}
	run.Spec.JobName, run.Spec.Input = canonical(run.Spec.JobName), nil
	if run.Spec.Template != nil {
		run.Spec.Template = slimTemplate
	}
	if a := run.Spec.Admission; a != nil {
		a.Disposition = canonical(a.Disposition)
		if a.RunName == run.Name {
			a.RunName = run.Name // Equal texts share their memory.
		}
		if d := a.Definition; d != nil {
			d.Name, d.UID = run.Spec.JobName, canonical(d.UID)
		}
		if a.RunToken == a.Token {
			a.RunToken = a.Token
		}
	}
	slimStatus(run, condition)
}

// slimStatus keeps the fields that show whether a JobRun executed, whether it stood for other triggers, when it was
// created (P7), and when it started (P2).
func slimStatus(run *v1alpha1.JobRun, condition string) {
	full := run.Status
	run.Status = v1alpha1.JobRunStatus{
		Phase:              canonical(full.Phase),
		RunRef:             full.RunRef,
		Stored:             full.Stored,
		Batch:              full.Batch,
		CompletionTime:     full.CompletionTime,
		ObservedGeneration: slimGeneration,
		Conditions:         slimConditions[condition],
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID == run.UID {
		ref.Name, ref.UID = run.Name, run.UID
	}
	if full.Lease != nil {
		run.Status.Lease = &v1alpha1.RunLease{Generation: full.Lease.Generation, KeyVersion: full.Lease.KeyVersion}
	}
	if full.Coalesced != nil {
		run.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: full.Coalesced.Count}
	}
}

func slimJob(job *batchv1.Job) {
	job.ManagedFields = nil
	job.Labels = only(job.Labels, v1alpha1.LabelRun, v1alpha1.LabelKey)
	job.Annotations = only(job.Annotations, v1alpha1.AnnotationToken, v1alpha1.AnnotationGeneration, v1alpha1.AnnotationJobTTL,
		v1alpha1.AnnotationDefinition, v1alpha1.AnnotationContainer)
	job.Spec = batchv1.JobSpec{Suspend: job.Spec.Suspend}
	full := job.Status
	job.Status = batchv1.JobStatus{Conditions: full.Conditions}
	if executor.IsFinished(job) { // Before that, the numbers change with each Pod.
		job.Status.Succeeded, job.Status.Failed = full.Succeeded, full.Failed
	}
}

// only returns the entries of a map that have these names.
func only(all map[string]string, names ...string) map[string]string {
	kept := make(map[string]string, len(names))
	for _, name := range names {
		if value, ok := all[name]; ok {
			kept[name] = value
		}
	}
	return kept
}

func slimLease(lease *coordinationv1.Lease) {
	full, labels, annotations := lease.Spec, lease.Labels, lease.Annotations
	_, member := labels[v1alpha1.LabelMember]
	lease.ObjectMeta = metav1.ObjectMeta{
		Namespace: lease.Namespace, Name: lease.Name, UID: lease.UID, ResourceVersion: lease.ResourceVersion,
	}
	if member {
		lease.Labels, lease.Annotations = only(labels, v1alpha1.LabelMember), only(annotations, v1alpha1.AnnotationProtocolLevel)
	}
	lease.Spec = coordinationv1.LeaseSpec{
		RenewTime: full.RenewTime, HolderIdentity: full.HolderIdentity, LeaseDurationSeconds: full.LeaseDurationSeconds,
	}
}

// canonical makes equal texts share their memory.
func canonical[T ~string](text T) T { return T(unique.Make(string(text)).Value()) }
