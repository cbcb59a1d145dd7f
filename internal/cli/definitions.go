// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

type definitionsOptions struct {
	*plugin
	everywhere bool
	output     output
}

func newDefinitions(p *plugin) *cobra.Command {
	o := &definitionsOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "definitions",
		Short: "List the jobs that are defined, each with its runs and its next schedule",
		Long: `List the JobDefinitions: the jobs that a trigger can name. EXECUTOR is what executes the
runs: Job, or Worker for a definition without a template. LAST and OUTCOME are of the run
that ended last. SCHEDULES counts the schedules that are not suspended, and NEXT is the
time until the first of them fires. If a definition is not ready, the last column says
why: its triggers are refused, and its runs wait.`,
		Example: `  # What can be triggered here?
  kubectl jobrun definitions

  # In all namespaces, with the descriptions
  kubectl jobrun definitions -A -o wide

  # What does one of them want?
  kubectl jobrun describe definition sync-users`,
		Args:              arguments(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runE(o),
	}
	cmd.Flags().BoolVarP(&o.everywhere, "all-namespaces", "A", false, "List the definitions of all namespaces.")
	o.output.addTo(cmd, p.Streams.Out)
	return cmd
}

func (o *definitionsOptions) Complete(*cobra.Command, []string) error { return nil }

func (o *definitionsOptions) Validate() error { return o.output.check() }

func (o *definitionsOptions) Run(ctx context.Context) error {
	runs := o.runs
	if o.everywhere {
		runs = runs.Namespace(metav1.NamespaceAll)
	}
	all, err := runs.Definitions(ctx)
	switch {
	case err != nil:
		return unlessStopped(ctx, err)
	case !o.output.isForPeople() && !o.output.isWide():
		return o.output.object(&v1alpha1.JobDefinitionList{Items: all})
	case len(all) == 0:
		fmt.Fprintln(o.Streams.ErrOut, o.nothing())
		return nil
	default:
		options := printers.PrintOptions{WithNamespace: o.everywhere, Wide: o.output.isWide()}
		return table(o.Streams.Out, definitionsTable(all, time.Now()), options)
	}
}

// nothing returns the line for an empty list.
func (o *definitionsOptions) nothing() string {
	if o.everywhere {
		return "No job is defined."
	}
	return fmt.Sprintf("No job is defined in namespace %s.", o.namespace)
}

// definitionsTable has a column with what is wrong, if anything is.
func definitionsTable(all []v1alpha1.JobDefinition, now time.Time) *metav1.Table {
	names := []string{"Name", "Executor", "Waiting", "Executing", "Last", "Outcome", "Suspended", "Schedules", "Next", "Age"}
	isBroken := slices.ContainsFunc(all, func(d v1alpha1.JobDefinition) bool { return d.NotReady() != nil })
	if isBroken {
		names = append(names, "Problem")
	}
	table := &metav1.Table{ColumnDefinitions: columns(append(names, "+Description")...)}
	for i := range all {
		d := &all[i]
		cells := definitionCells(d, now)
		if isBroken {
			cells = append(cells, cmp.Or(problemOf(d), none))
		}
		cells = append(cells, cmp.Or(oneLine(d.Spec.Description), none))
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells, Object: rowObject(d.Namespace, d.Name)})
	}
	return table
}

func definitionCells(d *v1alpha1.JobDefinition, now time.Time) []any {
	last, suspended := none, none
	if !d.Status.LastRunTime.IsZero() {
		last = age(d.Status.LastRunTime, now)
	}
	if d.IsSuspended() {
		suspended = "yes"
	}
	return []any{
		d.Name, string(d.Executor()), count(d.Status.Waiting), count(d.Status.Executing), last, cmp.Or(string(d.Status.LastOutcome), none),
		suspended, cmp.Or(activeSchedules(d), none), cmp.Or(untilNext(d, now), none), age(&d.CreationTimestamp, now),
	}
}

// count returns a counter of the status. It is none before the operator has written it.
func count(n *int32) string {
	if n == nil {
		return none
	}
	return number(*n)
}

// problemOf returns why a definition is not ready, or "".
func problemOf(d *v1alpha1.JobDefinition) string {
	if ready := d.NotReady(); ready != nil {
		return oneLine(reasoned(ready.Reason, ready.Message))
	}
	return ""
}

// activeSchedules returns how many schedules are not suspended: of all, if some are. It is empty without schedules.
func activeSchedules(d *v1alpha1.JobDefinition) string {
	all := len(d.Spec.Schedules)
	active := all
	for i := range d.Spec.Schedules {
		if isSuspended(&d.Spec.Schedules[i]) {
			active--
		}
	}
	switch all {
	case 0:
		return ""
	case active:
		return strconv.Itoa(all)
	default:
		return fmt.Sprintf("%d of %d", active, all)
	}
}

func isSuspended(s *v1alpha1.JobSchedule) bool { return s.Suspend != nil && *s.Suspend }

// untilNext returns the time until the first schedule fires, or "".
func untilNext(d *v1alpha1.JobDefinition, now time.Time) string {
	var next *metav1.Time
	for i := range d.Status.Schedules {
		if t := d.Status.Schedules[i].NextScheduleTime; !t.IsZero() && (next == nil || t.Before(next)) {
			next = t
		}
	}
	if next == nil {
		return ""
	}
	return duration.HumanDuration(max(next.Sub(now), 0))
}

// definitionNames are the names of the resource that may stand before the NAME of a definition.
var definitionNames = []string{
	"definition", "definitions", "jobdefinition", "jobdefinitions", "jd",
	"jobdefinition." + v1alpha1.GroupVersion.Group, "jobdefinitions." + v1alpha1.GroupVersion.Group,
}

func isDefinition(resource string) bool {
	return slices.Contains(definitionNames, strings.ToLower(resource))
}
