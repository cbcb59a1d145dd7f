// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// failedExecution returns the execution of a run whose Job failed by itself.
func failedExecution(reason, message string) *Execution {
	job := makeJob(made("a").Obj(), 1).Failed(reason, message).Obj()
	return &Execution{Job: job, Result: &job.Status.Conditions[0]}
}

// The reason of a Job's condition comes from the Job controller. The reason of a run's condition has stricter rules.
func TestResultOf(t *testing.T) {
	for reason, want := range map[string]string{
		"BackoffLimitExceeded": "BackoffLimitExceeded", "": "JobFailed", "pod-evicted": "JobFailed", strings.Repeat("a", 1025): "JobFailed",
	} {
		end := resultOf(made("a").Obj(), failedExecution(reason, "why"))
		if end.phase != v1alpha1.PhaseFailed || end.reason != want {
			t.Errorf("%.30s: %s, %s", reason, end.phase, end.reason)
		}
		if !strings.HasPrefix(end.message, reason) || !strings.HasSuffix(end.message, "why") {
			t.Errorf("%.30s: message %.60q", reason, end.message)
		}
	}
}

func TestJobFailureMessage(t *testing.T) {
	for name, tc := range map[string]struct{ reason, message, want string }{
		"both":       {"DeadlineExceeded", "too late", "DeadlineExceeded: too late"},
		"no reason":  {"", "too late", "too late"},
		"no message": {"DeadlineExceeded", "", "DeadlineExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := resultOf(made("a").Obj(), failedExecution(tc.reason, tc.message)); got.message != tc.want {
				t.Errorf("message %q, want %q", got.message, tc.want)
			}
		})
	}
}

// A run that failed before any of its Pods did says what stood in its way.
func TestResultOfARunThatDidNotGetOn(t *testing.T) {
	stuck := made("a").Leased(1, "5").Error("no such image").Obj()
	refused := made("a").Leased(1, "5").Error("no quota").Obj()
	refused.Status.JobRef = nil
	e := failedExecution("DeadlineExceeded", "too long")
	if got := resultOf(stuck, e).message; got != "DeadlineExceeded: too long; it did not get on: no such image" {
		t.Errorf("message %q", got)
	}
	if got := resultOf(refused, e).message; got != "DeadlineExceeded: too long" {
		t.Errorf("refused before: message %q", got)
	}
	e.Failure = &v1alpha1.RunFailure{Reason: "Evicted"}
	if got := resultOf(stuck, e).message; got != "DeadlineExceeded: too long; the Pod failed (Evicted)" {
		t.Errorf("with a failure: message %q", got)
	}
}

// What failed in the Pods follows the words of the Job. The text fits status.error.
func TestFailureMessage(t *testing.T) {
	log := "log begins\n" + strings.Repeat("x", 2000) + "\nlog ends"
	for name, tc := range map[string]struct {
		reason, message string
		failure         *v1alpha1.RunFailure
		want            string
	}{
		"no Pod tells": {"BackoffLimitExceeded", "Job has reached the specified backoff limit", nil,
			"BackoffLimitExceeded: Job has reached the specified backoff limit"},
		"too often": {"BackoffLimitExceeded", "Job has reached the specified backoff limit",
			&v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "no\n  such org"},
			"BackoffLimitExceeded: container main exited with code 3 (Error): no such org"},
		"without a message": {"BackoffLimitExceeded", "x", &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(137)), Reason: "OOMKilled"},
			"BackoffLimitExceeded: container main exited with code 137 (OOMKilled)"},
		"the Job tells more": {"DeadlineExceeded", "Job was active longer than specified deadline",
			&v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(143)), Reason: "Error"},
			"DeadlineExceeded: Job was active longer than specified deadline; container main exited with code 143 (Error)"},
		"the end of a long log": {"BackoffLimitExceeded", "x", &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(1)), Message: log},
			"BackoffLimitExceeded: container main exited with code 1: " + strings.Repeat("x", 1024-57-9) + " log ends"},
		"the Job tells too much": {"Long", strings.Repeat("y", 5000), &v1alpha1.RunFailure{Reason: "Evicted", Message: "no disk"},
			"Long: " + strings.Repeat("y", 506) + "; the Pod failed (Evicted): no disk"},
	} {
		t.Run(name, func(t *testing.T) {
			e := failedExecution(tc.reason, tc.message)
			e.Failure = tc.failure
			end := resultOf(made("a").Obj(), e)
			if end.message != tc.want || end.failure != tc.failure {
				t.Errorf("message %q, want %q; failure %v", end.message, tc.want, end.failure)
			}
		})
	}
}

// DecideReport completes the status of a run that a worker has ended. It changes no other JobRun.
func TestDecideReport(t *testing.T) {
	worker := func() *wrappers.JobRunWrapper { return makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker") }
	for name, tc := range map[string]struct {
		run  *wrappers.JobRunWrapper
		want string
	}{
		"executing": {worker(), ""},
		"completed": {worker().Ended(v1alpha1.PhaseCompleted), `report: WriteStatus(a, Completed, Complete=Reported); Emit(RunCompleted a)`},
		"failed":    {worker().Ended(v1alpha1.PhaseFailed).Error("no disk"), `report: WriteStatus(a, Failed, Failed=Reported); Emit(RunFailed a)`},
		"completed, with the condition but without completionTime": {
			&wrappers.JobRunWrapper{JobRun: *bare(worker().Ended(v1alpha1.PhaseCompleted).Reported())},
			`report: WriteStatus(a, Completed); Emit(RunCompleted a)`,
		},
		"completed before the operator withdrew its own text": {
			&wrappers.JobRunWrapper{JobRun: *bare(worker().Ended(v1alpha1.PhaseCompleted).Error(unclaimed + " for 30s"))},
			`report: WriteStatus(a, Completed, Complete=Reported, ""); Emit(RunCompleted a)`,
		},
		"completed, with a complete status": {worker().Ended(v1alpha1.PhaseCompleted).Reported(), ""},
		"a receipt with its outcome":        {answered("r", "a", "4").BoundTo("a").Settled(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DecideReport(tc.run.Obj(), now).String(); got != tc.want {
				t.Errorf("plan %q, want %q", got, tc.want)
			}
		})
	}
}

// The operator's clock sets completionTime, even if the worker has written another value.
func TestDecideReportTellsWhen(t *testing.T) {
	run := made("a").Leased(1, "5").Holder("worker").Ended(v1alpha1.PhaseCompleted).Obj()
	run.Status.CompletionTime, run.Status.StartTime = &metav1.Time{}, nil
	run.Status.Lease.AcquireTime = &metav1.MicroTime{Time: later(7).Time}
	status := DecideReport(run, now).Ops[0].(WriteStatus).Status
	if !status.CompletionTime.Equal(&now) || !status.StartTime.Equal(later(7)) {
		t.Errorf("completed %s, started %s", status.CompletionTime, status.StartTime)
	}
}

// A worker may write a phase and a condition that contradict each other. The phase is right, because the schema
// does not let it change any more.
func TestDecideReportOfAContradiction(t *testing.T) {
	run := makeRun("a").Key("k").Created().Leased(1, "5").Holder("worker").Ended(v1alpha1.PhaseCompleted).Obj()
	run.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Reason: "Mistaken"}}
	for _, op := range DecideReport(run, now).Ops {
		if write, ok := op.(WriteStatus); ok {
			run.Status = write.Status
		}
	}
	if meta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionFailed) != nil || !meta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionComplete) {
		t.Errorf("conditions %v", run.Status.Conditions)
	}
}

// bare returns an ended run without completionTime.
func bare(w *wrappers.JobRunWrapper) *v1alpha1.JobRun {
	w.Status.CompletionTime = nil
	return w.Obj()
}
