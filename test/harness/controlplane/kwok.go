// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StartKwokNode runs a kwok binary (hack/kwok) as the node of that name, and waits until Pods can be scheduled to it. The
// node executes nothing: the file stages decides the phases of Pods. It has room for any number of Pods.
func (cp *ControlPlane) StartKwokNode(ctx context.Context, binary, stages, name string) (*Process, error) {
	if err := cp.createKwokNode(ctx, name); err != nil {
		return nil, err
	}
	kubeconfig, err := cp.KubeconfigFor("kwok-"+name, "system:masters")
	if err != nil {
		return nil, err
	}
	process, err := cp.Run(ProcessSpec{
		Name: "kwok-" + name,
		Path: binary,
		Args: []string{"--kubeconfig=" + kubeconfig, "--config=" + stages, "--manage-single-node=" + name, "--node-lease-duration-seconds=40"},
		Env:  []string{"HOME=" + cp.dir}, // kwok reads configuration from HOME.
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return process, process.WaitReady(ctx, cp.nodeReady(name))
}

func (cp *ControlPlane) createKwokNode(ctx context.Context, name string) error {
	plenty := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("10000"),
		corev1.ResourceMemory: resource.MustParse("100Ti"),
		corev1.ResourcePods:   resource.MustParse("1000000"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status:     corev1.NodeStatus{Capacity: plenty, Allocatable: plenty},
	}
	if _, err := cp.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}
