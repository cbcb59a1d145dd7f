// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// annotationDefaultContainer names the container that kubectl logs shows.
const annotationDefaultContainer = "kubectl.kubernetes.io/default-container"

// JobName returns the name of the Job of a generation. The name is deterministic, so it works as a lock: the
// API server stores only one Job of that name.
func JobName(run *v1alpha1.JobRun, generation int64) string { return NameOfJob(run.Name, generation) }

// NameOfJob returns the name of the Job of a generation of the run of that name.
func NameOfJob(run string, generation int64) string { return fmt.Sprintf("%s-%d", run, generation) }

// NewJob returns the Job that executes a run under one generation. keyVersion is the version of the RunKey
// that the claim was based on; empty without a key. The template's ttlSecondsAfterFinished becomes an annotation, which the
// operator honours: a finished Job must stay until the outcome of its run is stored.
func NewJob(run *v1alpha1.JobRun, generation int64, keyVersion string) *batchv1.Job {
	template := run.Spec.Template.DeepCopy()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:      JobName(run, generation),
			Namespace: run.Namespace,
			Labels:    labelled(merged(Inherited(run.Labels), template.Labels), run),
			Annotations: withTTL(
				merged(Inherited(run.Annotations), template.Annotations, annotationsOf(run, generation)),
				template.Spec.TTLSecondsAfterFinished,
			),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(),
				Kind:       "JobRun",
				Name:       run.Name,
				UID:        run.UID,
				Controller: new(true),
			}},
		},
		Spec: template.Spec,
	}
	job.Spec.TTLSecondsAfterFinished = nil
	if job.Spec.PodReplacementPolicy == nil { // The Job controller's default lets two Pods run under one generation.
		job.Spec.PodReplacementPolicy = new(batchv1.Failed)
	}
	if d := run.Spec.ActiveDeadlineSeconds; d > 0 && (job.Spec.ActiveDeadlineSeconds == nil || *job.Spec.ActiveDeadlineSeconds > d) {
		job.Spec.ActiveDeadlineSeconds = &d
	}
	pod := &job.Spec.Template
	pod.Labels = labelled(merged(inheritedByPods(run.Labels), pod.Labels), run)
	pod.Annotations = merged(defaultContainer(template), inheritedByPods(run.Annotations), pod.Annotations, annotationsOf(run, generation))
	env := envOf(run, generation, keyVersion)
	for i := range pod.Spec.InitContainers {
		equip(&pod.Spec.InitContainers[i], env)
	}
	for i := range pod.Spec.Containers {
		equip(&pod.Spec.Containers[i], env)
	}
	return job
}

// NewDefinedJob returns the Job of a run that is made from the template of a definition, like NewJob. Its annotations say from
// which one. The Job and its Pods get no label and no annotation of the run. Some of these give rights or mount volumes, and
// the run's user may trigger the job, but not write its template.
func NewDefinedJob(run *v1alpha1.JobRun, definition *v1alpha1.JobDefinition, generation int64, keyVersion string) *batchv1.Job {
	completed := *run
	completed.Labels, completed.Annotations = nil, nil
	completed.Spec.Template = definition.Spec.Template
	job := NewJob(&completed, generation, keyVersion)
	if reference, err := json.Marshal(definition.Reference()); err == nil {
		job.Annotations[v1alpha1.AnnotationDefinition] = string(reference)
	}
	job.Annotations[v1alpha1.AnnotationContainer] = firstContainer(definition.Spec.Template)
	return job
}

// equip adds the variables of a run to a container. The end of its log becomes its termination message if it fails
// without one, unless the template chooses another policy.
func equip(container *corev1.Container, env []corev1.EnvVar) {
	addEnv(container, env)
	if container.TerminationMessagePolicy == "" {
		container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	}
}

// labelled adds the labels of a run to those of its template. A template cannot give a run without a key the label of one.
func labelled(theirs map[string]string, run *v1alpha1.JobRun) map[string]string {
	all := merged(theirs, map[string]string{v1alpha1.LabelRun: run.Name, v1alpha1.LabelJobName: run.Spec.JobName})
	delete(all, v1alpha1.LabelKey)
	if run.Spec.ConcurrencyKey != "" {
		all[v1alpha1.LabelKey] = runkey.Home(run)
	}
	return all
}

func annotationsOf(run *v1alpha1.JobRun, generation int64) map[string]string {
	return map[string]string{
		v1alpha1.AnnotationToken:      runkey.IdentityOf(run).Token,
		v1alpha1.AnnotationGeneration: strconv.FormatInt(generation, 10),
	}
}

// withTTL records the ttlSecondsAfterFinished of a template in the annotations of its Job.
func withTTL(annotations map[string]string, ttl *int32) map[string]string {
	delete(annotations, v1alpha1.AnnotationJobTTL)
	if ttl != nil {
		annotations[v1alpha1.AnnotationJobTTL] = strconv.Itoa(int(*ttl))
	}
	return annotations
}

// defaultContainer returns the annotation that makes kubectl logs show the run's own container, even if a policy
// puts another one before it.
func defaultContainer(template *batchv1.JobTemplateSpec) map[string]string {
	if name := firstContainer(template); name != "" {
		return map[string]string{annotationDefaultContainer: name}
	}
	return nil
}

func envOf(run *v1alpha1.JobRun, generation int64, keyVersion string) []corev1.EnvVar {
	input := run.InputText()
	if input == "" {
		input = "null"
	}
	env := []corev1.EnvVar{
		{Name: v1alpha1.EnvName, Value: run.Name},
		{Name: v1alpha1.EnvNamespace, Value: run.Namespace},
		{Name: v1alpha1.EnvJobName, Value: run.Spec.JobName},
		{Name: v1alpha1.EnvInput, Value: literal(input)},
		{Name: v1alpha1.EnvConcurrencyKey, Value: literal(run.Spec.ConcurrencyKey)},
		{Name: v1alpha1.EnvGeneration, Value: strconv.FormatInt(generation, 10)},
		{Name: v1alpha1.EnvKeyVersion, Value: keyVersion},
	}
	variables := InputVariables(run.Spec.Input)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, corev1.EnvVar{Name: name, Value: literal(variables[name])})
	}
	return env
}

// literal escapes a value that a caller chose, so that the kubelet does not expand $(NAME) in it.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// addEnv puts env before the container's own variables, which can then refer to it. It drops the container's
// variables of the same names.
func addEnv(container *corev1.Container, env []corev1.EnvVar) {
	own := slices.DeleteFunc(container.Env, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(env, func(e corev1.EnvVar) bool { return e.Name == v.Name })
	})
	container.Env = append(slices.Clone(env), own...)
}

// merged returns the entries of all maps. The last one wins.
func merged(parts ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, entries := range parts {
		maps.Copy(all, entries)
	}
	return all
}
