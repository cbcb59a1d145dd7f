// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// settledRun returns an ended run with every field that a run may have.
func settledRun(name string) *v1alpha1.JobRun {
	run := wrappers.MakeJobRun(name).Key("k").IdempotencyKey("d").Input(`{"big":true}`).Template().Obj()
	run.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "data"}
	run.Labels = map[string]string{v1alpha1.LabelJobName: run.Spec.JobName}
	run.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	run.Spec.TTLSecondsAfterFinished = ptr.To(int32(60))
	run.Spec.Admission = &v1alpha1.Admission{
		Disposition: v1alpha1.DispositionCreated, RunName: name, RunToken: "token-" + name, Token: "token-" + name,
	}
	at := metav1.NewTime(wrappers.Epoch.Add(time.Minute))
	micro := metav1.NewMicroTime(at.Time)
	run.Status = v1alpha1.JobRunStatus{
		Phase:              v1alpha1.PhaseFailed,
		RunRef:             &v1alpha1.ObjectReference{Name: name, UID: run.UID},
		Lease:              &v1alpha1.RunLease{HolderIdentity: "job/x-3", Generation: 3, KeyVersion: "7", AcquireTime: &micro, RenewTime: &micro},
		FinishedGeneration: 3,
		JobRef:             &v1alpha1.ObjectReference{Name: "x-3", UID: "y"},
		Coalesced:          &v1alpha1.CoalescedTriggers{Count: 9, Recent: []v1alpha1.CoalescedTrigger{{Name: "z"}}},
		Error:              "it failed",
		StartTime:          &at,
		CompletionTime:     &at,
		ObservedGeneration: 1,
	}
	meta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Reason: "BackoffLimitExceeded", Message: "too often",
	})
	return run
}

func slim(t *testing.T, object any) any {
	t.Helper()
	made, err := Slim(object)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestSlimKeepsWhatIsReadOfARunAtItsEnd(t *testing.T) {
	whole := settledRun("a")
	whole.Status.Stored = "6"
	got := slim(t, whole.DeepCopy()).(*v1alpha1.JobRun)
	want := &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: whole.Namespace, Name: "a", UID: whole.UID, ResourceVersion: whole.ResourceVersion,
			Generation: slimGeneration, CreationTimestamp: whole.CreationTimestamp,
		},
		Spec: *whole.Spec.DeepCopy(),
		Status: v1alpha1.JobRunStatus{
			Phase:              whole.Status.Phase,
			RunRef:             whole.Status.RunRef,
			Stored:             "6",
			Lease:              &v1alpha1.RunLease{Generation: 3, KeyVersion: "7"},
			Coalesced:          &v1alpha1.CoalescedTriggers{Count: 9},
			CompletionTime:     whole.Status.CompletionTime,
			ObservedGeneration: slimGeneration,
			Conditions:         slimConditions[v1alpha1.ConditionFailed],
		},
	}
	want.Spec.Input, want.Spec.Template = nil, slimTemplate
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !IsSlim(got) || IsSlim(whole) {
		t.Error("one is slim, the other is not")
	}
	for _, f := range Fields {
		if _, ofRuns := f.Object.(*v1alpha1.JobRun); ofRuns {
			if diff := cmp.Diff(f.Extract(whole), f.Extract(got)); diff != "" {
				t.Errorf("field %s (-whole +slim)\n%s", f.Field, diff)
			}
		}
	}
	if again := slim(t, got.DeepCopy()); !cmp.Equal(got, again) {
		t.Errorf("slimmed again:\n%s", cmp.Diff(got, again))
	}
}

func TestSlimLeavesOthersWhole(t *testing.T) {
	without := func(change func(*v1alpha1.JobRun)) *v1alpha1.JobRun {
		run := settledRun("a")
		change(run)
		return run
	}
	tests := map[string]*v1alpha1.JobRun{
		"executing":               without(func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhaseLeased }),
		"without a time":          without(func(run *v1alpha1.JobRun) { run.Status.CompletionTime = nil }),
		"contradicting":           without(func(run *v1alpha1.JobRun) { run.Status.Phase = v1alpha1.PhaseCompleted }),
		"not yet told of":         without(func(run *v1alpha1.JobRun) { run.Status.Conditions = nil }),
		"cancelled after its end": without(func(run *v1alpha1.JobRun) { run.Generation++ }),
		"in a batch that is undecided": without(func(run *v1alpha1.JobRun) {
			run.Spec.Batch = &v1alpha1.BatchMember{ID: "b", Size: 2, Leader: "a"}
		}),
		"a receipt without outcome": without(func(run *v1alpha1.JobRun) {
			run.Status.Phase, run.Status.CompletionTime = v1alpha1.PhaseCoalesced, nil
		}),
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			want := run.DeepCopy()
			want.ManagedFields, want.Annotations = nil, map[string]string{"team": "data"} // The Job gets it.
			if diff := cmp.Diff(want, slim(t, run)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSlimReceiptIsFoundByItsRun(t *testing.T) {
	receipt := settledRun("receipt")
	receipt.Status.Phase, receipt.Status.RunRef = v1alpha1.PhaseCoalesced, &v1alpha1.ObjectReference{Name: "run", UID: "u"}
	receipt.Spec.Admission.Disposition = v1alpha1.DispositionCoalesced
	receipt.Spec.Admission.RunName, receipt.Spec.Admission.RunToken = "run", "t"
	got := slim(t, receipt).(*v1alpha1.JobRun)
	if found := absorbers(got); !cmp.Equal(found, []string{AbsorberUID("u")}) {
		t.Errorf("it is found by %v", found)
	}
	if got.Spec.Admission.RunName != "run" || got.Spec.Admission.RunToken != "t" || !got.HasOutcome() {
		t.Errorf("got %+v", got)
	}
}

func TestSlimJob(t *testing.T) {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a-1", UID: types.UID("u"), ManagedFields: []metav1.ManagedFieldsEntry{{}},
			Labels:          map[string]string{v1alpha1.LabelRun: "a", v1alpha1.LabelKey: "c-x", "theirs": "y"},
			Annotations:     map[string]string{v1alpha1.AnnotationToken: "t", v1alpha1.AnnotationGeneration: "1", "theirs": "y"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "JobRun", UID: "r"}},
		},
		Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(1)), Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeName: "n"}}},
		Status: batchv1.JobStatus{
			Active: 1, Failed: 2, Succeeded: 3,
			Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "R", Message: "m"}},
		},
	}
	job.Spec.Suspend = ptr.To(false)
	unfinished := job.DeepCopy()
	unfinished.Status.Conditions = nil
	want := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a-1", UID: types.UID("u"), OwnerReferences: job.OwnerReferences,
			Labels:      map[string]string{v1alpha1.LabelRun: "a", v1alpha1.LabelKey: "c-x"},
			Annotations: map[string]string{v1alpha1.AnnotationToken: "t", v1alpha1.AnnotationGeneration: "1"},
		},
		Spec:   batchv1.JobSpec{Suspend: ptr.To(false)},
		Status: batchv1.JobStatus{Failed: 2, Succeeded: 3, Conditions: job.Status.Conditions},
	}
	if diff := cmp.Diff(want, slim(t, job)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want.Status = batchv1.JobStatus{} // The numbers of Pods change all the time.
	if diff := cmp.Diff(want, slim(t, unfinished)); diff != "" {
		t.Errorf("unfinished (-want +got)\n%s", diff)
	}
}

func TestSlimLease(t *testing.T) {
	renewed, seconds := metav1.NowMicro(), int32(30)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "w", UID: "u", ResourceVersion: "7", Labels: map[string]string{"theirs": "y"},
			Annotations: map[string]string{"theirs": "y"}, ManagedFields: []metav1.ManagedFieldsEntry{{}},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("w_1"), RenewTime: &renewed, LeaseDurationSeconds: &seconds, AcquireTime: &renewed, LeaseTransitions: &seconds,
		},
	}
	want := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w", UID: "u", ResourceVersion: "7"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("w_1"), RenewTime: &renewed, LeaseDurationSeconds: &seconds},
	}
	member := lease.DeepCopy()
	if diff := cmp.Diff(want, slim(t, lease)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, m := range []*coordinationv1.Lease{member, want} {
		m.Labels = map[string]string{v1alpha1.LabelMember: "sharing"}
		m.Annotations = map[string]string{v1alpha1.AnnotationProtocolLevel: "2"}
	}
	member.Labels["theirs"], member.Annotations["theirs"] = "y", "y"
	if diff := cmp.Diff(want, slim(t, member)); diff != "" {
		t.Errorf("a replica's (-want +got)\n%s", diff)
	}
}

func TestSlimTakesWhatAnInformerMayHandIt(t *testing.T) {
	tombstone := toolscache.DeletedFinalStateUnknown{Key: "a/b"}
	if got := slim(t, tombstone); got != any(tombstone) {
		t.Errorf("got %v", got)
	}
	key := &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
	if slim(t, key); key.ManagedFields != nil {
		t.Error("managed fields were kept")
	}
}

// The memory of 100,000 runs is twice this, because the heap may grow to double its size before a collection.
func TestSlimRunsAreSmall(t *testing.T) {
	const (
		runs   = 5000
		budget = 1250 // bytes, the cache's own maps included
	)
	text, err := json.Marshal(settledRun("a"))
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	store := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
		toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
	})
	for i := range runs {
		run := &v1alpha1.JobRun{}
		if err := json.Unmarshal(text, run); err != nil {
			t.Fatal(err)
		}
		run.Name = fmt.Sprintf("run-%d", i)
		if err := store.Add(slim(t, run)); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / runs
	if each > budget {
		t.Errorf("a run takes %d bytes, more than %d", each, budget)
	}
	t.Logf("a run takes %d bytes", each)
	runtime.KeepAlive(store)
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // frees what the first collection finalized
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Retention reads which time of a schedule triggered a JobRun, before and after its end.
func TestSlimKeepsTheTimeOfASchedule(t *testing.T) {
	for name, run := range map[string]*v1alpha1.JobRun{
		"ended": settledRun("a"), "waiting": wrappers.MakeJobRun("a").Pending().Obj(),
	} {
		if run.Labels == nil {
			run.Labels = map[string]string{}
		}
		run.Labels[v1alpha1.LabelSchedule] = "nightly"
		if run.Annotations == nil {
			run.Annotations = map[string]string{}
		}
		run.Annotations[v1alpha1.AnnotationScheduledTime] = "2026-01-02T03:04:00Z"
		got := slim(t, run).(*v1alpha1.JobRun)
		if got.Labels[v1alpha1.LabelSchedule] != "nightly" || got.Annotations[v1alpha1.AnnotationScheduledTime] != "2026-01-02T03:04:00Z" {
			t.Errorf("%s: labels %v, annotations %v", name, got.Labels, got.Annotations)
		}
	}
}
