// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import "github.com/prometheus/client_golang/prometheus"

// The reasons for which streams are cut.
const (
	cutSlow     = "slow"
	cutRefused  = "refused"
	cutRestored = "restored"
)

type metrics struct {
	open prometheus.Gauge
	cut  *prometheus.CounterVec
}

func newMetrics() metrics {
	m := metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "jobrun_gateway_streams",
			Help: "Streams of events and of logs that are open.",
		}),
		cut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobrun_gateway_streams_cut_total",
			Help: "Streams that the gateway ended, by reason: slow is a client that reads more slowly than events come, refused " +
				"a caller that may no longer watch, restored a store that went back to an older version.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{cutSlow, cutRefused, cutRestored} {
		m.cut.WithLabelValues(reason)
	}
	return m
}

// Collectors returns the metrics of the streams.
func (s *Streams) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.open, s.metrics.cut}
}
