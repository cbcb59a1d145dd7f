// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// maxNoteBytes is the API server's limit for the note of an Event.
const maxNoteBytes = 1024

// Event tells of a change of a run. Events are best effort; statuses are the record.
type Event struct {
	Run     *v1alpha1.JobRun
	Related *v1alpha1.JobRun
	Warning bool
	Reason  string
	Action  string
	Note    string
	// Count is how many changes the event stands for, if it is the series of its run and reason. A later event of the
	// series replaces it. An event with Count 0 tells of one change.
	Count int64
}

// Reasons and actions of events.
const (
	EventTriggered    = "RunTriggered"
	EventCoalesced    = "RunCoalesced"
	EventLeased       = "RunLeased"
	EventLeaseExpired = "RunLeaseExpired"
	EventCompleted    = "RunCompleted"
	EventFailed       = "RunFailed"
	EventCancelled    = "RunCancelled"
	EventBlocked      = "RunBlocked"
	EventUnclaimed    = "RunUnclaimed"
	EventJobLost      = "JobLost"
	EventOutputLost   = "RunOutputLost"
	EventNewerRule    = "RunBreaksNewerRule"

	// EventScheduleRefused and EventScheduleMissed are about a JobDefinition: a time of a schedule triggered nothing.
	EventScheduleRefused = "ScheduleRefused"
	EventScheduleMissed  = "ScheduleMissed"
	// EventScheduleDelayed is about a JobDefinition: a time of a schedule triggers later, once all replicas know definitions.
	EventScheduleDelayed = "ScheduleDelayed"

	ActionTrigger   = "run:trigger"
	ActionCoalesced = "run:coalesced"
	ActionLeased    = "run:leased"
	ActionExpired   = "run:expired"
	ActionComplete  = "run:complete"
	ActionFail      = "run:fail"
	ActionCancel    = "run:cancel"
	ActionBlocked   = "run:blocked"
	ActionUnclaimed = "run:unclaimed"
	ActionNewerRule = "run:check"
	ActionSchedule  = "schedule:trigger"
)

// Type returns the type of the Kubernetes Event, Warning or Normal.
func (e Event) Type() string {
	if e.Warning {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

func newEvent(run *v1alpha1.JobRun, reason, action, note string) Event {
	return Event{Run: run, Warning: isWarning(reason), Reason: reason, Action: action, Note: text.Cut(note, maxNoteBytes)}
}

// isWarning reports whether events with a reason are warnings.
func isWarning(reason string) bool {
	switch reason {
	case EventLeaseExpired, EventBlocked, EventUnclaimed, EventFailed, EventJobLost, EventOutputLost, EventNewerRule:
		return true
	default:
		return false
	}
}

// tellTriggered emits RunTriggered for a run that is written for the first time.
func tellTriggered(run *v1alpha1.JobRun) []Op {
	if run.Status.RunRef != nil {
		return nil
	}
	return []Op{Emit{TriggeredEvent(run)}}
}

// TriggeredEvent is RunTriggered for a trigger that became a run.
func TriggeredEvent(run *v1alpha1.JobRun) Event {
	note := fmt.Sprintf("triggered%s for job %q", representsText(run.Represented()), run.Spec.JobName)
	if run.Spec.ConcurrencyKey != "" {
		note += fmt.Sprintf(", concurrencyKey %q", run.Spec.ConcurrencyKey)
	}
	return newEvent(run, EventTriggered, ActionTrigger, note)
}

// tellLeased emits RunLeased for a run that a Job executes, and counts its first lease.
func tellLeased(run *v1alpha1.JobRun, now metav1.Time) []Op {
	ops := append(tellTriggered(run), Emit{newEvent(run, EventLeased, ActionLeased, "a Job executes the run")})
	if run.Status.StartTime == nil {
		ops = append(ops, Count{FirstLeaseOf(run, now)})
	}
	return ops
}

// ClaimedEvent is RunLeased for a run that a worker has claimed.
func ClaimedEvent(run *v1alpha1.JobRun) Event {
	return newEvent(run, EventLeased, ActionLeased, fmt.Sprintf("worker %s executes the run", run.Status.Lease.HolderIdentity))
}

// leaseExpiredEvent tells that a lease expired. status is the status of the run after that.
func leaseExpiredEvent(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) Event {
	holder := "a holder that was fenced or released the lease"
	if run.IsHeld() {
		holder = run.Status.Lease.HolderIdentity
	}
	note := fmt.Sprintf("lease of %s, generation %d, expired (%d of %d attempts used)",
		holder, run.LeaseGeneration(), status.Attempts, maxAttempts(run))
	return newEvent(run, EventLeaseExpired, ActionExpired, note)
}

// jobLostEvent tells that the Job of a run is lost, and what becomes of the run.
func jobLostEvent(run *v1alpha1.JobRun, message string) Event {
	return newEvent(run, EventJobLost, ActionExpired, message)
}

// tellOutputLost tells that a run completed and that its output is unknown.
func tellOutputLost(run *v1alpha1.JobRun, end ending) []Op {
	if end.warning == "" {
		return nil
	}
	return []Op{Emit{newEvent(run, EventOutputLost, ActionComplete, end.warning)}}
}

// NewerRuleEvent tells that a stored JobRun breaks a rule of a later version.
func NewerRuleEvent(run *v1alpha1.JobRun, problems string) Event {
	e := newEvent(run, EventNewerRule, ActionNewerRule, "it was stored before a rule that it breaks, and goes on; a new trigger like it is refused: "+problems)
	e.Count = 1
	return e
}

func blockedEvent(run *v1alpha1.JobRun, message string) Event {
	return newEvent(run, EventBlocked, ActionBlocked, "the Job is refused for now: "+message)
}

func endedEvent(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) Event {
	switch status.Phase {
	case v1alpha1.PhaseCompleted:
		return newEvent(run, EventCompleted, ActionComplete, "completed")
	case v1alpha1.PhaseCancelled:
		return newEvent(run, EventCancelled, ActionCancel, status.Error)
	default:
		return newEvent(run, EventFailed, ActionFail, status.Error)
	}
}

// MetricKind is the kind of thing that a plan counts.
type MetricKind int

const (
	// FirstLease is the first lease of a run. Its value is the time since the run's creation, in seconds.
	FirstLease MetricKind = iota
	// ExpiredRequeued is a lease that expired and whose run waits again.
	ExpiredRequeued
	// ExpiredFailed is a lease that expired and whose run failed.
	ExpiredFailed
	// Promotion is a receipt that became a run.
	Promotion
)

// Metric is one thing that a plan counts.
type Metric struct {
	Kind MetricKind
	// Value is set for FirstLease only.
	Value float64
}

// FirstLeaseOf returns the Metric of a run's first lease.
func FirstLeaseOf(run *v1alpha1.JobRun, now metav1.Time) Metric {
	return Metric{Kind: FirstLease, Value: max(now.Sub(run.CreationTimestamp.Time), time.Duration(0)).Seconds()}
}
