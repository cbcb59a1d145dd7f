// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const triggerExample = `  # Run a job that is defined: its definition gives everything but the input
  kubectl jobrun trigger sync-users --input '{"org":"acme"}'

  # Run the job sync-users for the key org_acme, unless a run waits for that key already
  kubectl jobrun trigger sync-users --key org_acme -f job.yaml

  # If a run waits for the key, let it absorb this trigger
  kubectl jobrun trigger sync-users --key org_acme --coalesce -f job.yaml

  # Wait for the outcome, and print the run's output
  kubectl jobrun trigger sync-users --key org_acme --input '{"org":"acme"}' -f job.yaml --wait -o jsonpath='{.status.output}'

  # One container, no file
  kubectl jobrun trigger hello --image busybox:1.37 --wait -- echo hello

  # Predict what becomes of the trigger, and change nothing
  kubectl jobrun trigger sync-users --key org_acme --coalesce --dry-run=server

  # A run without a template and without a definition waits for an external worker
  kubectl jobrun trigger resize --input @image.json`

func newTrigger(p *plugin) *cobra.Command {
	o := newTriggerOptions(p)
	cmd := &cobra.Command{
		Use:   "trigger [JOB] [-f FILE] [--key KEY] [--coalesce] [--input JSON] [--wait] [--image IMAGE [-- COMMAND [ARG...]]]",
		Short: "Trigger a run of a job",
		Long: `Trigger a run of a job: create a JobRun, and print what became of the trigger.

created     it became a run
coalesced   a run that waits for the same key absorbed it
idempotent  it was delivered before, and the run of that delivery stands for it

If a JobDefinition defines JOB, the trigger is complete with its name and its input:
"kubectl jobrun definitions" lists what is defined, and "describe definition JOB" shows
the fields of the input, and what else a trigger may set. Without a definition, a file or
the flags give the whole run.

A trigger that finds a run waiting for its key is refused as a conflict (exit code
3), unless it asks to coalesce. While the key is reserved for a run that does not exist,
because its create is under way or was refused, trigger tries again, at most for
--timeout (exit code 7).`,
		Example:               triggerExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(oneJob),
		ValidArgsFunction:     p.completeJobs,
		RunE:                  runE(o),
	}
	o.addTo(cmd)
	return cmd
}

// split separates the job from the command that follows "--".
func split(cmd *cobra.Command, args []string) (jobName string, command []string) {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	return first(args), command
}

func oneJob(cmd *cobra.Command, args []string) error {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args = args[:dash]
	}
	if len(args) > 1 {
		return fmt.Errorf("one JOB is triggered at a time, not %s (the command of a container follows --)", strings.Join(args, " and "))
	}
	return nil
}

func (o *triggerOptions) Run(ctx context.Context) error {
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	r := o.request
	options := append(o.triggerOptions(), jobrun.WithLabels(r.Labels), jobrun.WithAnnotations(r.Annotations))
	if r.Name != "" {
		options = append(options, jobrun.WithName(r.Name))
	}
	if r.GenerateName != "" {
		options = append(options, jobrun.WithGenerateName(r.GenerateName))
	}
	result, err := o.untilNotReserved(ctx, func() (jobrun.TriggerResult, error) {
		return o.runs.Trigger(ctx, r.Spec, options...)
	})
	if err != nil {
		err = definedHint(o.unanswered(ctx, o.plugin, err), r.Spec.JobName)
		return conflictHint(err, r.Spec.ConcurrencyKey != "" && r.Spec.Coalesce == "")
	}
	return o.show(ctx, o.plugin, result)
}

// answerOptions are the flags that tell what to do with the answer to a trigger.
type answerOptions struct {
	timeLimited
	dryRun string
	wait   bool
	// cancels lets an interrupt end what this command created.
	cancels bool
	output  output
}

func (o *answerOptions) addTo(cmd *cobra.Command, out io.Writer) {
	flags := cmd.Flags()
	flags.StringVar(&o.dryRun, "dry-run", "none", `"server" predicts what becomes of the trigger, and changes nothing.`)
	flags.BoolVar(&o.wait, "wait", false, "Wait for the outcome of the JobRun.")
	flags.BoolVar(&o.cancels, "cancel-on-interrupt", false,
		"With --wait, Ctrl-C or SIGTERM cancels the JobRun that this command created. If that is a receipt, the run that stands for it goes on.")
	o.timeLimited.addTo(flags)
	o.output.addTo(cmd, out)
}

func (o *answerOptions) check() error {
	switch {
	case o.dryRun == "client":
		return usagef("--dry-run=client: only the API server knows what becomes of a trigger; use --dry-run=server")
	case o.dryRun != "none" && !o.isDryRun():
		return usagef("--dry-run=%s: must be server or none", o.dryRun)
	case o.isDryRun() && o.wait:
		return usagef("--dry-run has no outcome to wait for: leave --wait or --dry-run out")
	case o.cancels && !o.wait:
		return usagef("--cancel-on-interrupt needs --wait: without it the command ends before the run does")
	}
	return errors.Join(o.timeLimited.check(), o.output.check())
}

func (o *answerOptions) isDryRun() bool { return o.dryRun == "server" }

func (o *answerOptions) triggerOptions() []jobrun.TriggerOption {
	if o.isDryRun() {
		return []jobrun.TriggerOption{jobrun.DryRun()}
	}
	return nil
}

// show prints what became of a trigger and, with --wait, the outcome.
func (o *answerOptions) show(ctx context.Context, p *plugin, result jobrun.TriggerResult) error {
	run := result.JobRun
	if o.output.isForPeople() {
		fmt.Fprintln(p.Streams.Out, triggerLine(result, o.isDryRun()))
	} else if !o.wait {
		return o.output.run(run)
	}
	if !o.wait {
		return nil
	}
	err := p.await(ctx, run.Name, &o.output, func(ctx context.Context, options ...jobrun.WaitOption) (jobrun.Outcome, error) {
		return p.runs.WaitFor(ctx, run, options...)
	})
	var waits *unfinished
	if o.cancels && errors.As(err, &waits) && errors.Is(err, errInterrupted) {
		return p.cancelOwn(ctx, run, waits.run)
	}
	return redeliveredHint(err, result)
}

// triggerLine returns the line for a trigger's disposition, in kubectl's words where it has some.
func triggerLine(result jobrun.TriggerResult, dryRun bool) string {
	line := qualified(result.JobRun.Name) + " "
	switch result.Disposition {
	case v1alpha1.DispositionCoalesced, v1alpha1.DispositionIdempotent:
		line += fmt.Sprintf("%s: run %s stands for it", strings.ToLower(string(result.Disposition)), result.Run.Name)
	default:
		line += "created"
	}
	if dryRun {
		line += " (server dry run)"
	}
	return line
}
