// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestIsReady(t *testing.T) {
	ready := corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}
	unknown := corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}
	tainted := corev1.NodeSpec{Taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}}
	for name, test := range map[string]struct {
		node corev1.Node
		want bool
	}{
		"new":             {node: corev1.Node{}},
		"lost":            {node: corev1.Node{Status: unknown}},
		"not yet allowed": {node: corev1.Node{Spec: tainted, Status: ready}},
		"ready":           {node: corev1.Node{Status: ready}, want: true},
	} {
		if got := isReady(&test.node); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
