// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count the JobRuns of triggers that may share one.
type metrics struct {
	size, seconds prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jobrun_gateway_group_size", Help: "Triggers for which one stored JobRun stands, of those with coalesce and a concurrencyKey.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 9),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jobrun_gateway_commit_duration_seconds", Help: "How long the API server took to store such a JobRun.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
	}
}

// Collectors returns the metrics, for a registry.
func (g *Groups) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.metrics.size, g.metrics.seconds}
}

func (m *metrics) observe(size int, took time.Duration) {
	m.size.Observe(float64(size))
	m.seconds.Observe(took.Seconds())
}
