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
		Help: "Writes of RunKeys that were refused because another writer was first.",
	})
	liveReads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_runkey_shared_reads_total",
		Help: "Requests for a live read of a RunKey: own if the request began a read, shared if it joined one.",
	}, []string{"result"})
)

func init() {
	metrics.Registry.MustRegister(retries, liveReads)
	// rate() sees the first increase of a series only if the series exists before it.
	for _, result := range []string{"own", "shared"} {
		liveReads.WithLabelValues(result)
	}
}

func countShared(joined bool) {
	result := "own"
	if joined {
		result = "shared"
	}
	liveReads.WithLabelValues(result).Inc()
}
