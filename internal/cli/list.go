// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	selectors "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

type listOptions struct {
	*plugin
	everywhere bool
	job        string
	key        string
	selector   string
	limit      int
	output     output

	matching selectors.Selector
}

func newListOptions(p *plugin) *listOptions { return &listOptions{plugin: p} }

func newList(p *plugin) *cobra.Command {
	o := newListOptions(p)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, the newest first, each with the number of its receipts",
		Long: `List runs, the newest first. The receipts of a run are a number in its row. A receipt has
a row of its own, after all runs, while no listed run stands for it. The table cuts a long
key in the middle; -o wide shows it whole.`,
		Example: `  # The runs of the namespace
  kubectl jobrun list

  # The latest ten of one job and key
  kubectl jobrun list --job sync-users --key org_acme --limit 10

  # Those with a label, in all namespaces
  kubectl jobrun list -A -l team=billing`,
		Args:              arguments(noNames),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runE(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.everywhere, "all-namespaces", "A", false, "List the runs of all namespaces.")
	flags.StringVar(&o.job, "job", "", "List the runs of this job.")
	flags.StringVar(&o.key, "key", "", "List the runs of this concurrencyKey.")
	flags.StringVarP(&o.selector, "selector", "l", "", "List the runs whose labels match, e.g. env=prod,team!=a.")
	flags.IntVar(&o.limit, "limit", 0, "List the first rows only, so many. 0 means no limit.")
	p.completeFlagWithJobs(cmd)
	o.output.addTo(cmd, p.Streams.Out)
	return cmd
}

// noNames refuses the name of a job or of a run, and says which command takes it.
func noNames(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("list takes no name: `list --job %[1]s` lists the runs of a job, `describe %[1]s` shows one run", args[0])
}

// Complete parses the selector.
func (o *listOptions) Complete(_ *cobra.Command, _ []string) (err error) {
	if o.matching, err = selectors.Parse(o.selector); err != nil {
		return usagef("--selector %q: %v", o.selector, err)
	}
	return nil
}

func (o *listOptions) Validate() error {
	if o.limit < 0 {
		return usagef("--limit %d: must not be negative", o.limit)
	}
	return o.output.check()
}

func (o *listOptions) Run(ctx context.Context) error {
	all, err := o.read(ctx)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	rows := slices.DeleteFunc(listed(all), func(r *v1alpha1.JobRun) bool { return !o.asksFor(r) })
	if o.limit > 0 {
		rows = rows[:min(len(rows), o.limit)]
	}
	switch {
	case !o.output.isForPeople() && !o.output.isWide():
		return o.output.object(listOf(rows))
	case len(rows) == 0:
		fmt.Fprintln(o.Streams.ErrOut, o.nothing())
		return nil
	default:
		options := printers.PrintOptions{WithNamespace: o.everywhere, Wide: o.output.isWide()}
		return table(o.Streams.Out, listTable(rows, receiptsByRun(all), o.output.key, time.Now()), options)
	}
}

// read returns the JobRuns of the job: receipts must be counted, so the other flags select rows only.
func (o *listOptions) read(ctx context.Context) ([]v1alpha1.JobRun, error) {
	var options []client.ListOption
	if !o.everywhere {
		options = append(options, client.InNamespace(o.namespace))
	}
	if o.job != "" {
		options = append(options, client.MatchingLabels{v1alpha1.LabelJobName: o.job})
	}
	list := &v1alpha1.JobRunList{}
	err := o.api.List(ctx, list, options...)
	return list.Items, err
}

// asksFor reports whether the flags select a row.
func (o *listOptions) asksFor(r *v1alpha1.JobRun) bool {
	return (o.key == "" || r.Spec.ConcurrencyKey == o.key) && o.matching.Matches(selectors.Set(r.Labels))
}

// nothing returns the line for an empty list.
func (o *listOptions) nothing() string {
	if o.everywhere {
		return "No runs found."
	}
	return fmt.Sprintf("No runs found in namespace %s.", o.namespace)
}

// runBehind returns the name of the run that stands for a trigger; its own name if it is a run.
func runBehind(r *v1alpha1.JobRun) types.NamespacedName {
	name := r.Name
	switch {
	case r.Status.RunRef != nil:
		name = r.Status.RunRef.Name
	case r.WasAbsorbed():
		name = r.Spec.Admission.RunName
	}
	return types.NamespacedName{Namespace: r.Namespace, Name: name}
}

// listed returns the rows: runs, then the receipts whose run does not exist, the newest first.
func listed(all []v1alpha1.JobRun) []*v1alpha1.JobRun {
	exists := map[types.NamespacedName]bool{}
	for i := range all {
		exists[client.ObjectKeyFromObject(&all[i])] = true
	}
	var runs, orphans []*v1alpha1.JobRun
	for i := range all {
		switch r := &all[i]; {
		case runBehind(r).Name == r.Name:
			runs = append(runs, r)
		case !exists[runBehind(r)]:
			orphans = append(orphans, r)
		}
	}
	newest := func(a, b *v1alpha1.JobRun) int { return v1alpha1.CompareStored(b, a) }
	slices.SortFunc(runs, newest)
	slices.SortFunc(orphans, newest)
	return append(runs, orphans...)
}

// receiptsByRun returns how many receipts each run has, those that were deleted included if the run absorbed them.
func receiptsByRun(all []v1alpha1.JobRun) map[types.NamespacedName]int64 {
	absorbed, others := map[types.NamespacedName]int64{}, map[types.NamespacedName]int64{}
	for i := range all {
		switch r := &all[i]; {
		case runBehind(r).Name == r.Name:
		case r.Status.Phase == v1alpha1.PhaseCoalesced:
			absorbed[runBehind(r)]++
		default:
			others[runBehind(r)]++
		}
	}
	for i := range all {
		name := client.ObjectKeyFromObject(&all[i])
		if c := all[i].Status.Coalesced; c != nil {
			absorbed[name] = max(absorbed[name], c.Count)
		}
		absorbed[name] += others[name]
	}
	return absorbed
}

func listTable(rows []*v1alpha1.JobRun, receipts map[types.NamespacedName]int64, keyText func(string) string, now time.Time) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns("Name", "Job", "Key", "Phase", "Receipts", "Age", "+Holder", "+Attempts", "+Error")}
	for _, r := range rows {
		holder, attempts := none, none
		if r.IsHeld() {
			holder = r.Status.Lease.HolderIdentity
		}
		if r.Status.Attempts > 0 {
			attempts = strconv.Itoa(int(r.Status.Attempts))
		}
		count := none
		if n := receipts[client.ObjectKeyFromObject(r)]; n > 0 {
			count = strconv.FormatInt(n, 10)
		}
		table.Rows = append(table.Rows, metav1.TableRow{Object: rowObject(r.Namespace, r.Name), Cells: []any{
			r.Name, r.Spec.JobName, cmp.Or(keyText(r.Spec.ConcurrencyKey), none), cmp.Or(string(r.Status.Phase), none), count,
			age(&r.CreationTimestamp, now), holder, attempts, cmp.Or(oneLine(r.Status.Error), none),
		}})
	}
	return table
}

func listOf(rows []*v1alpha1.JobRun) *v1alpha1.JobRunList {
	list := &v1alpha1.JobRunList{Items: make([]v1alpha1.JobRun, len(rows))}
	for i, r := range rows {
		list.Items[i] = *r
	}
	return list
}
