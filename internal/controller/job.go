package controller

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/index"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// jobName is deterministic, so that it works as a lock: the API server stores
// one Job of that name.
func jobName(run *v1alpha1.JobRun, generation int64) string {
	return fmt.Sprintf("%s-%d", run.Name, generation)
}

// buildJob is the Job that executes a run for one generation. The operator owns
// its name and its end: a finished Job stays until the run goes.
func buildJob(op CreateJob) *batchv1.Job {
	run, generation := op.Run, op.Generation
	template := run.Spec.Template.DeepCopy()
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:        jobName(run, generation),
			Namespace:   run.Namespace,
			Labels:      merged(template.Labels, jobLabels(run)),
			Annotations: merged(template.Annotations, jobAnnotations(run, generation)),
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
	if d := run.Spec.ActiveDeadlineSeconds; d > 0 && (job.Spec.ActiveDeadlineSeconds == nil || *job.Spec.ActiveDeadlineSeconds > d) {
		job.Spec.ActiveDeadlineSeconds = &d
	}
	pod := &job.Spec.Template
	pod.Labels = merged(pod.Labels, jobLabels(run))
	pod.Annotations = merged(pod.Annotations, jobAnnotations(run, generation))
	env := jobEnv(op)
	for i := range pod.Spec.InitContainers {
		addEnv(&pod.Spec.InitContainers[i], env)
	}
	for i := range pod.Spec.Containers {
		addEnv(&pod.Spec.Containers[i], env)
	}
	return job
}

func jobLabels(run *v1alpha1.JobRun) map[string]string {
	labels := map[string]string{v1alpha1.LabelRun: run.Name, v1alpha1.LabelJobName: run.Spec.JobName}
	if run.Spec.ConcurrencyKey != "" {
		labels[v1alpha1.LabelKey] = runkey.Home(run)
	}
	return labels
}

func jobAnnotations(run *v1alpha1.JobRun, generation int64) map[string]string {
	return map[string]string{
		v1alpha1.AnnotationToken:      runkey.Of(run).Token,
		v1alpha1.AnnotationGeneration: strconv.FormatInt(generation, 10),
	}
}

func jobEnv(op CreateJob) []corev1.EnvVar {
	run := op.Run
	input := inputText(run)
	if input == "" {
		input = "null"
	}
	return []corev1.EnvVar{
		{Name: v1alpha1.EnvName, Value: run.Name},
		{Name: v1alpha1.EnvNamespace, Value: run.Namespace},
		{Name: v1alpha1.EnvJobName, Value: run.Spec.JobName},
		{Name: v1alpha1.EnvInput, Value: literal(input)},
		{Name: v1alpha1.EnvConcurrencyKey, Value: literal(run.Spec.ConcurrencyKey)},
		{Name: v1alpha1.EnvGeneration, Value: strconv.FormatInt(op.Generation, 10)},
		{Name: v1alpha1.EnvKeyVersion, Value: op.KeyVersion},
	}
}

// literal keeps the kubelet from expanding $(NAME) inside a value that callers chose.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// addEnv puts env first, so that the container's own variables can refer to it,
// and lets nobody override it.
func addEnv(container *corev1.Container, env []corev1.EnvVar) {
	own := slices.DeleteFunc(container.Env, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(env, func(e corev1.EnvVar) bool { return e.Name == v.Name })
	})
	container.Env = append(slices.Clone(env), own...)
}

func merged(theirs, ours map[string]string) map[string]string {
	all := make(map[string]string, len(theirs)+len(ours))
	for name, value := range theirs {
		all[name] = value
	}
	for name, value := range ours {
		all[name] = value
	}
	return all
}

// jobIdentity is the run and the generation that a Job executes.
func jobIdentity(job *batchv1.Job) (runkey.Identity, int64) {
	id := runkey.Identity{Name: job.Labels[v1alpha1.LabelRun], Token: job.Annotations[v1alpha1.AnnotationToken]}
	return id, index.JobGeneration(job)
}

// jobResult is the condition that ended a Job; nil while it has not ended.
func jobResult(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		c := &job.Status.Conditions[i]
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// conditionReason is what a condition's reason must look like. That of a Job need not.
var conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// resultOf is how a finished Job ends its run.
func resultOf(e *Execution) ending {
	c := jobResult(e.Job)
	if c.Type == batchv1.JobComplete {
		return ending{phase: v1alpha1.PhaseCompleted, reason: ReasonCompleted, message: "the Job completed", output: e.Output}
	}
	reason := c.Reason
	if len(reason) > 1024 || !conditionReason.MatchString(reason) {
		reason = "JobFailed"
	}
	return failure(reason, strings.Trim(c.Reason+": "+c.Message, ": "))
}

// outputOf is the termination message of the first container of the Pod that
// ended last, as JSON: as it is if it is JSON, else as a JSON string.
func outputOf(pods []corev1.Pod) *apiextensionsv1.JSON {
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
	message = strings.TrimSpace(cut(strings.ToValidUTF8(message, "\uFFFD"), v1alpha1.MaxOutputBytes))
	if message == "" {
		return nil
	}
	// By the API server's own decoder, which takes no number beyond a float64.
	var value any
	if utiljson.Unmarshal([]byte(message), &value) == nil {
		return &apiextensionsv1.JSON{Raw: []byte(message)}
	}
	text, err := json.Marshal(message)
	if err != nil {
		return nil
	}
	return &apiextensionsv1.JSON{Raw: text}
}

// podEnded reports whether nothing of a Pod runs any more.
func podEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
