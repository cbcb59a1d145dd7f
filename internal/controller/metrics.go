// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

var (
	leaseWait = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "jobrun_trigger_to_lease_seconds",
		Help:    "Time from the creation of a run to its first lease.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200},
	})
	expirations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_lease_expirations_total",
		Help: "Leases that expired, by what happened to the run: requeued or failed.",
	}, []string{"outcome"})
	promotions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_promotions_total",
		Help: "Receipts that became runs because no run stood for them.",
	})
	activeRuns = prometheus.NewDesc("jobrun_active_runs",
		"JobRuns of this replica without an outcome, by phase: Pending, Leased, or None for an empty phase.", []string{"phase"}, nil)
	activeHomes = prometheus.NewDesc("jobrun_active_homes",
		"Keys, and runs without a key, of this replica with JobRuns without an outcome.", nil, nil)
)

func init() {
	metrics.Registry.MustRegister(leaseWait, expirations, promotions)
	// Prometheus sees the first increase only of a series that exists from the start.
	for _, outcome := range []string{"requeued", "failed"} {
		expirations.WithLabelValues(outcome)
	}
}

// record updates the Prometheus metric that m stands for.
func record(m decision.Metric) {
	switch m.Kind {
	case decision.FirstLease:
		leaseWait.Observe(m.Value)
	case decision.ExpiredRequeued:
		expirations.WithLabelValues("requeued").Inc()
	case decision.ExpiredFailed:
		expirations.WithLabelValues("failed").Inc()
	case decision.Promotion:
		promotions.Inc()
	}
}

// collectTimeout bounds the time that a scrape waits for the cache to sync.
const collectTimeout = time.Second

// activeCollector counts the JobRuns without an outcome in the cache at each scrape, and their homes. It counts what this
// process owns, so the sum over all replicas is the number of all. Before the cache has synced, a scrape returns the other
// metrics only.
type activeCollector struct{ *Reconciler }

func (c activeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- activeRuns
	ch <- activeHomes
	ch <- waitingRuns
}

func (c activeCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	homes, waiting := map[types.NamespacedName]bool{}, c.series.zeros()
	for _, phase := range []string{cache.NoPhase, string(v1alpha1.PhasePending), string(v1alpha1.PhaseLeased)} {
		var runs v1alpha1.JobRunList
		err := c.Client.List(ctx, &runs, client.MatchingFields{cache.FieldPhase: phase}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return
		}
		owned := c.owned(runs.Items)
		ch <- gauge(activeRuns, len(owned), phase)
		for _, run := range owned {
			homes[types.NamespacedName{Namespace: run.Namespace, Name: runkey.Home(run)}] = true
			if waitsToExecute(run) {
				waiting[c.series.of(run)]++
			}
		}
	}
	ch <- gauge(activeHomes, len(homes))
	for labels, n := range waiting {
		ch <- gauge(waitingRuns, n, labels.namespace, labels.job)
	}
}

// owned returns the runs whose homes this process owns.
func (c activeCollector) owned(runs []v1alpha1.JobRun) []*v1alpha1.JobRun {
	if c.Shares != nil && !c.Shares.Active() {
		return nil
	}
	var owned []*v1alpha1.JobRun
	for i := range runs {
		if run := &runs[i]; c.ownsRun(run) {
			owned = append(owned, run)
		}
	}
	return owned
}

// waitsToExecute reports whether a JobRun waits to execute. One without a phase does unless it was absorbed.
func waitsToExecute(run *v1alpha1.JobRun) bool {
	return run.Status.Phase == v1alpha1.PhasePending || run.Status.Phase == "" && !run.WasAbsorbed()
}

func gauge(what *prometheus.Desc, value int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(what, prometheus.GaugeValue, float64(value), labels...)
}
