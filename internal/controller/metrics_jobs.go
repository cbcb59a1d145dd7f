// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

var (
	runsFinished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_runs_finished_total",
		Help: "Runs that ended, by outcome: Completed, Failed or Cancelled. Receipts are not counted.",
	}, []string{"namespace", "job", "outcome"})
	runDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "jobrun_run_duration_seconds",
		Help:    "Time from the first lease of a run to its end, whatever its outcome. Runs that were never leased are not counted.",
		Buckets: []float64{1, 5, 15, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
	}, []string{"namespace", "job"})
	waitingRuns = prometheus.NewDesc("jobrun_waiting_runs",
		"Runs of this replica that wait: their phase is Pending, or they have none yet.", []string{"namespace", "job"}, nil)
)

func init() { metrics.Registry.MustRegister(runsFinished, runDuration) }

// jobLabels are the labels of the metrics of a job.
type jobLabels struct{ namespace, job string }

// otherJobs are the labels of the jobs that are over the limit.
var otherJobs = jobLabels{"other", "other"}

// jobSeries bounds the series of the metrics that have a job as label. The first jobs that this process sees get series of their
// own, as many as limit says. All others share one.
type jobSeries struct {
	limit int

	mu sync.Mutex
	// known holds otherJobs, and the jobs that have series of their own.
	known map[jobLabels]bool
}

func newJobSeries(limit int) *jobSeries {
	s := &jobSeries{limit: limit, known: map[jobLabels]bool{}}
	s.add(otherJobs)
	return s
}

// of returns the labels of the job of a run.
func (s *jobSeries) of(run *v1alpha1.JobRun) jobLabels {
	labels := jobLabels{run.Namespace, run.Spec.JobName}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.known[labels]:
		return labels
	case len(s.known) > s.limit:
		return otherJobs
	default:
		s.add(labels)
		return labels
	}
}

// add makes all series of a job. Prometheus sees the first increase only of a series that exists before.
func (s *jobSeries) add(labels jobLabels) {
	s.known[labels] = true
	for _, outcome := range []v1alpha1.Phase{v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled} {
		runsFinished.WithLabelValues(labels.namespace, labels.job, string(outcome))
	}
	runDuration.WithLabelValues(labels.namespace, labels.job)
}

// zeros returns the number 0 for each job that has series.
func (s *jobSeries) zeros() map[jobLabels]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[jobLabels]int, len(s.known))
	for labels := range s.known {
		counts[labels] = 0
	}
	return counts
}

// recordEnd counts a run that a write has ended. before is the JobRun before the write, and after is the stored one. So no plan
// that ends a run can leave it out, and each end is counted once, by the replica whose write succeeded.
func (r *Reconciler) recordEnd(before, after *v1alpha1.JobRun) {
	if !decision.Ends(before, after) {
		return
	}
	labels := r.series.of(after)
	runsFinished.WithLabelValues(labels.namespace, labels.job, string(after.Status.Phase)).Inc()
	if start := after.Status.StartTime; start != nil {
		took := max(after.Status.CompletionTime.Sub(start.Time), 0)
		runDuration.WithLabelValues(labels.namespace, labels.job).Observe(took.Seconds())
	}
}
