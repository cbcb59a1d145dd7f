// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

// OutputOf returns the termination message of the first container of the Pod that succeeded last; nil if the
// message is empty. A message that is not JSON becomes a JSON string.
func OutputOf(pods []corev1.Pod) *apiextensionsv1.JSON {
	var message string
	var last metav1.Time
	for i := range pods {
		if pods[i].Status.Phase != corev1.PodSucceeded {
			continue
		}
		if ended := firstContainerEnd(&pods[i]); ended != nil && (last.IsZero() || last.Before(&ended.FinishedAt)) {
			message, last = ended.Message, ended.FinishedAt
		}
	}
	return outputJSON(message)
}

func firstContainerEnd(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if len(pod.Spec.Containers) == 0 {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == pod.Spec.Containers[0].Name {
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
	if utiljson.Unmarshal([]byte(message), &value) == nil {
		return &apiextensionsv1.JSON{Raw: []byte(message)}
	}
	quoted, err := json.Marshal(message)
	if err != nil {
		return nil
	}
	return &apiextensionsv1.JSON{Raw: quoted}
}
