// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

func newDescribe(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all that is known of a run",
		Long: `Show all that is known of a run: its lease, the receipts of the triggers that it
absorbed with the input that was skipped, its Job and Pods, and the events of all of
them in order. Of a receipt: itself, and the run that stands for it. What you have no
right to read is left out, and said to be.`,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			return unlessStopped(cmd.Context(), p.describe(cmd.Context(), args[0]))
		},
	}
}

func (p *plugin) describe(ctx context.Context, argument string) error {
	name, err := parseName(argument)
	if err != nil {
		return err
	}
	c, err := p.connected()
	if err != nil {
		return err
	}
	asked, err := c.runs.Get(ctx, name)
	if err != nil {
		return err
	}
	w := newPage(p.Streams.Out, time.Now())
	run, err := c.standing(ctx, asked)
	switch {
	case errors.Is(err, jobrun.ErrNotFound):
		w.receipt(asked, "it is gone")
		return w.flush()
	case err != nil:
		return err
	case run == nil:
		w.receipt(asked, "not settled yet")
		return w.flush()
	case run != asked:
		w.receipt(asked, "")
		fmt.Fprintf(w.to, "\nThe run that stands for it:\n\n")
	}
	d, err := gather(ctx, c, run)
	if err != nil {
		return err
	}
	w.description(d)
	return w.flush()
}

// unreadable are the things that the user has no right to read.
type unreadable map[string]bool

// description is what is known of a run.
type description struct {
	run      *v1alpha1.JobRun
	key      *v1alpha1.RunKey
	receipts []receipt
	job      *jobState
	pods     []podState
	events   []eventLine
	hidden   unreadable
}
