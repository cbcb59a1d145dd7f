// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const waitExample = `  # Wait until the run has ended; exit code 0 if it completed, 1 if it failed or was cancelled
  kubectl jobrun wait sync-users-7xk2p9q4wd

  # Wait for at most five minutes; exit code 4 if the run has not ended by then
  kubectl jobrun wait sync-users-7xk2p9q4wd --timeout 5m

  # Print the output alone
  kubectl jobrun wait sync-users-7xk2p9q4wd -o jsonpath='{.status.output}'`

type waitOptions struct {
	named
	timeLimited
	output output
}

func newWaitOptions(p *plugin) *waitOptions { return &waitOptions{named: named{plugin: p}} }

func newWait(p *plugin) *cobra.Command {
	o := newWaitOptions(p)
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait for the outcome of a JobRun",
		Long: `Wait for the outcome of a JobRun. Wait for the JobRun that your trigger created: a
receipt takes over the outcome of the run that stands for it. Phases and progress go
to stderr.`,
		Example:           waitExample,
		Args:              arguments(one("NAME")),
		ValidArgsFunction: p.completeRuns,
		RunE:              runE(o),
	}
	o.timeLimited.addTo(cmd.Flags())
	o.output.addTo(cmd, o.Streams.Out)
	return cmd
}

func (o *waitOptions) Validate() error { return errors.Join(o.timeLimited.check(), o.output.check()) }

func (o *waitOptions) Run(ctx context.Context) error {
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	return o.await(ctx, o.name, &o.output, func(ctx context.Context, options ...jobrun.WaitOption) (jobrun.Outcome, error) {
		return o.runs.Wait(ctx, o.name, options...)
	})
}

type waitFunc func(context.Context, ...jobrun.WaitOption) (jobrun.Outcome, error)

// await waits, shows the progress on stderr and the outcome on stdout.
func (p *plugin) await(ctx context.Context, name string, o *output, wait waitFunc) error {
	shown := p.newDisplay()
	outcome, err := wait(ctx, jobrun.OnState(shown.show))
	shown.close()
	if err != nil && ctx.Err() != nil && !ended(err) {
		return &unfinished{
			cause: stopped(ctx), what: goesOn(name, outcome), again: display + " wait " + name, run: outcome.Run.Name,
		}
	}
	if outcome.JobRun == nil {
		return err
	}
	if !o.isForPeople() {
		return errors.Join(err, o.run(outcome.JobRun))
	}
	if err == nil {
		fmt.Fprintln(p.Streams.Out, outcomeLines(name, outcome))
	}
	return err
}

// ended reports whether an error is the outcome of a run.
func ended(err error) bool {
	return errors.Is(err, jobrun.ErrFailed) || errors.Is(err, jobrun.ErrCancelled)
}

// goesOn names the run that has not ended: the one that stands for name, if that is known.
func goesOn(name string, outcome jobrun.Outcome) string {
	if stands := outcome.Run.Name; stands != "" && stands != name {
		return fmt.Sprintf("run %s, which stands for %s,", stands, name)
	}
	return "run " + name
}

// outcomeLines returns the lines for a run that completed.
func outcomeLines(name string, outcome jobrun.Outcome) string {
	lines := qualified(name) + " completed"
	if outcome.Disposition != v1alpha1.DispositionCreated && outcome.Run.Name != "" {
		lines += " by run " + outcome.Run.Name
	}
	if outcome.Output != nil {
		lines += "\noutput: " + printers.EscapeTerminal(string(outcome.Output.Raw))
	}
	return lines
}
