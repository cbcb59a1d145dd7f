// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// MetricKind is what a plan counts.
type MetricKind int

const (
	// FirstLease is the time from a run's creation to its first lease, in seconds.
	FirstLease MetricKind = iota
	// ExpiredRequeued is a lease that expired, and its run waits again.
	ExpiredRequeued
	// ExpiredFailed is a lease that expired, and its run failed.
	ExpiredFailed
	// Promotion is a receipt that became a run.
	Promotion
)

// Metric is something that a plan counts.
type Metric struct {
	Kind MetricKind
	// Value in the unit of the kind; 0 for kinds that are only counted.
	Value float64
}

// FirstLeaseOf is how long a run has waited for its first lease.
func FirstLeaseOf(run *v1alpha1.JobRun, now metav1.Time) Metric {
	return Metric{Kind: FirstLease, Value: max(now.Sub(run.CreationTimestamp.Time), time.Duration(0)).Seconds()}
}
