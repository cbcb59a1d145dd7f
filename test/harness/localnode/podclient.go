// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// podsGetter is the client with which the PodController writes Pods. It changes two of the writes into those of a kubelet.
type podsGetter struct {
	corev1client.PodsGetter
	provider *provider
}

func (g podsGetter) Pods(namespace string) corev1client.PodInterface {
	return podClient{g.PodsGetter.Pods(namespace), g.provider, namespace}
}

type podClient struct {
	corev1client.PodInterface
	provider  *provider
	namespace string
}

// UpdateStatus writes only the status, and only of this Pod, not of another one of its name. The PodController would
// overwrite the whole object, which would restore labels and finalizers that have been removed. A Pod that is being deleted
// waits for its last status, and is removed after it.
func (c podClient) UpdateStatus(ctx context.Context, pod *corev1.Pod, _ metav1.UpdateOptions) (*corev1.Pod, error) {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Pod",
		"metadata":   map[string]any{"name": pod.Name, "uid": pod.UID},
		"status":     pod.Status,
	})
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: "localnode", Force: new(true)}
	updated, err := c.Patch(ctx, pod.Name, types.ApplyPatchType, patch, options, "status")
	if apierrors.IsConflict(err) {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), pod.Name) // Another Pod has the name.
	}
	if err != nil {
		return nil, err
	}
	if updated.DeletionTimestamp != nil && isTerminal(updated.Status.Phase) {
		return updated, c.remove(ctx, updated)
	}
	return updated, nil
}

func isTerminal(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

func (c podClient) remove(ctx context.Context, pod *corev1.Pod) error {
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	err := c.PodInterface.Delete(ctx, pod.Name, *options)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// Delete deletes a Pod that has no processes left. The PodController would also delete a Pod whose containers wait, or
// whose grace period is over.
func (c podClient) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	if !c.provider.endBeforeRemoval(c.namespace, name, *options.Preconditions.UID) {
		return nil
	}
	return c.PodInterface.Delete(ctx, name, options)
}
