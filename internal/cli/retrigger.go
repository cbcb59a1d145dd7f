// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

type retriggerOptions struct {
	named
	answerOptions
	newName string
	labels  labels
}

func newRetriggerOptions(p *plugin) *retriggerOptions {
	return &retriggerOptions{named: named{plugin: p}}
}

func newRetrigger(p *plugin) *cobra.Command {
	o := newRetriggerOptions(p)
	cmd := &cobra.Command{
		Use:   "retrigger NAME",
		Short: "Trigger a JobRun's work again",
		Long: `Trigger the work of a run or a receipt again: a new run with the same job, key, input,
labels and template, without the idempotencyKey and without coalesce. While a run waits
for the key, that is a conflict (exit code 3). While the key is reserved for a run that
does not exist, retrigger tries again, as trigger does.

If a definition completed the JobRun and still exists, it completes the new one as it is
now: the input stays, and what the definition leaves to the trigger.`,
		Example: `  # Try a failed run again, and wait for it
  kubectl jobrun retrigger sync-users-7xk2p9q4wd --wait`,
		Args:              arguments(one("NAME")),
		ValidArgsFunction: p.completeRuns,
		RunE:              runE(o),
	}
	cmd.Flags().StringVar(&o.newName, "name", "", "Name of the new JobRun. Default: the job's name and ten random characters.")
	o.labels.addTo(cmd.Flags())
	o.answerOptions.addTo(cmd, o.Streams.Out)
	return cmd
}

func (o *retriggerOptions) Validate() error {
	return errors.Join(o.labels.check(), o.answerOptions.check())
}

func (o *retriggerOptions) Run(ctx context.Context) error {
	options := append(o.triggerOptions(), jobrun.WithLabels(o.labels.added(nil)))
	if o.newName != "" {
		options = append(options, jobrun.WithName(o.newName))
	}
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	result, err := o.untilNotReserved(ctx, func() (jobrun.TriggerResult, error) {
		return o.runs.Retrigger(ctx, o.name, options...)
	})
	if err != nil {
		return conflictHint(o.unanswered(ctx, o.plugin, err), false)
	}
	return o.show(ctx, o.plugin, result)
}
