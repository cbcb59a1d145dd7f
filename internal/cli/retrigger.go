// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type retrigger struct {
	*plugin
	name   string
	labels []string
	after  afterwards
	output *output
}

func newRetrigger(p *plugin) *cobra.Command {
	r := &retrigger{plugin: p}
	cmd := &cobra.Command{
		Use:   "retrigger NAME",
		Short: "Trigger again what a JobRun was triggered for",
		Long: `Trigger again what a JobRun, a run or a receipt, was triggered for: a fresh run
with the same job, key, input, labels and template, without its idempotencyKey and
without coalesce. While a run waits for the key that is a conflict (exit code 3).`,
		Example: `  # Try a failed run again, and wait for it
  kubectl jobrun retrigger sync-users-7xk2p9q4wd --wait`,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE:              func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&r.name, "name", "", "Name of the new JobRun. Without it: the job's, and ten random characters.")
	addLabels(cmd.Flags(), &r.labels)
	r.after.add(cmd.Flags())
	r.output = newOutput(cmd, p.Streams.Out)
	return cmd
}

func (r *retrigger) run(ctx context.Context, argument string) error {
	name, err := parseName(argument)
	labels, labelErr := parseLabels(r.labels)
	if err := errors.Join(err, labelErr, r.after.check(), r.output.check()); err != nil {
		return err
	}
	c, err := r.connected()
	if err != nil {
		return err
	}
	options := append(r.after.options(), jobrun.WithLabels(labels))
	if r.name != "" {
		options = append(options, jobrun.WithName(r.name))
	}
	ctx, cancel := within(ctx, r.after.timeout)
	defer cancel()
	result, err := c.runs.Retrigger(ctx, name, options...)
	if err != nil {
		return conflictHint(unlessStopped(ctx, err), false)
	}
	return r.after.show(ctx, r.plugin, c, result, r.output)
}
