// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// The states of a run that a key leases.
const (
	stateExecutes = "executes"
	// stateStarting is a run that no process works on yet: no container of its Pods has started, or its worker has not
	// stored the claim.
	stateStarting = "starting"
	// stateEnding is a run that has ended or is gone, while the operator waits for its Pods.
	stateEnding = "ending"
)

// holders are the runs that keys lease, and the leases whose Pods have started.
type holders struct {
	runs    map[types.NamespacedName]*v1alpha1.JobRun
	started map[lease]bool
	// hidden is true if the user may not read the runs or their Pods.
	hidden bool
}

// lease is a lease by the token of its run and its generation, as the annotations of a Pod name it.
type lease struct{ token, generation string }

func leaseOf(pod *corev1.Pod) lease {
	return lease{pod.Annotations[v1alpha1.AnnotationToken], pod.Annotations[v1alpha1.AnnotationGeneration]}
}

func leaseIn(key *v1alpha1.RunKey) lease {
	return lease{key.Spec.Leased.Token, strconv.FormatInt(key.Spec.Leased.Generation, 10)}
}

// holdersOf reads the runs that the keys lease, and their Pods.
func (o *keysOptions) holdersOf(ctx context.Context, keys []v1alpha1.RunKey) (*holders, error) {
	h := &holders{runs: map[types.NamespacedName]*v1alpha1.JobRun{}, started: map[lease]bool{}}
	if !slices.ContainsFunc(keys, func(key v1alpha1.RunKey) bool { return key.Spec.Leased != nil }) {
		return h, nil
	}
	var options []client.ListOption
	if !o.everywhere {
		options = append(options, client.InNamespace(o.namespace))
	}
	runs, pods := &v1alpha1.JobRunList{}, &corev1.PodList{}
	err := o.api.List(ctx, runs, options...)
	if err == nil {
		err = o.api.List(ctx, pods, append(options, client.HasLabels{v1alpha1.LabelRun})...)
	}
	if apierrors.IsForbidden(err) {
		h.hidden = true
		return h, nil
	}
	for i := range runs.Items {
		h.runs[client.ObjectKeyFromObject(&runs.Items[i])] = &runs.Items[i]
	}
	for i := range pods.Items {
		if hasStarted(&pods.Items[i]) {
			h.started[leaseOf(&pods.Items[i])] = true
		}
	}
	return h, err
}

// state returns the state of the run that a key leases, and why the run does not get on; none if the key leases no run or
// the user may not read it.
func (h *holders) state(key *v1alpha1.RunKey) (state, obstacle string) {
	if key.Spec.Leased == nil || h.hidden {
		return none, ""
	}
	run := h.runs[types.NamespacedName{Namespace: key.Namespace, Name: key.Spec.Leased.RunName}]
	switch {
	case run == nil, runkey.IdentityOf(run) != runkey.Leased(&key.Spec), run.Outcome() != "":
		return stateEnding, ""
	case !run.RunsAsJob() && run.Status.Phase == v1alpha1.PhaseLeased:
		return stateExecutes, ""
	case run.RunsAsJob() && h.started[leaseIn(key)]:
		return stateExecutes, obstacleOf(run)
	default:
		return stateStarting, obstacleOf(run)
	}
}

// obstacleOf returns why a run does not get on; empty if it does, has ended, or if a worker wrote the text.
func obstacleOf(run *v1alpha1.JobRun) string {
	waits := run.Status.Phase == v1alpha1.PhasePending
	executes := run.Status.Phase == v1alpha1.PhaseLeased && run.RunsAsJob()
	if waits || executes {
		return run.Status.Error
	}
	return ""
}

// hasStarted reports whether a container of a Pod has started, init containers included.
func hasStarted(pod *corev1.Pod) bool {
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	return slices.ContainsFunc(statuses, func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
	})
}
