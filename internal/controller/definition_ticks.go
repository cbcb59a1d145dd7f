// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/schedule"
	"github.com/jobrun-dev/jobrun/internal/text"
)

const (
	// maxEventNote is the API server's limit for the note of an Event, in bytes.
	maxEventNote = 1024
	// delayedRetry is the time between two looks at ticks that wait until all replicas know definitions. No event tells when they do.
	delayedRetry = 5 * time.Second
)

var scheduleTicks = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "jobrun_schedule_ticks_total",
	Help: "Times of schedules that were handled, by result: Created, Coalesced, Idempotent, Refused, NameTaken or Missed.",
}, []string{"result"})

func init() {
	metrics.Registry.MustRegister(scheduleTicks)
	for _, outcome := range decision.TickOutcomes { // Prometheus sees the first increase only of a series that exists from the start.
		scheduleTicks.WithLabelValues(string(outcome))
	}
}

// trigger handles ticks. The error is that of the ticks that failed for now. They have no result and stay due. So do all ticks
// while a replica does not know definitions: delayed is then the time until the next look.
func (d *definitions) trigger(ctx context.Context, definition *v1alpha1.JobDefinition, due []decision.Tick, now metav1.Time) (
	results []decision.TickResult, delayed time.Duration, failed error,
) {
	if len(due) > 0 && d.Defines != nil && !d.Defines() {
		d.tellDelayed(definition, due)
		return nil, delayedRetry, nil
	}
	for _, tick := range due {
		if tick.Missed {
			results = append(results, decision.MissedResult(tick, now))
			continue
		}
		result, err := d.triggerTick(ctx, definition, tick)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("trigger schedule %s of %s: %w", tick.Schedule.Name, tick.Time.Format(time.RFC3339), err))
			continue
		}
		results = append(results, result)
	}
	return results, 0, failed
}

// triggerTick creates the JobRun of a tick. If the create is refused, a live read tells whether the JobRun exists already: another
// replica may have created it, or the answer to an earlier create was lost.
func (d *definitions) triggerTick(ctx context.Context, definition *v1alpha1.JobDefinition, tick decision.Tick) (decision.TickResult, error) {
	run := schedule.NewRun(definition, tick.Schedule, tick.Time)
	err := d.Client.Create(ctx, run)
	if err == nil {
		return answeredTick(tick, run), nil
	}
	if !isTickRefused(err) {
		return decision.TickResult{}, err
	}
	existing := &v1alpha1.JobRun{}
	readErr := d.Live.Get(ctx, client.ObjectKeyFromObject(run), existing)
	switch {
	case client.IgnoreNotFound(readErr) != nil:
		return decision.TickResult{}, errors.Join(err, readErr)
	case readErr == nil && schedule.IsRunOf(existing, definition, tick.Schedule, tick.Time):
		return answeredTick(tick, existing), nil
	case !apierrors.IsAlreadyExists(err):
		return decision.TickResult{Tick: tick, Outcome: decision.TickRefused, Reason: err.Error()}, nil
	case readErr != nil: // It was deleted since.
		return decision.TickResult{}, err
	default:
		return decision.TickResult{Tick: tick, Outcome: decision.TickTaken,
			Reason: fmt.Sprintf("JobRun %s exists, and is not of this schedule and time", run.Name)}, nil
	}
}

// answeredTick returns the result of a tick whose JobRun is stored.
func answeredTick(tick decision.Tick, run *v1alpha1.JobRun) decision.TickResult {
	outcome := decision.TickCreated
	if a := run.Spec.Admission; a != nil {
		outcome = decision.TickOutcome(a.Disposition)
	}
	return decision.TickResult{Tick: tick, Outcome: outcome}
}

// isTickRefused reports whether the error is an answer to the trigger itself. Any other error says nothing about it: the API server
// or the webhook is down or too busy, or the key is reserved for a run that does not exist, which ends soon.
func isTickRefused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.HasStatusCause(err, v1alpha1.CauseReservedRun) {
		return false
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
}

// report counts the results of ticks, and emits an Event for each that triggered nothing. The results are stored.
func (d *definitions) report(definition *v1alpha1.JobDefinition, results []decision.TickResult) {
	for _, result := range results {
		scheduleTicks.WithLabelValues(string(result.Outcome)).Inc()
		if result.Triggered() {
			continue
		}
		reason := decision.EventScheduleRefused
		if result.Outcome == decision.TickMissed {
			reason = decision.EventScheduleMissed
		}
		d.tell(definition, reason, result.Tick, result.Text())
	}
}

// tellDelayed emits an Event for each tick that waits until all replicas know definitions.
func (d *definitions) tellDelayed(definition *v1alpha1.JobDefinition, due []decision.Tick) {
	for _, tick := range due {
		d.tell(definition, decision.EventScheduleDelayed, tick,
			"a replica of the operator is of an older version, and would take the run for a worker's; triggers when the upgrade has ended")
	}
}

// tell emits an Event about a tick.
func (d *definitions) tell(definition *v1alpha1.JobDefinition, reason string, tick decision.Tick, what string) {
	note := fmt.Sprintf("schedule %s of %s: %s", tick.Schedule.Name, tick.Time.UTC().Format(time.RFC3339), what)
	d.Events.Eventf(definition, nil, corev1.EventTypeWarning, reason, decision.ActionSchedule, "%s", text.Cut(note, maxEventNote))
}
