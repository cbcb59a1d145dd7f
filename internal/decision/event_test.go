// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestEvents(t *testing.T) {
	run := made("a").Leased(2, "5").Obj()
	receipt := answered("r", "a", "4").Input(`{"org":"acme"}`).Label("env", "prod").
		Label(v1alpha1.LabelKey, "x").Label(v1alpha1.LabelJobName, "x").Label(v1alpha1.LabelDisposition, "coalesced").Obj()
	end := func(phase v1alpha1.Phase, message string) v1alpha1.JobRunStatus {
		return v1alpha1.JobRunStatus{Phase: phase, Error: message}
	}
	for name, tc := range map[string]struct {
		event Event
		want  Event
	}{
		"triggered": {
			only(tellTriggered(made("a").Obj())),
			Event{Run: run, Reason: "RunTriggered", Action: "run:trigger", Note: `triggered for job "job", concurrencyKey "k"`},
		},
		"triggered without a key": {
			only(tellTriggered(keyless("a").Obj())),
			Event{Run: run, Reason: "RunTriggered", Action: "run:trigger", Note: `triggered for job "job"`},
		},
		"leased": {
			only(tellLeased(made("a").Leased(1, "5").Obj(), now)[:1]),
			Event{Run: run, Reason: "RunLeased", Action: "run:leased", Note: "a Job executes the run"},
		},
		"coalesced": {
			coalescedEvent(run, receipt),
			Event{Run: run, Related: receipt, Reason: "RunCoalesced", Action: "run:coalesced",
				Note: `absorbed trigger r; skipped labels {"env":"prod"}, input {"org":"acme"}`},
		},
		"coalesced without input and labels": {
			coalescedEvent(run, answered("r", "a", "4").Obj()),
			Event{Run: run, Related: receipt, Reason: "RunCoalesced", Action: "run:coalesced",
				Note: `absorbed trigger r; skipped labels {}, input null`},
		},
		"lease expired": {
			leaseExpiredEvent(run, v1alpha1.JobRunStatus{Attempts: 1}),
			Event{Run: run, Warning: true, Reason: "RunLeaseExpired", Action: "run:expired",
				Note: "lease of job/a-2, generation 2, expired (1 of 3 attempts used)"},
		},
		"blocked": {
			blockedEvent(run, "exceeded quota"),
			Event{Run: run, Warning: true, Reason: "RunBlocked", Action: "run:blocked",
				Note: "the Job is refused for now: exceeded quota"},
		},
		"completed": {
			endedEvent(run, end(v1alpha1.PhaseCompleted, "")),
			Event{Run: run, Reason: "RunCompleted", Action: "run:complete", Note: "completed"},
		},
		"failed": {
			endedEvent(run, end(v1alpha1.PhaseFailed, "too bad")),
			Event{Run: run, Warning: true, Reason: "RunFailed", Action: "run:fail", Note: "too bad"},
		},
		"cancelled": {
			endedEvent(run, end(v1alpha1.PhaseCancelled, "cancelled on request")),
			Event{Run: run, Reason: "RunCancelled", Action: "run:cancel", Note: "cancelled on request"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			named := cmp.Comparer(func(a, b *v1alpha1.JobRun) bool {
				return (a == nil) == (b == nil) && (a == nil || a.Name == b.Name)
			})
			if diff := cmp.Diff(tc.want, tc.event, named); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func only(ops []Op) Event { return ops[0].(Emit).Event }

func TestEventType(t *testing.T) {
	if got := (Event{}).Type(); got != corev1.EventTypeNormal {
		t.Errorf("type %q", got)
	}
	if got := (Event{Warning: true}).Type(); got != corev1.EventTypeWarning {
		t.Errorf("type %q", got)
	}
}

// RunTriggered is emitted once, and only the first lease is counted.
func TestEventsOnce(t *testing.T) {
	if ops := tellTriggered(made("a").Pending().Obj()); len(ops) > 0 {
		t.Errorf("a run that is known is triggered again: %s", opText(ops[0]))
	}
	first := tellLeased(made("a").Pending().Obj(), now)
	if got := (Plan{Step: "x", Ops: first}).String(); got != "x: Emit(RunLeased a); Count(leased)" {
		t.Errorf("the first lease: %s", got)
	}
	if got := first[1].(Count).Metric.Value; got != 60 {
		t.Errorf("waited %v s, want 60", got)
	}
	again := tellLeased(made("a").Leased(1, "5").Obj(), now)
	if got := (Plan{Step: "x", Ops: again}).String(); got != "x: Emit(RunLeased a)" {
		t.Errorf("the second lease: %s", got)
	}
	early := tellLeased(made("a").Age(100).Pending().Obj(), now)
	if got := early[1].(Count).Metric.Value; got != 0 {
		t.Errorf("a clock that lags makes it wait %v s", got)
	}
}

// An event that the API server refuses is lost, because it is not sent again.
func TestNoteFits(t *testing.T) {
	wide := strings.Repeat("💥", 1000)
	big := answered("r", "a", "4").Input(`"` + wide + `"`)
	for i := range 16 {
		big.Label("label-"+string(rune('a'+i)), strings.Repeat("v", 63))
	}
	for name, event := range map[string]Event{
		"coalesced": coalescedEvent(made("a").Obj(), big.Obj()),
		"blocked":   blockedEvent(made("a").Obj(), wide),
		"failed":    endedEvent(made("a").Obj(), v1alpha1.JobRunStatus{Phase: v1alpha1.PhaseFailed, Error: wide}),
		"triggered": only(tellTriggered(made("a").Key(strings.Repeat("💥", 256)).Obj())),
	} {
		t.Run(name, func(t *testing.T) {
			if n := len(event.Note); n > 1024 || n < 900 {
				t.Errorf("the note has %d bytes", n)
			}
			if !utf8.ValidString(event.Note) {
				t.Errorf("the note is no UTF-8: %q", event.Note)
			}
		})
	}
	if note := coalescedEvent(made("a").Obj(), big.Obj()).Note; !strings.Contains(note, "💥") {
		t.Errorf("labels leave no room for the input: %q", note)
	}
}
