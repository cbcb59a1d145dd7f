// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const waitExample = `  # Wait until the run has ended; exit code 0 if it completed, 1 if it failed or was cancelled
  kubectl jobrun wait sync-users-7xk2p9q4wd

  # At most five minutes; exit code 4 if that is not enough
  kubectl jobrun wait sync-users-7xk2p9q4wd --timeout 5m

  # The output alone
  kubectl jobrun wait sync-users-7xk2p9q4wd -o jsonpath='{.status.output}'`

// waiting says how long to wait.
type waiting struct{ timeout time.Duration }

func (w *waiting) add(flags *pflag.FlagSet) {
	flags.DurationVar(&w.timeout, "timeout", 0, "Wait no longer than this, e.g. 5m. 0 waits as long as it takes.")
}

func (w *waiting) check() error {
	if w.timeout < 0 {
		return usagef("--timeout %s: must not be negative", w.timeout)
	}
	return nil
}

func newWait(p *plugin) *cobra.Command {
	var waiting waiting
	var output *output
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait for the outcome of a run",
		Long: `Wait for the outcome of a run. The outcome of a receipt is that of the run that
stands for it. Phases and progress go to stderr, live on a terminal.`,
		Example:           waitExample,
		Args:              arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: p.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(waiting.check(), output.check()); err != nil {
				return err
			}
			name, err := parseName(args[0])
			if err != nil {
				return err
			}
			c, err := p.connected()
			if err != nil {
				return err
			}
			ctx, cancel := within(cmd.Context(), waiting.timeout)
			defer cancel()
			return p.await(ctx, name, output, func(ctx context.Context, options ...jobrun.WaitOption) (jobrun.Outcome, error) {
				return c.runs.Wait(ctx, name, options...)
			})
		},
	}
	waiting.add(cmd.Flags())
	output = newOutput(cmd, p.Streams.Out)
	return cmd
}

type waitFunc func(context.Context, ...jobrun.WaitOption) (jobrun.Outcome, error)

// await waits and shows how it goes and what comes of it.
func (p *plugin) await(ctx context.Context, name string, o *output, wait waitFunc) error {
	shown := p.newDisplay()
	outcome, err := wait(ctx, jobrun.OnState(shown.show))
	shown.close()
	if err != nil && ctx.Err() != nil && !ended(err) {
		return &unfinished{cause: stopped(ctx), what: goesOn(name, outcome), again: display + " wait " + name}
	}
	if outcome.JobRun == nil {
		return err
	}
	if !o.isForPeople() {
		table := func() *metav1.Table { return jobRunTable(outcome.JobRun, time.Now()) }
		return errors.Join(err, o.object(outcome.JobRun, table))
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

// goesOn names what is not done yet: the run that stands for name, if that is known.
func goesOn(name string, outcome jobrun.Outcome) string {
	if stands := outcome.Run.Name; stands != "" && stands != name {
		return fmt.Sprintf("run %s, which stands for %s,", stands, name)
	}
	return "run " + name
}

// outcomeLines say that a run completed, and with what.
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
