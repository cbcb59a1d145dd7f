// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CountOfJobRuns is the resource with which a ResourceQuota limits the number of JobRuns in a namespace.
const CountOfJobRuns corev1.ResourceName = "count/jobruns.batch.jobrun.dev"

// countOfJobs is the resource with which a ResourceQuota limits the number of Jobs in a namespace.
const countOfJobs corev1.ResourceName = "count/jobs.batch"

// RoomForJobs returns how many further Jobs a ResourceQuota allows: any number if it does not limit Jobs, and none until its
// usage was counted.
func RoomForJobs(quota *corev1.ResourceQuota) int64 {
	hard, limited := quota.Status.Hard[countOfJobs]
	used, counted := quota.Status.Used[countOfJobs]
	switch {
	case !limited || hasScope(quota):
		return math.MaxInt64
	case !counted:
		return 0
	default:
		return max(hard.Value()-used.Value(), 0)
	}
}

// QuotaRefusal returns why a ResourceQuota allows no further JobRun, in the words of the API server. It is empty if the
// quota allows one.
func QuotaRefusal(quota *corev1.ResourceQuota) string {
	hard, limited := quota.Status.Hard[CountOfJobRuns]
	used, counted := quota.Status.Used[CountOfJobRuns]
	switch {
	case !limited || hasScope(quota):
		return ""
	case !counted:
		return fmt.Sprintf("status unknown for quota: %s, resources: %s", quota.Name, CountOfJobRuns)
	case used.Cmp(hard) >= 0:
		return fmt.Sprintf("exceeded quota: %[1]s, requested: %[2]s=1, used: %[2]s=%[3]s, limited: %[2]s=%[4]s",
			quota.Name, CountOfJobRuns, used.String(), hard.String())
	default:
		return ""
	}
}

// hasScope reports whether a quota has a scope. Such a quota limits no custom resources, because they are in no scope.
func hasScope(quota *corev1.ResourceQuota) bool {
	return len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil
}

// slimQuota keeps what QuotaRefusal and RoomForJobs read. Of a quota that limits neither JobRuns nor Jobs, it keeps the identity.
func slimQuota(quota *corev1.ResourceQuota) {
	var kept corev1.ResourceQuotaStatus
	if !hasScope(quota) {
		kept.Hard, kept.Used = ofRuns(quota.Status.Hard), ofRuns(quota.Status.Used)
	}
	*quota = corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: quota.Namespace, Name: quota.Name, UID: quota.UID, ResourceVersion: quota.ResourceVersion,
		},
		Status: kept,
	}
}

// ofRuns returns the numbers of JobRuns and of Jobs.
func ofRuns(all corev1.ResourceList) corev1.ResourceList {
	var kept corev1.ResourceList
	for _, resource := range []corev1.ResourceName{CountOfJobRuns, countOfJobs} {
		if n, ok := all[resource]; ok {
			if kept == nil {
				kept = corev1.ResourceList{}
			}
			kept[resource] = n
		}
	}
	return kept
}
