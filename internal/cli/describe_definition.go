// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// describeDefinition describes a JobDefinition and the runs of its job that wait or execute.
func (o *describeOptions) describeDefinition(ctx context.Context) error {
	d, err := o.runs.Definition(ctx, o.name)
	if err != nil {
		return err
	}
	runs, hidden, err := o.activeRunsOf(ctx, d.Name)
	if err != nil {
		return err
	}
	w := newPage(o.Streams.Out, time.Now())
	if !o.all {
		w.last = lastShown
	}
	w.definition(d)
	w.input(d)
	w.schedules(d)
	w.receivers(d)
	w.activeRuns(runs, hidden)
	w.conditions(d)
	w.howToTrigger(d)
	return w.to.Flush()
}

// activeRunsOf returns the runs of a job that have no outcome, the oldest first, or that the user may not list them.
func (o *describeOptions) activeRunsOf(ctx context.Context, job string) (runs []*v1alpha1.JobRun, hidden bool, err error) {
	list := &v1alpha1.JobRunList{}
	err = o.api.List(ctx, list, client.InNamespace(o.namespace), client.MatchingLabels{v1alpha1.LabelJobName: job})
	if apierrors.IsForbidden(err) {
		return nil, true, nil
	}
	for _, r := range listed(list.Items) {
		if runBehind(r).Name == r.Name && !r.HasOutcome() {
			runs = append(runs, r)
		}
	}
	slices.Reverse(runs) // listed has the newest first
	return runs, false, err
}

func (p *page) definition(d *v1alpha1.JobDefinition) {
	p.field("Name", d.Name)
	p.field("Namespace", d.Namespace)
	p.field("Labels", labelText(d.Labels))
	p.field("Description", d.Spec.Description)
	p.field("Not ready", problemOf(d))
	if d.IsSuspended() {
		p.field("Suspended", "triggers are answered, and nothing starts")
	}
	p.field("Executor", executorText(d))
	p.field("Runs", p.runsText(&d.Status))
	p.field("Key", concurrencyText(&d.Spec))
	p.field("Idempotency key", d.Spec.IdempotencyKeyExpression)
	p.field("Defaults", defaultsText(d.Spec.Defaults))
	p.field("A trigger may set", settableText(&d.Spec))
	p.field("History", fmt.Sprintf("%d completed runs, %d failed or cancelled",
		ptr.Deref(d.Spec.SuccessfulRunsHistoryLimit, defaultHistory), ptr.Deref(d.Spec.FailedRunsHistoryLimit, defaultHistory)))
	p.field("Generation", strconv.FormatInt(d.Generation, 10))
	p.field("Created", p.ago(&d.CreationTimestamp))
}

// defaultHistory is how many runs are kept if the definition does not say it.
const defaultHistory = 100

func executorText(d *v1alpha1.JobDefinition) string {
	if d.Executor() == v1alpha1.ExecutorWorker {
		return "Worker: a worker of job " + d.Name + " claims the run"
	}
	var images []string
	for _, c := range d.Spec.Template.Spec.Template.Spec.Containers {
		images = append(images, c.Image)
	}
	return "Job: " + strings.Join(images, ", ")
}

func (p *page) runsText(s *v1alpha1.JobDefinitionStatus) string {
	if s.Waiting == nil && s.Executing == nil && s.LastRunTime.IsZero() {
		return ""
	}
	text := fmt.Sprintf("%d waiting, %d executing", ptr.Deref(s.Waiting, 0), ptr.Deref(s.Executing, 0))
	if !s.LastRunTime.IsZero() {
		text += fmt.Sprintf("; the last one ended %s ago: %s", age(s.LastRunTime, p.now), cmp.Or(string(s.LastOutcome), none))
	}
	return text
}

// concurrencyText says what the key of a run is.
func concurrencyText(spec *v1alpha1.JobDefinitionSpec) string {
	switch {
	case spec.ConcurrencyKeyExpression != "":
		return spec.ConcurrencyKeyExpression
	case spec.Defaults != nil && spec.Defaults.ConcurrencyKey != "":
		return fmt.Sprintf("%q for all runs", spec.Defaults.ConcurrencyKey)
	case slices.Contains(spec.Overridable, v1alpha1.OverridableConcurrencyKey):
		return "the trigger's"
	default:
		return "none: runs may overlap"
	}
}

// defaultsText returns the defaults but for the concurrencyKey, which has a line of its own.
func defaultsText(defaults *v1alpha1.JobRunDefaults) string {
	if defaults == nil {
		return ""
	}
	rest := *defaults
	rest.ConcurrencyKey = ""
	text, err := json.Marshal(rest)
	if err != nil || string(text) == "{}" {
		return ""
	}
	return string(text)
}

func settableText(spec *v1alpha1.JobDefinitionSpec) string {
	settable := []string{"input", "labels", "idempotencyKey"}
	for _, field := range spec.Overridable {
		settable = append(settable, string(field))
	}
	return strings.Join(settable, ", ")
}

// input describes the fields of the input.
func (p *page) input(d *v1alpha1.JobDefinition) {
	schema, err := inputSchemaOf(d)
	switch {
	case err != nil:
		p.field("Input", "its schema cannot be read: "+err.Error())
	case schema == nil:
		p.field("Input", "anything")
	default:
		p.table("Input", []string{"FIELD", "TYPE", "REQUIRED", "DEFAULT", "DESCRIPTION"}, inputRows(schema))
	}
}

func (p *page) schedules(d *v1alpha1.JobDefinition) {
	rows := make([][]string, 0, len(d.Spec.Schedules))
	for i := range d.Spec.Schedules {
		s := &d.Spec.Schedules[i]
		status := v1alpha1.JobScheduleStatus{}
		for _, known := range d.Status.Schedules {
			if known.Name == s.Name {
				status = known
			}
		}
		next := timeText(status.NextScheduleTime)
		if isSuspended(s) {
			next = "suspended"
		}
		rows = append(rows, []string{
			s.Name, s.Schedule, cmp.Or(s.TimeZone, "UTC"), timeText(status.LastScheduleTime), status.LastRunName, status.LastResult,
			next, jsonText(s.Input),
		})
	}
	p.section("Schedules", false, []string{"NAME", "SCHEDULE", "TIME ZONE", "LAST", "RUN", "RESULT", "NEXT", "INPUT"}, rows)
}

func (p *page) receivers(d *v1alpha1.JobDefinition) {
	rows := make([][]string, 0, len(d.Spec.Receivers))
	for i := range d.Spec.Receivers {
		r := &d.Spec.Receivers[i]
		rows = append(rows, []string{
			r.Name, string(r.Type), r.SecretRef.Name + "/" + r.SecretRef.Key, cmp.Or(strings.Join(r.Events, ", "), "all"), r.FilterExpression, r.InputExpression,
		})
	}
	p.section("Receivers", false, []string{"NAME", "TYPE", "SECRET", "EVENTS", "FILTER", "INPUT"}, rows)
}

func timeText(t *metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *page) activeRuns(runs []*v1alpha1.JobRun, hidden bool) {
	rows := make([][]string, 0, len(runs))
	for _, r := range runs {
		rows = append(rows, []string{
			r.Name, r.Spec.ConcurrencyKey, string(r.Status.Phase), age(&r.CreationTimestamp, p.now), r.Status.Error,
		})
	}
	p.latest("Waiting and executing", hidden, []string{"NAME", "KEY", "PHASE", "AGE", "ERROR"}, rows, 0)
}

func (p *page) conditions(d *v1alpha1.JobDefinition) {
	rows := make([][]string, 0, len(d.Status.Conditions))
	for i := range d.Status.Conditions {
		c := &d.Status.Conditions[i]
		rows = append(rows, []string{c.Type, string(c.Status), c.Reason, age(&c.LastTransitionTime, p.now), c.Message})
	}
	p.section("Conditions", false, []string{"TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"}, rows)
}

// howToTrigger prints a command with the fields of the input that are required.
func (p *page) howToTrigger(d *v1alpha1.JobDefinition) {
	command := display + " trigger " + d.Name
	if schema, err := inputSchemaOf(d); err == nil && schema != nil {
		command += " --input '" + strings.ReplaceAll(exampleOf(schema), "'", `'\''`) + "'"
	}
	p.field("Trigger it", command)
}
