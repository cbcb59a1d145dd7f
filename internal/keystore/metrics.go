// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	retries = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "jobrun_runkey_cas_retries_total",
		Help: "Writes of RunKeys that were refused because somebody else was first.",
	})
	liveReads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_runkey_shared_reads_total",
		Help: "Live reads of RunKeys that were asked for, by whether they were made (own) or joined (shared).",
	}, []string{"result"})
)

func init() {
	metrics.Registry.MustRegister(retries, liveReads)
	// A series that is there from the start shows its first increase.
	for _, result := range []string{"own", "shared"} {
		liveReads.WithLabelValues(result)
	}
}

func countShared(joined bool) {
	if joined {
		liveReads.WithLabelValues("shared").Inc()
		return
	}
	liveReads.WithLabelValues("own").Inc()
}
