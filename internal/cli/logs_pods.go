// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// situation is a JobRun that was asked for, the run that stands for it and the
// Pods of that.
type situation struct {
	asked, run *v1alpha1.JobRun
	pods       []corev1.Pod
}

// containerRun is one start of a container.
type containerRun struct {
	pod      types.UID
	restarts int32
}

// loggable is a container that has a log.
type loggable struct {
	containerRun
	pod       *corev1.Pod
	container string
	ended     bool
}

// annotationDefaultContainer is kubectl's own.
const annotationDefaultContainer = "kubectl.kubernetes.io/default-container"

// started are the containers that have a log, the oldest first.
func (s *situation) started(container string) []loggable {
	var logs []loggable
	for i := range s.pods {
		if l, ok := logOf(&s.pods[i], container); ok {
			logs = append(logs, l)
		}
	}
	return logs
}

// logOf is the container of a Pod whose log is of interest; ok says whether it has started.
func logOf(pod *corev1.Pod, container string) (l loggable, ok bool) {
	if container == "" {
		container = pod.Annotations[annotationDefaultContainer]
	}
	if container == "" && len(pod.Spec.Containers) > 0 {
		container = pod.Spec.Containers[0].Name
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if s.Name == container {
			return loggable{
				containerRun: containerRun{pod.UID, s.RestartCount}, pod: pod, container: container,
				ended: s.State.Terminated != nil,
			}, s.State.Running != nil || s.State.Terminated != nil
		}
	}
	return loggable{}, false
}

// title says whose log follows.
func (l *loggable) title() string {
	title := "pod/" + l.pod.Name
	if generation := l.pod.Annotations[v1alpha1.AnnotationGeneration]; generation != "" {
		title += ", generation " + generation
	}
	if l.restarts > 0 {
		title += fmt.Sprintf(", restart %d", l.restarts)
	}
	return "==> " + title
}

// passing reports whether an error of the API server may be gone at the next try.
func passing(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true // no answer at all
	}
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// notYet reports whether the node does not have the log yet, whatever the Pod's status says.
func notYet(err error) bool {
	return apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "is waiting to start")
}
