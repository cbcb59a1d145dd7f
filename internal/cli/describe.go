// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type describeOptions struct {
	named
	all bool
	// isDefinition means that name is the name of a definition, and not of a JobRun.
	isDefinition bool
}

func newDescribeOptions(p *plugin) *describeOptions { return &describeOptions{named: named{plugin: p}} }

func newDescribe(p *plugin) *cobra.Command {
	o := newDescribeOptions(p)
	cmd := &cobra.Command{
		Use:   "describe (NAME | definition NAME)",
		Short: "Show all about a run, or about a definition",
		Long: `Show all about a run: its lease, the receipts of the triggers that it absorbed with the
skipped input, its Job and Pods, and the events of all of them in order. For a receipt,
show the receipt and the run that stands for it. Of receipts and events, the last ten are
shown, unless --all is set. Parts that you have no right to read are marked.

"describe definition NAME" shows a JobDefinition: what it does, the fields of its input,
what gives the keys of a run, its defaults and schedules, the runs that wait or execute,
what is wrong with it, and how to trigger it.`,
		Example: `  # A run, its receipts, its Job and Pods, and its events
  kubectl jobrun describe sync-users-7xk2p9q4wd

  # What does the job sync-users want, and how do I trigger it?
  kubectl jobrun describe definition sync-users`,
		DisableFlagsInUseLine: true,
		Args:                  arguments(cobra.RangeArgs(1, 2)),
		ValidArgsFunction:     p.completeDescribed,
		RunE:                  runE(o),
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "Show all receipts and events, not only the last ten of each.")
	return cmd
}

// Complete parses NAME, jobrun/NAME, definition/NAME, and the same with a space.
func (o *describeOptions) Complete(_ *cobra.Command, args []string) (err error) {
	argument := strings.Join(args, "/")
	if resource, name, qualified := strings.Cut(argument, "/"); qualified && isDefinition(resource) {
		o.isDefinition, o.name = true, name
		return nil
	}
	o.name, err = parseName(argument)
	return err
}

func (o *describeOptions) Run(ctx context.Context) error {
	if o.isDefinition {
		return unlessStopped(ctx, o.describeDefinition(ctx))
	}
	return unlessStopped(ctx, o.describe(ctx))
}

func (o *describeOptions) describe(ctx context.Context) error {
	asked, err := o.runs.Get(ctx, o.name)
	if err != nil {
		return err
	}
	w := newPage(o.Streams.Out, time.Now())
	if !o.all {
		w.last = lastShown
	}
	run, err := o.standing(ctx, asked)
	switch {
	case errors.Is(err, jobrun.ErrNotFound):
		w.receipt(asked, "it is gone")
		return w.to.Flush()
	case err != nil:
		return err
	case run == nil:
		w.receipt(asked, "not decided yet")
		return w.to.Flush()
	case run != asked:
		w.receipt(asked, "")
		fmt.Fprintf(w.to, "\nThe run that stands for it:\n\n")
	}
	d, err := gather(ctx, o.cluster, run)
	if err != nil {
		return err
	}
	w.description(d)
	return w.to.Flush()
}

// lastShown is how many receipts and how many events `describe` shows.
const lastShown = 10

// description is what `describe` shows of a run.
type description struct {
	run      *v1alpha1.JobRun
	key      *v1alpha1.RunKey
	receipts []receipt
	job      *batchv1.Job // nil if the run has none, or it is gone
	pods     []corev1.Pod
	events   []corev1.Event
	// hidden names the parts that the user has no right to read.
	hidden map[string]bool
}
