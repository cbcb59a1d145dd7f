// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

func condition(kind, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: 1, LastTransitionTime: now,
	}
}

// notReady is the condition Ready of a JobRun without an outcome.
var notReady = metav1.Condition{
	Type: "Ready", Status: metav1.ConditionFalse, Reason: ReasonNoOutcome, ObservedGeneration: 1, LastTransitionTime: wrappers.Epoch,
	Message: "it has not ended: see status.phase, and status.error if it does not get on",
}

// outcome returns the conditions of a JobRun that ended with a condition, which has the message on one line for kstatus.
func outcome(kind, reason, message, line string) []metav1.Condition {
	ready := condition("Ready", reason, line)
	if kind == "Complete" {
		return []metav1.Condition{ready, condition(kind, reason, message)}
	}
	ready.Status, ready.LastTransitionTime = metav1.ConditionFalse, wrappers.Epoch // It never was ready.
	return []metav1.Condition{ready, condition(kind, reason, message), condition("Stalled", reason, line)}
}

// This test compares whole statuses. The tests of decisions compare only what changes.
func TestStatuses(t *testing.T) {
	at := metav1.NewMicroTime(now.Time)
	self := &v1alpha1.ObjectReference{Name: "a", UID: "uid-a"}
	reported := func(w *wrappers.JobRunWrapper) *v1alpha1.JobRun {
		w.Status.Progress = &v1alpha1.Progress{Generation: w.Status.Lease.Generation}
		return w.Obj()
	}
	for name, tc := range map[string]struct{ got, want v1alpha1.JobRunStatus }{
		"pending": {
			pendingStatus(made("a").Error("waits for its key").Obj()),
			v1alpha1.JobRunStatus{Phase: v1alpha1.PhasePending, RunRef: self, ObservedGeneration: 1},
		},
		"leased": {
			leasedStatus(made("a").LeaseSeconds(5).Error("blocked").Obj(), 1, "10", now),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseLeased, RunRef: self, ObservedGeneration: 1, StartTime: &now,
				Lease: &v1alpha1.RunLease{
					HolderIdentity: "job/a-1", Generation: 1, KeyVersion: "10", AcquireTime: &at, RenewTime: &at, DurationSeconds: 5,
				},
			},
		},
		"leased again: it started long ago, and what the last holder said is void": {
			leasedStatus(reported(made("a").Leased(1, "5").Fenced()), 3, "10", now),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseLeased, RunRef: self, ObservedGeneration: 1, Attempts: 1, StartTime: later(0),
				Lease: &v1alpha1.RunLease{HolderIdentity: "job/a-3", Generation: 3, KeyVersion: "10", AcquireTime: &at, RenewTime: &at},
			},
		},
		"leased already: the lease and what its holder said stay": {
			leasedStatus(reported(made("a").Leased(2, "5").Error("blocked")), 2, "10", now),
			func() v1alpha1.JobRunStatus {
				status := made("a").Leased(2, "5").Obj().Status
				status.Progress = &v1alpha1.Progress{Generation: 2}
				return status
			}(),
		},
		"expired": {
			expiredStatus(reported(made("a").Leased(2, "5").Error("its Pod did not start"))),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseLeased, RunRef: self, ObservedGeneration: 1, Attempts: 1, StartTime: later(0),
				Lease: &v1alpha1.RunLease{Generation: 3, KeyVersion: "5"},
			},
		},
		"completed": {
			endedStatus(made("a").Leased(2, "5").Error("x").Obj(), ending{
				phase: v1alpha1.PhaseCompleted, generation: 2, reason: "Completed", message: "the Job completed",
				output: &apiextensionsv1.JSON{Raw: []byte("1")}, now: now,
			}),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseCompleted, RunRef: self, ObservedGeneration: 1, StartTime: later(0), CompletionTime: &now,
				Lease: made("a").Leased(2, "5").Obj().Status.Lease, FinishedGeneration: 2,
				JobRef: &v1alpha1.ObjectReference{Name: "a-2", UID: "uid-a-2"}, Output: &apiextensionsv1.JSON{Raw: []byte("1")},
				Conditions: outcome("Complete", "Completed", "the Job completed", "the Job completed"),
			},
		},
		"failed": {
			endedStatus(made("a").Leased(2, "5").Obj(), ending{
				phase: v1alpha1.PhaseFailed, generation: 2, reason: "BackoffLimitExceeded", message: "x", now: now,
				failure: &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3))},
			}),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseFailed, RunRef: self, ObservedGeneration: 1, StartTime: later(0), CompletionTime: &now,
				Lease: made("a").Leased(2, "5").Obj().Status.Lease, FinishedGeneration: 2,
				JobRef: &v1alpha1.ObjectReference{Name: "a-2", UID: "uid-a-2"}, Error: "x",
				Failure:    &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3))},
				Conditions: outcome("Failed", "BackoffLimitExceeded", "x", "x"),
			},
		},
		"failed before it was leased": {
			endedStatus(made("a").Obj(), ending{phase: v1alpha1.PhaseFailed, reason: "Conflict", message: "one\ntwo", now: now}),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseFailed, RunRef: self, ObservedGeneration: 1, CompletionTime: &now, Error: "one two",
				Conditions: outcome("Failed", "Conflict", "one\ntwo", "one two"),
			},
		},
		"cancelled": {
			endedStatus(made("a").Obj(), NewSnapshot(Observation{Now: now}).cancellation(made("a").Obj())),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseCancelled, RunRef: self, ObservedGeneration: 1, CompletionTime: &now, Error: "cancelled on request",
				Conditions: outcome("Cancelled", "Cancelled", "cancelled on request", "cancelled on request"),
			},
		},
		"a receipt whose run was deleted": {
			cancelledReceiptStatus(answered("r", "a", "4").BoundTo("a").Obj(), ReasonRunDeleted, "run a was deleted", now),
			v1alpha1.JobRunStatus{
				Phase: v1alpha1.PhaseCoalesced, RunRef: self, ObservedGeneration: 1, CompletionTime: &now, Error: "run a was deleted",
				Conditions: outcome("Cancelled", "RunDeleted", "run a was deleted", "run a was deleted"),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Stored = made("a").Obj().ResourceVersion // Every write records it.
			if tc.want.Conditions == nil {
				tc.want.Conditions = []metav1.Condition{notReady}
			}
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecentEntry(t *testing.T) {
	many := answered("r", "a", "4").Label(v1alpha1.LabelKey, "x")
	want := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("label-%02d", i)
		many.Label(name, "v")
		if i < v1alpha1.MaxRecentLabels {
			want[name] = "v"
		}
	}
	for name, tc := range map[string]struct {
		receipt *v1alpha1.JobRun
		want    v1alpha1.CoalescedTrigger
	}{
		"without input and labels": {
			answered("r", "a", "4").Age(9).Obj(),
			v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Time: later(9)},
		},
		"the operator's own labels are left out": {
			answered("r", "a", "4").Label("env", "prod").Label(v1alpha1.LabelKey, "x").Label(v1alpha1.LabelJobName, "x").Label(v1alpha1.LabelDisposition, "x").Obj(),
			v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Time: later(0), Labels: map[string]string{"env": "prod"}},
		},
		"no more labels than there is room for": {
			many.Obj(), v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Time: later(0), Labels: want},
		},
		"input": {
			answered("r", "a", "4").Input(`{"org":"acme"}`).Obj(),
			v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Time: later(0), Input: `{"org":"acme"}`},
		},
		"input that is too long is cut between runes": {
			answered("r", "a", "4").Input(`"` + strings.Repeat("💥", 300) + `"`).Obj(),
			v1alpha1.CoalescedTrigger{Name: "r", UID: "uid-r", Time: later(0), Input: `"` + strings.Repeat("💥", 255)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, recentEntry(tc.receipt)); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
		})
	}
}

// A worker may have filled the list with its own conditions.
func TestRoomForTheOutcome(t *testing.T) {
	run := answered("r", "a", "4").BoundTo("a").Settled().Obj()
	status := run.Status
	setCondition(&status, condition(v1alpha1.ConditionCoalesced, ReasonCoalesced, ""))
	for n := range v1alpha1.MaxConditions - 1 {
		status.Conditions = append(status.Conditions, condition(fmt.Sprintf("Foreign%d", n), "R", ""))
	}
	setOutcome(&status, run, v1alpha1.ConditionComplete, ReasonCompleted, "", now)
	setOutcome(&status, run, v1alpha1.ConditionFailed, ReasonReported, "", now)
	if n := len(status.Conditions); n != v1alpha1.MaxConditions {
		t.Errorf("%d conditions", n)
	}
	for kind, want := range map[string]bool{
		v1alpha1.ConditionCoalesced: true, v1alpha1.ConditionFailed: true, v1alpha1.ConditionComplete: false,
		v1alpha1.ConditionReady: true, v1alpha1.ConditionStalled: true, "Foreign2": false, "Foreign3": true,
	} {
		if got := meta.FindStatusCondition(status.Conditions, kind) != nil; got != want {
			t.Errorf("%s: there %t, want %t", kind, got, want)
		}
	}
}

// A receipt gets the whole outcome of its run.
// The version with which a JobRun was created is recorded once.
func TestStored(t *testing.T) {
	first := pendingStatus(made("a").ResourceVersion("7").Obj())
	if first.Stored != "7" {
		t.Errorf("the first write records %q, not 7", first.Stored)
	}
	if later := pendingStatus(made("a").Stored("7").ResourceVersion("9").Obj()); later.Stored != "7" {
		t.Errorf("a later write records %q, not 7", later.Stored)
	}
}

func TestOutcomeStatus(t *testing.T) {
	run := made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Error("exit code 3").Obj()
	run.Status.Output = &apiextensionsv1.JSON{Raw: []byte(`"x"`)}
	run.Status.Failure = &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3))}
	run.Status.CompletionTime = later(30)
	setReadiness(&run.Status, run)
	setOutcome(&run.Status, run, v1alpha1.ConditionFailed, "BackoffLimitExceeded", "exit code 3", *later(30))

	want := answered("r", "a", "4").BoundTo("a").Error("exit code 3").Obj().Status
	want.ObservedGeneration = 1
	want.Failure = run.Status.Failure
	want.Output, want.StartTime, want.CompletionTime = run.Status.Output, run.Status.StartTime, later(30)
	want.Conditions = run.Status.Conditions
	want.Stored = "1"
	if diff := cmp.Diff(want, outcomeStatus(answered("r", "a", "4").BoundTo("a").Obj(), run)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
