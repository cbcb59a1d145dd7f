// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StartLocalNode runs a test/harness/localnode binary as the node of that name, and waits until Pods can be scheduled to
// it.
func (cp *ControlPlane) StartLocalNode(ctx context.Context, binary, name string, extraArgs ...string) (*Process, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	kubeconfig, err := cp.KubeconfigFor("localnode-"+name, "system:masters")
	if err != nil {
		return nil, err
	}
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--node-name=" + name,
		"--state-dir=" + filepath.Join(cp.dir, "nodes", name),
		"--listen=" + address,
	}
	process, err := cp.Run(ProcessSpec{Name: "localnode-" + name, Path: binary, Args: append(args, extraArgs...)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return process, process.WaitReady(ctx, cp.nodeReady(name))
}

func (cp *ControlPlane) nodeReady(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		node, err := cp.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isReady(node) {
			return fmt.Errorf("node %s is not Ready", name)
		}
		return nil
	}
}

// isReady reports whether a node is Ready and no longer has the taint that keeps Pods away from a node that is not.
func isReady(node *corev1.Node) bool {
	tainted := slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool {
		return taint.Key == corev1.TaintNodeNotReady
	})
	return !tainted && slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}
