// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// MetricKind is the kind of thing that a plan counts.
type MetricKind int

const (
	// FirstLease is the first lease of a run. Its value is the time since the run's creation, in seconds.
	FirstLease MetricKind = iota
	// ExpiredRequeued is a lease that expired and whose run waits again.
	ExpiredRequeued
	// ExpiredFailed is a lease that expired and whose run failed.
	ExpiredFailed
	// Promotion is a receipt that became a run.
	Promotion
)

// Metric is one thing that a plan counts.
type Metric struct {
	Kind MetricKind
	// Value is set for FirstLease only.
	Value float64
}

// FirstLeaseOf returns the Metric of a run's first lease.
func FirstLeaseOf(run *v1alpha1.JobRun, now metav1.Time) Metric {
	return Metric{Kind: FirstLease, Value: max(now.Sub(run.CreationTimestamp.Time), time.Duration(0)).Seconds()}
}
