// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type cancelOptions struct {
	named
	timeLimited
	wait   bool
	output output
}

func newCancelOptions(p *plugin) *cancelOptions { return &cancelOptions{named: named{plugin: p}} }

func newCancel(p *plugin) *cobra.Command {
	o := newCancelOptions(p)
	cmd := &cobra.Command{
		Use:   "cancel NAME",
		Short: "Cancel a run",
		Long: `Cancel a run. It ends without a result. A waiting run leaves its key at once. A run
that executes ends when its Job and Pods are gone. Cancelling a receipt ends that
receipt alone, never the run that stands for it. A run that has ended keeps its outcome.

A cancel cannot be taken back; ` + "`kubectl jobrun retrigger`" + ` makes a new run.`,
		Example: `  # Cancel a run, and wait until nothing of it executes any more
  kubectl jobrun cancel sync-users-7xk2p9q4wd --wait --timeout 2m`,
		Args:              arguments(one("NAME")),
		ValidArgsFunction: p.completeRuns,
		RunE:              runE(o),
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "Wait until the run has ended.")
	o.timeLimited.addTo(cmd.Flags())
	o.output.addTo(cmd, o.Streams.Out)
	return cmd
}

func (o *cancelOptions) Validate() error { return errors.Join(o.timeLimited.check(), o.output.check()) }

func (o *cancelOptions) Run(ctx context.Context) error {
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	before, err := o.runs.Get(ctx, o.name)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	if err := o.runs.Cancel(ctx, o.name); err != nil {
		return unlessStopped(ctx, err)
	}
	run, err := o.afterCancel(ctx, before)
	if err != nil {
		return err
	}
	if o.output.isForPeople() {
		fmt.Fprintln(o.Streams.Out, cancelLine(run))
		return nil
	}
	return o.output.run(run)
}

// afterCancel returns the JobRun as it is now or, with --wait, at its end. If its TTL is short, the JobRun may be
// deleted by now. So afterCancel starts to wait from before, the state that Run read before the cancel.
func (o *cancelOptions) afterCancel(ctx context.Context, before *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	if !o.wait {
		if run, err := o.runs.Get(ctx, o.name); !apierrors.IsNotFound(err) {
			return run, err
		}
	}
	shown := o.newDisplay()
	shown.show(before)
	outcome, err := o.runs.WaitFor(ctx, before, jobrun.OnState(shown.show))
	shown.close()
	switch {
	case err == nil || ended(err):
		return outcome.JobRun, nil
	case ctx.Err() != nil:
		return nil, &unfinished{
			cause: stopped(ctx), what: "the cancellation of " + goesOn(o.name, outcome), again: display + " wait " + o.name,
		}
	default:
		return nil, err
	}
}

// cancelLine returns the line for a cancelled run.
func cancelLine(run *v1alpha1.JobRun) string {
	switch end := run.Outcome(); end {
	case "":
		return qualified(run.Name) + " cancelling"
	case v1alpha1.PhaseCancelled:
		return qualified(run.Name) + " cancelled"
	default:
		return fmt.Sprintf("%s not cancelled: it had %s already", qualified(run.Name), strings.ToLower(string(end)))
	}
}
