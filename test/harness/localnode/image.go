// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// pullPause is the time between two changes of the state of a container whose image cannot be pulled.
const pullPause = 2 * time.Second

// canPull reports whether an image has a registry that may exist. No registry has a name that ends with .invalid
// (RFC 2606).
func canPull(image string) bool {
	registry, _, _ := strings.Cut(image, "/")
	return !strings.HasSuffix(registry, ".invalid")
}

// failToPull reports that the image of a container cannot be pulled, in the two forms between which a kubelet alternates,
// until the Pod is deleted.
func (r *podRun) failToPull(c *container) {
	cause := fmt.Sprintf("failed to pull and unpack image %q: dial tcp: no such host", c.spec.Image)
	states := []corev1.ContainerStateWaiting{
		{Reason: "ErrImagePull", Message: cause},
		{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.spec.Image, cause)},
	}
	for i := 0; !r.isTerminating(); i++ {
		r.update(func() { c.become(corev1.ContainerState{Waiting: &states[i%len(states)]}) })
		select {
		case <-time.After(pullPause):
		case <-r.terminating:
		}
	}
}
