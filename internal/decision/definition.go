// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// maxResultBytes bounds lastResult of a schedule.
const maxResultBytes = 1024

// Definition is what the controller has read about a JobDefinition.
type Definition struct {
	Now        metav1.Time
	Definition *v1alpha1.JobDefinition
	// Reason and Message are those of the condition Ready. It is True if Reason is v1alpha1.ReasonDefinitionValid.
	Reason, Message string
	// Waiting and Executing are how many runs of the job wait and execute.
	Waiting, Executing int
	// LastEnd is the run of the job that ended last; nil if none is known.
	LastEnd *v1alpha1.JobRun
}

// Tick is a time at which a schedule triggers its job.
type Tick struct {
	Schedule *v1alpha1.JobSchedule
	Time     time.Time
	// Missed is true if the time is over by more than startingDeadlineSeconds. Such a tick triggers nothing.
	Missed bool
}

// TickOutcome is the kind of what became of a tick.
type TickOutcome string

// The outcomes of ticks, which are labels of a metric.
const (
	// TickCreated, TickCoalesced and TickIdempotent are the answers to a trigger.
	TickCreated    TickOutcome = "Created"
	TickCoalesced  TickOutcome = "Coalesced"
	TickIdempotent TickOutcome = "Idempotent"
	// TickRefused means that the API server or the webhook refused the trigger.
	TickRefused TickOutcome = "Refused"
	// TickTaken means that another JobRun has the name.
	TickTaken TickOutcome = "NameTaken"
	// TickMissed means that the time was over by more than startingDeadlineSeconds.
	TickMissed TickOutcome = "Missed"
)

// TickOutcomes are all outcomes.
var TickOutcomes = []TickOutcome{TickCreated, TickCoalesced, TickIdempotent, TickRefused, TickTaken, TickMissed}

// TickResult is what became of a tick.
type TickResult struct {
	Tick
	Outcome TickOutcome
	// Reason says why the tick triggered nothing; empty if it did.
	Reason string
}

// Text returns the lastResult of a schedule.
func (r TickResult) Text() string {
	if r.Reason == "" {
		return string(r.Outcome)
	}
	return text.OneLine(string(r.Outcome)+": "+r.Reason, maxResultBytes)
}

// Triggered reports whether the tick triggered the job.
func (r TickResult) Triggered() bool { return r.Reason == "" }

// MissedResult returns the result of a tick that is missed.
func MissedResult(tick Tick, now metav1.Time) TickResult {
	return TickResult{Tick: tick, Outcome: TickMissed, Reason: fmt.Sprintf("%s late, startingDeadlineSeconds is %d",
		now.Sub(tick.Time).Truncate(time.Second), tick.Schedule.StartingDeadlineSeconds)}
}

// DueTicks returns the ticks of a definition that are due: for each schedule at most one, the most recent time that is not
// handled. A schedule that is suspended or cannot be parsed has none.
func (d Definition) DueTicks() []Tick {
	var due []Tick
	for i := range d.Definition.Spec.Schedules {
		s := &d.Definition.Spec.Schedules[i]
		parsed := usable(s)
		if parsed == nil {
			continue
		}
		t := parsed.Last(d.handledUntil(s.Name, parsed), d.Now.Time)
		if t.IsZero() {
			continue
		}
		deadline := time.Duration(s.StartingDeadlineSeconds) * time.Second
		due = append(due, Tick{Schedule: s, Time: t, Missed: deadline > 0 && d.Now.Sub(t) > deadline})
	}
	return due
}

// usable returns the parsed schedule; nil if it is suspended or cannot be parsed.
func usable(s *v1alpha1.JobSchedule) *schedule.Schedule {
	if s.Suspend != nil && *s.Suspend {
		return nil
	}
	parsed, err := schedule.Parse(*s)
	if err != nil {
		return nil
	}
	return parsed
}

// handledUntil returns the time until which the times of a schedule are handled. It is the first of these:
//   - lastScheduleTime, or just before nextScheduleTime, which the status of this generation has;
//   - now, if the definition was edited so that nextScheduleTime is no time of the schedule any more, or the schedule was
//     added: the times before the edit were never promised;
//   - now, if a wrong clock stored one of them that is ahead: which times before it triggered is not known;
//   - the creation of the definition, if no status was written yet, or if the schedule was suspended before it ever fired.
func (d Definition) handledUntil(name string, parsed *schedule.Schedule) time.Time {
	handled, known := d.Definition.CreationTimestamp.Time, schedule.FindStatus(d.Definition.Status.Schedules, name)
	switch {
	case known == nil && d.Definition.Status.ObservedGeneration > 0:
		return d.Now.Time
	case known == nil:
		return handled
	case schedule.IsAhead(known.LastScheduleTime, d.Now.Time), schedule.IsAhead(known.NextScheduleTime, d.Now.Time):
		return d.Now.Time // A rare schedule whose next time is right is not due now either.
	}
	if last := known.LastScheduleTime; last != nil && last.After(handled) {
		handled = last.Time
	}
	if next := known.NextScheduleTime; next != nil {
		if !parsed.Fires(next.Time) {
			return d.Now.Time
		}
		if before := next.Add(-time.Second); before.After(handled) {
			handled = before
		}
	}
	return handled
}

// Status returns the status of the definition after its due ticks were handled with these results. A due tick without a
// result stays due.
func (d Definition) Status(due []Tick, results []TickResult) v1alpha1.JobDefinitionStatus {
	status := *d.Definition.Status.DeepCopy()
	waiting, executing := int32(d.Waiting), int32(d.Executing)
	status.Waiting, status.Executing = &waiting, &executing
	if end := d.LastEnd; end != nil && end.Status.CompletionTime != nil && !end.Status.CompletionTime.Before(status.LastRunTime) {
		status.LastRunTime, status.LastOutcome = end.Status.CompletionTime.DeepCopy(), end.Status.Phase
	}
	status.Schedules = d.schedules(due, results)
	status.ObservedGeneration = d.Definition.Generation
	ready := metav1.Condition{
		Type: v1alpha1.ConditionDefinitionReady, Status: metav1.ConditionFalse, Reason: d.Reason, Message: d.Message,
		ObservedGeneration: d.Definition.Generation, LastTransitionTime: d.Now,
	}
	if d.Reason == v1alpha1.ReasonDefinitionValid {
		ready.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	return status
}

// schedules returns what is known of each schedule.
func (d Definition) schedules(due []Tick, results []TickResult) []v1alpha1.JobScheduleStatus {
	var all []v1alpha1.JobScheduleStatus
	for i := range d.Definition.Spec.Schedules {
		s := &d.Definition.Spec.Schedules[i]
		known := v1alpha1.JobScheduleStatus{Name: s.Name}
		if before := schedule.FindStatus(d.Definition.Status.Schedules, s.Name); before != nil {
			known = *before.DeepCopy()
		}
		known.NextScheduleTime = nil
		if schedule.IsAhead(known.LastScheduleTime, d.Now.Time) {
			known.LastScheduleTime = nil // Otherwise the schedule would stop until then.
		}
		for _, result := range results {
			if result.Schedule.Name == s.Name {
				known.LastScheduleTime = &metav1.Time{Time: result.Time}
				known.LastResult, known.LastRunName = result.Text(), ""
				if result.Triggered() {
					known.LastRunName = schedule.RunName(d.Definition.Name, s.Name, result.Time)
				}
			}
		}
		if parsed := usable(s); parsed != nil {
			known.NextScheduleTime = d.next(parsed, &known, due)
		}
		all = append(all, known)
	}
	return all
}

// next returns the time at which a schedule fires next: its due tick, if that has no result yet.
func (d Definition) next(parsed *schedule.Schedule, known *v1alpha1.JobScheduleStatus, due []Tick) *metav1.Time {
	after := d.Now.Time
	if last := known.LastScheduleTime; last != nil && last.After(after) { // by a clock that is ahead of this one
		after = last.Time
	}
	for _, tick := range due {
		if tick.Schedule.Name == known.Name && (known.LastScheduleTime == nil || tick.Time.After(known.LastScheduleTime.Time)) {
			return &metav1.Time{Time: tick.Time}
		}
	}
	next := parsed.Next(after)
	if next.IsZero() {
		return nil
	}
	return &metav1.Time{Time: next}
}

// MustTellNow reports whether a status has more news than counters, so it is written at once.
func MustTellNow(before, after *v1alpha1.JobDefinitionStatus) bool {
	return before.ObservedGeneration != after.ObservedGeneration ||
		!apiequality.Semantic.DeepEqual(before.Schedules, after.Schedules) ||
		!apiequality.Semantic.DeepEqual(before.Conditions, after.Conditions)
}

// NextTick returns the time until the next tick of a definition with this status; 0 for never. A tick that is due is
// not one of them: it is tried again after a backoff.
func NextTick(status *v1alpha1.JobDefinitionStatus, now metav1.Time) time.Duration {
	soonest := time.Duration(0)
	for _, known := range status.Schedules {
		if known.NextScheduleTime != nil {
			soonest = Sooner(soonest, known.NextScheduleTime.Sub(now.Time))
		}
	}
	return soonest
}
