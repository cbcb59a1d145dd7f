// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the gateway's metrics. A route is the path of a pattern of routes.go, or "other".
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	// deliveries counts deliveries by the type of their receiver and by what became of them.
	deliveries *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobrun_gateway_requests_total", Help: "Requests by route, method and code of the answer.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "jobrun_gateway_request_duration_seconds", Help: "How long requests took, by route. With wait=, this includes the wait.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "jobrun_gateway_requests_in_flight", Help: "Requests that are being answered, streams included.",
		}),
	}
	m.deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobrun_gateway_deliveries_total",
		Help: "Deliveries to receivers by type (unknown if there is no such receiver) and result: triggered, ignored, unauthorized or refused.",
	}, []string{"type", "result"})
	registerer.MustRegister(m.requests, m.seconds, m.inFlight, m.deliveries)
	return m
}

func (m *metrics) observe(route, method string, code int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// recorder remembers the code of an answer. http.ResponseController reaches what it wraps.
type recorder struct {
	http.ResponseWriter
	code int
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the code.
func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write begins an answer with 200 if there was no WriteHeader.
func (w *recorder) Write(text []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(text)
}
