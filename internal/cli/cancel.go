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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type cancelling struct {
	*plugin
	wait   bool
	limit  waiting
	output *output
}

func newCancel(p *plugin) *cobra.Command {
	c := &cancelling{plugin: p}
	cmd := &cobra.Command{
		Use:   "cancel NAME",
		Short: "Cancel a run",
		Long: `Cancel a run: it ends without result. A run that waits leaves its key at once; one
that executes ends when its Job and Pods are gone. A receipt ends alone, never the
run that stands for it. What has ended already keeps its outcome. It cannot be taken
back; ` + "`kubectl jobrun retrigger`" + ` makes a fresh run.`,
		Example: `  # Cancel a run, and wait until nothing of it executes any more
  kubectl jobrun cancel sync-users-7xk2p9q4wd --wait --timeout 2m`,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&c.wait, "wait", false, "Wait until it has ended.")
	c.limit.add(cmd.Flags())
	c.output = newOutput(cmd, p.Streams.Out)
	return cmd
}

func (c *cancelling) run(ctx context.Context, argument string) error {
	name, err := parseName(argument)
	if err := errors.Join(err, c.limit.check(), c.output.check()); err != nil {
		return err
	}
	cluster, err := c.connected()
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, c.limit.timeout)
	defer cancel()
	before, err := cluster.runs.Get(ctx, name)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	if err := cluster.runs.Cancel(ctx, name); err != nil {
		return unlessStopped(ctx, err)
	}
	run, err := c.afterCancel(ctx, cluster, before)
	if err != nil {
		return err
	}
	if c.output.isForPeople() {
		fmt.Fprintln(c.Streams.Out, cancelLine(run))
		return nil
	}
	return c.output.object(run, func() *metav1.Table { return jobRunTable(run, time.Now()) })
}

// afterCancel is the JobRun as it is now or, with --wait, at its end, whichever that is.
// One whose TTL is short may be gone already: it is followed from before it was cancelled.
func (c *cancelling) afterCancel(ctx context.Context, cluster *cluster, before *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	name := before.Name
	if !c.wait {
		if run, err := cluster.runs.Get(ctx, name); !apierrors.IsNotFound(err) {
			return run, err
		}
	}
	shown := c.newDisplay()
	shown.show(before)
	outcome, err := cluster.runs.WaitFor(ctx, before, jobrun.OnState(shown.show))
	shown.close()
	switch {
	case err == nil || ended(err):
		return outcome.JobRun, nil
	case ctx.Err() != nil:
		return nil, &unfinished{
			cause: stopped(ctx), what: "the cancelling of " + goesOn(name, outcome), again: display + " wait " + name,
		}
	default:
		return nil, err
	}
}

// cancelLine says how far a cancelled run has come.
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
