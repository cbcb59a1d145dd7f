// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

type keys struct {
	*plugin
	everywhere  bool
	idempotency bool
	watch       bool
	output      *output
}

func newKeys(p *plugin) *cobra.Command {
	k := &keys{plugin: p}
	cmd := &cobra.Command{
		Use:   "keys [JOB]",
		Short: "Show who executes and who waits for each busy key",
		Long: `Show the run that executes and the run that waits for each busy key, from its RunKey.
A key that no run uses has no RunKey, and is not listed.`,
		Example: `  # Which keys are busy?
  kubectl jobrun keys

  # The same as a live table, until Ctrl-C
  kubectl jobrun keys --watch

  # Those of one job, in all namespaces
  kubectl jobrun keys sync-users -A

  # The idempotency keys that are taken, and the runs that own them
  kubectl jobrun keys --idempotency`,
		Args:              arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: p.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			jobName := ""
			if len(args) > 0 {
				jobName = args[0]
			}
			return unlessStopped(cmd.Context(), k.run(cmd.Context(), jobName))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&k.everywhere, "all-namespaces", "A", false, "List the keys of all namespaces.")
	flags.BoolVar(&k.idempotency, "idempotency", false, "List idempotency keys, and the runs that own them.")
	flags.BoolVarP(&k.watch, "watch", "w", false, "Redraw the table every 2 seconds until Ctrl-C. Needs a terminal.")
	k.output = newOutput(cmd, p.Streams.Out)
	return cmd
}

func (k *keys) check() error {
	switch {
	case k.watch && !k.forPeople():
		return usagef("--watch shows a table: leave -o out, or use -o wide")
	case k.watch && k.width(k.Streams.Out) == 0:
		return usagef("--watch needs a terminal on stdout")
	}
	return k.output.check()
}

// forPeople reports whether a table is shown, rather than the objects.
func (k *keys) forPeople() bool { return k.output.isForPeople() || k.output.isWide() }

func (k *keys) run(ctx context.Context, jobName string) error {
	if err := k.check(); err != nil {
		return err
	}
	c, err := k.connected()
	if err != nil {
		return err
	}
	if k.watch {
		return k.live(ctx, c, jobName)
	}
	list, err := k.list(ctx, c, jobName)
	switch {
	case err != nil:
		return err
	case !k.forPeople():
		return k.output.object(list, nil)
	case len(list.Items) == 0:
		fmt.Fprintln(k.Streams.ErrOut, k.nothing(c, jobName))
		return nil
	default:
		return k.show(k.Streams.Out, list)
	}
}

func (k *keys) list(ctx context.Context, c *cluster, jobName string) (*v1alpha1.RunKeyList, error) {
	list := &v1alpha1.RunKeyList{}
	var options []client.ListOption
	if !k.everywhere {
		options = append(options, client.InNamespace(c.namespace))
	}
	err := c.api.List(ctx, list, options...)
	list.Items = k.selected(list.Items, jobName)
	return list, err
}

func (k *keys) show(to io.Writer, list *v1alpha1.RunKeyList) error {
	printer := printers.NewTablePrinter(printers.PrintOptions{WithNamespace: k.everywhere, Wide: k.output.isWide()})
	return printer.PrintObj(k.table(list.Items, time.Now()), to)
}

// nothing says that no key is listed.
func (k *keys) nothing(c *cluster, jobName string) string {
	of, in := "", " in namespace "+c.namespace
	if jobName != "" {
		of = " of job " + jobName
	}
	if k.everywhere {
		in = ""
	}
	if k.idempotency {
		return fmt.Sprintf("No idempotency key%s is taken%s.", of, in)
	}
	return fmt.Sprintf("No key%s is busy%s.", of, in)
}

// selected are the keys of the kind and the job that was asked for, in order.
func (k *keys) selected(all []v1alpha1.RunKey, jobName string) []v1alpha1.RunKey {
	kind := v1alpha1.RunKeyConcurrency
	if k.idempotency {
		kind = v1alpha1.RunKeyIdempotency
	}
	all = slices.DeleteFunc(all, func(key v1alpha1.RunKey) bool {
		return key.Spec.Kind != kind || jobName != "" && key.Spec.JobName != jobName
	})
	slices.SortFunc(all, func(a, b v1alpha1.RunKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Spec.JobName, b.Spec.JobName), cmp.Compare(a.Spec.Key, b.Spec.Key))
	})
	return all
}

func (k *keys) table(list []v1alpha1.RunKey, now time.Time) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns("Job", "Key", "Executes", "Generation", "Waits", "For", "+RunKey")}
	if k.idempotency {
		table.ColumnDefinitions = columns("Job", "Key", "Owner", "Age", "+RunKey")
	}
	for i := range list {
		cells := concurrencyCells
		if k.idempotency {
			cells = idempotencyCells
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells(&list[i], now), Object: rowObject(list[i].Namespace, list[i].Name)})
	}
	return table
}

func concurrencyCells(key *v1alpha1.RunKey, now time.Time) []any {
	executes, generation, waits, since := none, none, none, none
	if l := key.Spec.Leased; l != nil {
		executes, generation = l.RunName, strconv.FormatInt(l.Generation, 10)
	}
	if p := key.Spec.Pending; p != nil {
		waits = p.RunName
		if p.Time != nil {
			since = age(p.Time, now)
		}
	}
	return []any{key.Spec.JobName, key.Spec.Key, executes, generation, waits, since, key.Name}
}

func idempotencyCells(key *v1alpha1.RunKey, now time.Time) []any {
	owner := none
	if key.Spec.Owner != nil {
		owner = key.Spec.Owner.RunName
	}
	return []any{key.Spec.JobName, key.Spec.Key, owner, age(&key.CreationTimestamp, now), key.Name}
}
