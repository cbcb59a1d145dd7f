// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import "github.com/prometheus/client_golang/prometheus"

// Collector returns the metrics of the membership.
func (m *Membership) Collector() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "jobrun_members",
		Help: "Replicas that share the keys out, as this replica sees them. 0 while this replica reconciles nothing.",
	}, func() float64 { return float64(m.Members()) })
}
