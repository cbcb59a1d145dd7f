// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// ResultContainer returns the name of the container whose termination message is the output of a run: the first
// one of the template that its Job was made from. A policy may put others before it in the Pod. Empty if that is not known.
func ResultContainer(run *v1alpha1.JobRun, job *batchv1.Job) string {
	if run.Spec.Template == nil {
		return job.Annotations[v1alpha1.AnnotationContainer]
	}
	return firstContainer(run.Spec.Template)
}

func firstContainer(template *batchv1.JobTemplateSpec) string {
	containers := template.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return ""
	}
	return containers[0].Name
}

// OutputOf returns the termination message of a container in one of a Job's Pods; nil if the message is empty. The
// Pod is the one that succeeded with the lowest completion index. Without indexes, it is the one that succeeded
// last. A message that is not JSON, or that has more than v1alpha1.MaxLevels levels, becomes a JSON string.
func OutputOf(pods []corev1.Pod, container string) *apiextensionsv1.JSON {
	var message string
	var index int
	var ended metav1.Time
	for i := range pods {
		state := endOf(&pods[i], container)
		if pods[i].Status.Phase != corev1.PodSucceeded || state == nil {
			continue
		}
		own := CompletionIndex(&pods[i])
		if ended.IsZero() || own < index || own == index && ended.Before(&state.FinishedAt) {
			message, index, ended = state.Message, own, state.FinishedAt
		}
	}
	return outputJSON(message)
}

// ShowEnd reports whether these Pods show how a finished Job ended: as many of them ended in the same way as the Job
// counted, and at least one.
func ShowEnd(job *batchv1.Job, pods []corev1.Pod) bool {
	phase, counted := corev1.PodSucceeded, job.Status.Succeeded
	if ResultOf(job).Type == batchv1.JobFailed {
		phase, counted = corev1.PodFailed, job.Status.Failed
	}
	var shown int32
	for i := range pods {
		if pods[i].Status.Phase == phase {
			shown++
		}
	}
	return shown >= max(counted, 1)
}

// HasOutput reports whether the output of a completed Job of a run can be known: a Pod that succeeded is left, or the
// Job needs no Pod. A Pod that is left and wrote no message counts.
func HasOutput(run *v1alpha1.JobRun, job *batchv1.Job, pods []corev1.Pod) bool {
	t := run.Spec.Template
	needsNone := t != nil && t.Spec.Completions != nil && *t.Spec.Completions == 0
	if needsNone || (t == nil && job.Status.Succeeded == 0) {
		return true
	}
	return slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded })
}

// CompletionIndex returns the index of a Pod of an Indexed Job, and 0 for other Pods.
func CompletionIndex(pod *corev1.Pod) int {
	index, err := strconv.Atoi(pod.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil {
		return 0
	}
	return index
}

// endOf returns how a container of a Pod ended; nil if it has not.
func endOf(pod *corev1.Pod, container string) *corev1.ContainerStateTerminated {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}

func outputJSON(message string) *apiextensionsv1.JSON {
	message = strings.TrimSpace(text.Cut(strings.ToValidUTF8(message, "\uFFFD"), v1alpha1.MaxOutputBytes))
	if message == "" {
		return nil
	}
	// The API server decodes JSON in the same way. It refuses numbers beyond float64.
	var value any
	if v1alpha1.Levels([]byte(message)) <= v1alpha1.MaxLevels && utiljson.Unmarshal([]byte(message), &value) == nil {
		return &apiextensionsv1.JSON{Raw: []byte(message)}
	}
	quoted, err := json.Marshal(message)
	if err != nil {
		return nil
	}
	return &apiextensionsv1.JSON{Raw: quoted}
}
