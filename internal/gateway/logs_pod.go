// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/events"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// defaultContainer is the annotation of a Pod that names the container which kubectl takes.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// logOptionsOf returns what the query asks for.
func logOptionsOf(r *http.Request) (*corev1.PodLogOptions, error) {
	query, options := r.URL.Query(), &corev1.PodLogOptions{}
	for name, into := range map[string]*bool{"follow": &options.Follow, "previous": &options.Previous, "timestamps": &options.Timestamps} {
		if text := query.Get(name); text != "" {
			value, err := strconv.ParseBool(text)
			if err != nil {
				return nil, badRequest("%s must be true or false, not %q", name, text)
			}
			*into = value
		}
	}
	for _, number := range []struct {
		name  string
		least int64
		into  **int64
	}{{"tailLines", 0, &options.TailLines}, {"sinceSeconds", 1, &options.SinceSeconds}} {
		if text := query.Get(number.name); text != "" {
			value, err := strconv.ParseInt(text, 10, 64)
			if err != nil || value < number.least {
				return nil, badRequest("%s must be a number of at least %d, not %q", number.name, number.least, text)
			}
			*number.into = &value
		}
	}
	options.Container = query.Get("container")
	if options.Container != "" && len(validation.IsDNS1123Label(options.Container)) > 0 {
		return nil, badRequest("container is no name of a container: %q", options.Container)
	}
	return options, nil
}

// podOf returns the current Pod of the run that stands for the JobRun of the path: the newest one of the Job of its last
// lease. Errors: 404 if there will be none, 409 if there is none yet.
func (s *Server) podOf(r *http.Request) (*corev1.Pod, error) {
	run, err := events.StandIn(r.Context(), s.API, namespaceOf(r), r.PathValue(pathRun))
	if err != nil {
		return nil, err
	}
	switch {
	case run.IsReceipt(), run.Status.Phase == "" && run.WasAbsorbed():
		return nil, noLogs(http.StatusConflict, run.Name, "it is not decided yet which run stands for %s: try again", run.Name)
	case !run.RunsAsJob():
		return nil, noLogs(http.StatusNotFound, run.Name, "an external worker executes run %s, and has its logs", run.Name)
	}
	var list corev1.PodList
	if err := s.API.List(r.Context(), &list, client.InNamespace(run.Namespace), client.MatchingLabels{v1alpha1.LabelRun: run.Name}); err != nil {
		return nil, jobrun.Classify(err)
	}
	current := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !isCurrent(&pod, run) })
	if len(current) == 0 {
		return nil, noPod(run)
	}
	newest := slices.MaxFunc(current, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return &newest, nil
}

// isCurrent reports whether a Pod is of the Job of the run's last lease, and not of an earlier run of the same name.
func isCurrent(pod *corev1.Pod, run *v1alpha1.JobRun) bool {
	token := string(run.UID)
	if a := run.Spec.Admission; a != nil && a.Token != "" {
		token = a.Token
	}
	owner := metav1.GetControllerOf(pod)
	return pod.Annotations[v1alpha1.AnnotationToken] == token && owner != nil && owner.Kind == "Job" &&
		owner.Name == fmt.Sprintf("%s-%d", run.Name, run.LeaseGeneration())
}

// noPod returns why a run has no Pod.
func noPod(run *v1alpha1.JobRun) error {
	if run.Outcome() != "" {
		return noLogs(http.StatusNotFound, run.Name, "run %s has ended, and its Pod is gone, with its log", run.Name)
	}
	state := "it is " + string(run.Status.Phase)
	if run.Status.Phase == "" {
		state = "it has no phase yet"
	}
	if run.Status.Error != "" {
		state += ", " + run.Status.Error
	}
	return noLogs(http.StatusConflict, run.Name, "run %s has no Pod yet: %s", run.Name, state)
}

// chooseContainer sets the container to read: the one that the query names, else the Pod's default one, else its first.
// Errors: 400 if the Pod has no such container, 404 without an earlier instance of it, 409 if it has not started.
func chooseContainer(pod *corev1.Pod, options *corev1.PodLogOptions) error {
	names := containersOf(pod)
	if options.Container == "" {
		options.Container = names[0]
		if name := pod.Annotations[defaultContainer]; slices.Contains(names, name) {
			options.Container = name
		}
	}
	if !slices.Contains(names, options.Container) {
		return badRequest("Pod %s has no container %q, but %s", pod.Name, options.Container, strings.Join(names, ", "))
	}
	status := statusOfContainer(pod, options.Container)
	before := status.LastTerminationState.Terminated != nil
	switch {
	case options.Previous && !before:
		return noLogs(http.StatusNotFound, pod.Labels[v1alpha1.LabelRun], "container %s of Pod %s was not restarted, so it has no previous log", options.Container, pod.Name)
	case status.State.Running == nil && status.State.Terminated == nil && !before:
		why := "it waits"
		if status.State.Waiting != nil && status.State.Waiting.Reason != "" {
			why = status.State.Waiting.Reason
		}
		return noLogs(http.StatusConflict, pod.Labels[v1alpha1.LabelRun], "container %s of Pod %s has not started: %s", options.Container, pod.Name, why)
	}
	return nil
}

// containersOf returns the names of a Pod's containers, those of its template first.
func containersOf(pod *corev1.Pod) []string {
	var names []string
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		names = append(names, pod.Spec.EphemeralContainers[i].Name)
	}
	return names
}

// statusOfContainer returns the status of a container, or an empty one.
func statusOfContainer(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, status := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if status.Name == name {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

// noLogs returns an error that says why a JobRun has no logs: a 404, or a 409 if it may have some later.
func noLogs(code int32, name, format string, args ...any) error {
	reason := metav1.StatusReasonNotFound
	if code == http.StatusConflict {
		reason = metav1.StatusReasonConflict
	}
	err := failed(code, reason, format, args...)
	err.ErrStatus.Details = &metav1.StatusDetails{Group: jobRuns.Group, Kind: jobRuns.Resource, Name: name}
	return err
}
