// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// ScheduleName is the name of the one schedule of a converted CronJob.
const ScheduleName = "cron"

// Bounds of the CRD, and what a CronJob keeps if it does not say it.
const (
	maxStartingDeadline = 31536000
	maxHistory          = 10000
	keptSuccessfulJobs  = 3
	keptFailedJobs      = 1
)

// keys gives all runs one key if they must not overlap.
func (c *conversion) keys(spec map[string]any) {
	path := specPath.Child("concurrencyPolicy")
	switch policy := c.from.Spec.ConcurrencyPolicy; policy {
	case "", batchv1.AllowConcurrent:
	case batchv1.ForbidConcurrent:
		spec["defaults"] = map[string]any{"concurrencyKey": c.from.Name, "coalesce": string(v1alpha1.CoalesceSkip)}
		c.note(path, "Forbid drops the tick that comes while a Job executes; here it waits and executes next, and absorbs the ticks after it")
	case batchv1.ReplaceConcurrent:
		c.problem(path, "Replace ends the Job that executes, and a run is never ended for a later one; "+
			"set Forbid for the tick to wait, or Allow to let them overlap, and convert again")
	default:
		c.problem(path, fmt.Sprintf("%q is not Allow, Forbid or Replace", policy))
	}
}

// template takes the Job template over as it is written, but for nulls.
func (c *conversion) template(spec map[string]any, cronJob *unstructured.Unstructured) {
	path := specPath.Child("jobTemplate")
	template, found, err := unstructured.NestedMap(cronJob.Object, "spec", "jobTemplate")
	if !found || err != nil {
		c.problem(path, "it is missing, and says what to execute")
		return
	}
	spec["template"] = withoutNulls(template)
	pod, at := &c.from.Spec.JobTemplate.Spec.Template.Spec, path.Child("spec", "template", "spec")
	switch pod.RestartPolicy {
	case corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure:
	default:
		c.problem(at.Child("restartPolicy"), "it must be Never or OnFailure, as in a CronJob")
	}
	switch containers := at.Child("containers"); {
	case len(pod.Containers) == 0:
		c.problem(containers, "there is none, and a Job needs at least one")
	case len(pod.Containers) > 1:
		c.note(containers, fmt.Sprintf("the run completes when all %d have ended, as the Job does, and the output is that of %s",
			len(pod.Containers), pod.Containers[0].Name))
	}
}

// schedule makes the schedule. A schedule that never fires is left out: such a CronJob is there to be triggered by hand.
func (c *conversion) schedule(spec map[string]any) {
	from, path := c.from.Spec, specPath.Child("schedule")
	s := v1alpha1.JobSchedule{Name: ScheduleName, Schedule: from.Schedule, Suspend: from.Suspend}
	if from.TimeZone != nil {
		s.TimeZone = *from.TimeZone
	}
	c.zone(&s, path)
	for _, wrong := range schedule.Validate(s, specPath) {
		if strings.HasPrefix(wrong.Detail, "never fires") {
			c.note(path, from.Schedule+" never fires, so the definition has no schedule: trigger it by its name")
			return
		}
		c.problem(field.NewPath(wrong.Field), fmt.Sprintf("%q: %s", wrong.BadValue, wrong.Detail))
	}
	converted := map[string]any{"name": s.Name, "schedule": s.Schedule}
	if s.TimeZone != "" {
		converted["timeZone"] = s.TimeZone
	}
	if s.Suspend != nil && *s.Suspend {
		converted["suspend"] = true
	}
	if deadline := c.startingDeadline(); deadline > 0 {
		converted["startingDeadlineSeconds"] = deadline
	}
	spec["schedules"] = []any{converted}
}

// zone moves a time zone from the expression to the field. Old CronJobs have it there.
func (c *conversion) zone(s *v1alpha1.JobSchedule, path *field.Path) {
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		rest, found := strings.CutPrefix(strings.TrimSpace(s.Schedule), prefix)
		if !found {
			continue
		}
		zone, expression, _ := strings.Cut(rest, " ")
		if s.TimeZone != "" && s.TimeZone != zone {
			c.problem(path, fmt.Sprintf("it says the time zone %s, and spec.timeZone says %s", zone, s.TimeZone))
		}
		s.TimeZone, s.Schedule = zone, strings.TrimSpace(expression)
		c.note(path, "the time zone "+zone+" has become the schedule's timeZone")
		return
	}
}

func (c *conversion) startingDeadline() int64 {
	deadline, path := c.from.Spec.StartingDeadlineSeconds, specPath.Child("startingDeadlineSeconds")
	switch {
	case deadline == nil:
		return 0
	case *deadline < 1:
		c.problem(path, fmt.Sprintf("%d: a schedule needs at least 1 second", *deadline))
		return 0
	case *deadline > maxStartingDeadline:
		c.note(path, fmt.Sprintf("%d has become %d, a year, which is the most", *deadline, maxStartingDeadline))
		return maxStartingDeadline
	default:
		return *deadline
	}
}

// history keeps as many runs as the CronJob keeps Jobs, also where the CronJob leaves the numbers to their defaults.
func (c *conversion) history(spec map[string]any) {
	spec["successfulRunsHistoryLimit"] = c.limit(c.from.Spec.SuccessfulJobsHistoryLimit, keptSuccessfulJobs, "successfulJobsHistoryLimit")
	spec["failedRunsHistoryLimit"] = c.limit(c.from.Spec.FailedJobsHistoryLimit, keptFailedJobs, "failedJobsHistoryLimit")
}

func (c *conversion) limit(limit *int32, otherwise int64, name string) int64 {
	path := specPath.Child(name)
	switch {
	case limit == nil:
		return otherwise
	case *limit < 0:
		c.problem(path, fmt.Sprintf("%d: must not be negative", *limit))
		return 0
	case *limit > maxHistory:
		c.note(path, fmt.Sprintf("%d has become %d, which is the most", *limit, maxHistory))
		return maxHistory
	default:
		return int64(*limit)
	}
}

// withoutNulls removes the nulls of an object. They mean that a field is not set, and charts leave them behind.
func withoutNulls(object map[string]any) map[string]any {
	for name, value := range object {
		switch value := value.(type) {
		case nil:
			delete(object, name)
		case map[string]any:
			withoutNulls(value)
		case []any:
			for _, item := range value {
				if item, ok := item.(map[string]any); ok {
					withoutNulls(item)
				}
			}
		}
	}
	return object
}
