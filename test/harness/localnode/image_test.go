// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestImageThatCannotBePulled(t *testing.T) {
	for image, want := range map[string]bool{
		"busybox:1.37": true, "registry.invalid/x:1": false, "registry.invalid.example/x": true, "docker.io/x.invalid": true,
	} {
		if got := canPull(image); got != want {
			t.Errorf("canPull(%s) = %t", image, got)
		}
	}
	c := shell("m", "exit 0")
	c.Image = "registry.invalid/x:1"
	r := startPod(t, startLauncher(t), podOf(corev1.RestartPolicyNever, c))
	for _, reason := range []string{"ErrImagePull", "ImagePullBackOff", "ErrImagePull"} {
		eventually(t, reason, func() bool {
			s := r.snapshot().Status
			if len(s.ContainerStatuses) == 0 {
				return false
			}
			w := s.ContainerStatuses[0].State.Waiting
			return s.Phase == corev1.PodPending && w != nil && w.Reason == reason && strings.Contains(w.Message, "no such host")
		})
	}
	r.stop(0)
	if s := ended(t, r); s.Phase != corev1.PodFailed {
		t.Errorf("phase %s", s.Phase)
	}
}
