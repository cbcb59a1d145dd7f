// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var (
	triggers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_triggers_total",
		Help: "Triggers admitted, by disposition: Created, Coalesced or Idempotent.",
	}, []string{"disposition"})
	claims = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_claims_total",
		Help: "Claims of keyed runs by external workers, by result: granted, or refused because the run or its key was no longer free.",
	}, []string{"result"})
	fencedJobs = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_jobs_fenced_total",
		Help: "Jobs refused because their run was not leased under their token and generation.",
	})
	conflicts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_trigger_conflicts_total",
		Help: "Triggers refused because a run is pending for their key.",
	})
	forbiddenRequests = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_requests_forbidden_total",
		Help: "Triggers and definitions refused because their user may not trigger the job or create Jobs.",
	})
	reservations = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_trigger_reserved_total",
		Help: "Triggers refused because their key is reserved for a run that does not exist.",
	})
)

// countTriggers counts the triggers that an admitted JobRun stands for. All but the first one coalesced with it.
func countTriggers(run *v1alpha1.JobRun, disposition v1alpha1.Disposition) {
	triggers.WithLabelValues(string(disposition)).Inc()
	triggers.WithLabelValues(string(v1alpha1.DispositionCoalesced)).Add(float64(run.Represented() - 1))
}

func init() {
	metrics.Registry.MustRegister(triggers, conflicts, reservations, claims, fencedJobs, forbiddenRequests)
	// Prometheus sees the first increase only of a series that exists from the start.
	for _, disposition := range []v1alpha1.Disposition{
		v1alpha1.DispositionCreated, v1alpha1.DispositionCoalesced, v1alpha1.DispositionIdempotent,
	} {
		triggers.WithLabelValues(string(disposition))
	}
	for _, result := range []string{"granted", "refused"} {
		claims.WithLabelValues(result)
	}
}
