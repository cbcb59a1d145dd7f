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

// podsGetter is the client that the PodController writes Pods with. It makes two
// of its writes those of a kubelet.
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

// UpdateStatus applies the status, and to this very Pod only. The PodController
// means to overwrite the whole object, which would bring back labels and
// finalizers that have been removed meanwhile. A Pod that is being deleted has
// waited for its last status, and is removed with it.
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
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), pod.Name) // another Pod has the name
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

// Delete removes no Pod that has processes left: the PodController takes one whose
// containers wait, or whose grace period has passed, for ended.
func (c podClient) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	if !c.provider.endBeforeRemoval(c.namespace, name, *options.Preconditions.UID) {
		return nil
	}
	return c.PodInterface.Delete(ctx, name, options)
}
