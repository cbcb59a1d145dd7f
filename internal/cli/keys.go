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
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

type keysOptions struct {
	*plugin
	everywhere  bool
	idempotency bool
	watch       bool
	output      output

	job string
}

func newKeysOptions(p *plugin) *keysOptions { return &keysOptions{plugin: p} }

func newKeys(p *plugin) *cobra.Command {
	o := newKeysOptions(p)
	cmd := &cobra.Command{
		Use:   "keys [JOB]",
		Short: "Show who executes and who waits for each busy key",
		Long: `Show the run that holds each busy key and the run that waits for it, from its RunKey. The
run that holds the key executes, or is starting while no container of it has started. If
it does not get on, the last column says why. A key that no run uses is not listed. The
table cuts a long key in the middle; -o wide shows it whole.`,
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
		RunE:              runE(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.everywhere, "all-namespaces", "A", false, "List the keys of all namespaces.")
	flags.BoolVar(&o.idempotency, "idempotency", false, "List idempotency keys, and the runs that own them.")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Redraw the table every 2 seconds until Ctrl-C. Needs a terminal.")
	o.output.addTo(cmd, p.Streams.Out)
	return cmd
}

func (o *keysOptions) Complete(_ *cobra.Command, args []string) error {
	o.job = first(args)
	return nil
}

func (o *keysOptions) Validate() error {
	switch {
	case o.watch && !o.isTable():
		return usagef("--watch shows a table: leave -o out, or use -o wide")
	case o.watch && o.width(o.Streams.Out) == 0:
		return usagef("--watch needs a terminal on stdout")
	}
	return o.output.check()
}

// isTable reports whether a table is printed, rather than the objects.
func (o *keysOptions) isTable() bool { return o.output.isForPeople() || o.output.isWide() }

func (o *keysOptions) Run(ctx context.Context) error {
	if o.watch {
		return o.live(ctx)
	}
	list, err := o.list(ctx)
	switch {
	case err != nil:
		return unlessStopped(ctx, err)
	case !o.isTable():
		return o.output.object(list)
	case len(list.Items) == 0:
		fmt.Fprintln(o.Streams.ErrOut, o.nothing())
		return nil
	default:
		return o.show(ctx, o.Streams.Out, list)
	}
}

// list returns the keys that were asked for, in order.
func (o *keysOptions) list(ctx context.Context) (*v1alpha1.RunKeyList, error) {
	list := &v1alpha1.RunKeyList{}
	var options []client.ListOption
	if !o.everywhere {
		options = append(options, client.InNamespace(o.namespace))
	}
	err := o.api.List(ctx, list, options...)
	kind := v1alpha1.RunKeyConcurrency
	if o.idempotency {
		kind = v1alpha1.RunKeyIdempotency
	}
	list.Items = slices.DeleteFunc(list.Items, func(key v1alpha1.RunKey) bool {
		isLeftForNotes := kind == v1alpha1.RunKeyConcurrency && runkey.IsFree(&key.Spec)
		return key.Spec.Kind != kind || o.job != "" && key.Spec.JobName != o.job || isLeftForNotes
	})
	slices.SortFunc(list.Items, func(a, b v1alpha1.RunKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Spec.JobName, b.Spec.JobName), cmp.Compare(a.Spec.Key, b.Spec.Key))
	})
	return list, err
}

func (o *keysOptions) show(ctx context.Context, to io.Writer, list *v1alpha1.RunKeyList) error {
	options := printers.PrintOptions{WithNamespace: o.everywhere, Wide: o.output.isWide()}
	if o.idempotency {
		return table(to, idempotencyTable(list.Items, o.output.key, time.Now()), options)
	}
	holders, err := o.holdersOf(ctx, list.Items)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return table(to, concurrencyTable(list.Items, holders, o.output.key, time.Now()), options)
}

// nothing returns the line for an empty list.
func (o *keysOptions) nothing() string {
	of, in := "", " in namespace "+o.namespace
	if o.job != "" {
		of = " of job " + o.job
	}
	if o.everywhere {
		in = ""
	}
	if o.idempotency {
		return fmt.Sprintf("No idempotency key%s is taken%s.", of, in)
	}
	return fmt.Sprintf("No key%s is busy%s.", of, in)
}

func idempotencyTable(list []v1alpha1.RunKey, keyText func(string) string, now time.Time) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns("Job", "Key", "Owner", "Age", "+Outcome", "+RunKey")}
	for i := range list {
		key, owner, outcome := &list[i], none, none
		if key.Spec.Owner != nil {
			owner = key.Spec.Owner.RunName
		}
		if end := key.Spec.Outcome; end != nil {
			outcome = string(end.Phase)
		}
		table.Rows = append(table.Rows, keyRow(key, key.Spec.JobName, keyText(key.Spec.Key), owner, age(&key.CreationTimestamp, now), outcome, key.Name))
	}
	return table
}

// concurrencyTable has a column with what keeps runs from getting on, if it keeps any.
func concurrencyTable(list []v1alpha1.RunKey, h *holders, keyText func(string) string, now time.Time) *metav1.Table {
	names := []string{"Job", "Key", "Run", "Generation", "State", "Waits", "For"}
	obstacles := make([]string, len(list))
	isObstructed := false
	for i := range list {
		_, obstacles[i] = h.state(&list[i])
		isObstructed = isObstructed || obstacles[i] != ""
	}
	if isObstructed {
		names = append(names, "Obstacle")
	}
	table := &metav1.Table{ColumnDefinitions: columns(append(names, "+RunKey")...)}
	for i := range list {
		cells := concurrencyCells(&list[i], h, keyText, now)
		if isObstructed {
			cells = append(cells, cmp.Or(oneLine(obstacles[i]), none))
		}
		table.Rows = append(table.Rows, keyRow(&list[i], append(cells, list[i].Name)...))
	}
	return table
}

func keyRow(key *v1alpha1.RunKey, cells ...any) metav1.TableRow {
	return metav1.TableRow{Cells: cells, Object: rowObject(key.Namespace, key.Name)}
}

func concurrencyCells(key *v1alpha1.RunKey, h *holders, keyText func(string) string, now time.Time) []any {
	run, generation, waits, since := none, none, none, none
	if l := key.Spec.Leased; l != nil {
		run, generation = l.RunName, strconv.FormatInt(l.Generation, 10)
	}
	if p := key.Spec.Pending; p != nil {
		waits = p.RunName
		if p.Time != nil {
			since = age(p.Time, now)
		}
	}
	state, _ := h.state(key)
	return []any{key.Spec.JobName, keyText(key.Spec.Key), run, generation, state, waits, since}
}
