// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

const triggerExample = `  # Run the job sync-users for the key org_acme, unless a run of it waits already
  kubectl jobrun trigger sync-users --key org_acme -f job.yaml

  # Let the run that waits, if one does, stand for this trigger
  kubectl jobrun trigger sync-users --key org_acme --coalesce -f job.yaml

  # Wait for the outcome, and print what the run put out
  kubectl jobrun trigger sync-users --key org_acme --input '{"org":"acme"}' -f job.yaml --wait -o jsonpath='{.status.output}'

  # One container, no file
  kubectl jobrun trigger hello --image busybox:1.37 --wait -- echo hello

  # What would become of the trigger? Changes nothing
  kubectl jobrun trigger sync-users --key org_acme --coalesce --dry-run=server

  # A run without a template waits for an external worker
  kubectl jobrun trigger resize --input @image.json`

type trigger struct {
	*plugin
	flags  triggerFlags
	after  afterwards
	output *output
}

func newTrigger(p *plugin) *cobra.Command {
	t := &trigger{plugin: p}
	cmd := &cobra.Command{
		Use:   "trigger [JOB] [-f FILE] [--key KEY] [--coalesce] [--input JSON] [--wait] [--image IMAGE [-- COMMAND [ARG...]]]",
		Short: "Trigger a run of a job",
		Long: `Trigger a run of a job: create a JobRun, and say what became of it.

created     it is a run of its own
coalesced   a run that waits for the same key absorbed it, and stands for it
idempotent  it was delivered before, and the run of that delivery stands for it

A trigger that finds a run waiting for its key is refused as a conflict (exit code
3), unless it asks to coalesce.`,
		Example:               triggerExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(oneJob),
		ValidArgsFunction:     p.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			jobName, command := split(cmd, args)
			return t.run(cmd.Context(), jobName, command)
		},
	}
	t.flags.add(cmd.Flags())
	t.after.add(cmd.Flags())
	t.output = newOutput(cmd, p.Streams.Out)
	return cmd
}

// split tells the job from the command that follows "--".
func split(cmd *cobra.Command, args []string) (jobName string, command []string) {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	if len(args) > 0 {
		jobName = args[0]
	}
	return jobName, command
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

func (t *trigger) run(ctx context.Context, jobName string, command []string) error {
	if err := t.after.check(); err != nil {
		return err
	}
	if err := t.output.check(); err != nil {
		return err
	}
	r, err := t.flags.request(jobName, command, &sources{stdin: t.Streams.In})
	if err != nil {
		return err
	}
	c, err := t.connected()
	if err != nil {
		return err
	}
	if c, err = r.in(c); err != nil {
		return err
	}
	ctx, cancel := within(ctx, t.after.timeout)
	defer cancel()
	result, err := c.runs.Trigger(ctx, r.spec, append(r.options(), t.after.options()...)...)
	if err != nil {
		return conflictHint(unlessStopped(ctx, err), r.spec.ConcurrencyKey != "" && r.spec.Coalesce == "")
	}
	return t.after.show(ctx, t.plugin, c, result, t.output)
}

// afterwards says what follows a trigger.
type afterwards struct {
	waiting
	dryRun string
	wait   bool
}

func (a *afterwards) add(flags *pflag.FlagSet) {
	flags.StringVar(&a.dryRun, "dry-run", "none", `"server" says what would become of the trigger, and changes nothing.`)
	flags.BoolVar(&a.wait, "wait", false, "Wait for the outcome of the run that stands for the trigger.")
	a.waiting.add(flags)
}

func (a *afterwards) check() error {
	switch a.dryRun {
	case "none", "server":
	case "client":
		return usagef("--dry-run=client: what becomes of a trigger is known to the API server alone; use --dry-run=server")
	default:
		return usagef("--dry-run=%s: must be server or none", a.dryRun)
	}
	if a.isDryRun() && a.wait {
		return usagef("a dry run has no outcome to wait for: leave --wait or --dry-run out")
	}
	return a.waiting.check()
}

func (a *afterwards) isDryRun() bool { return a.dryRun == "server" }

func (a *afterwards) options() []jobrun.TriggerOption {
	if a.isDryRun() {
		return []jobrun.TriggerOption{jobrun.DryRun()}
	}
	return nil
}

// show says what became of a trigger and, if asked to, waits for the outcome.
func (a *afterwards) show(ctx context.Context, p *plugin, c *cluster, result jobrun.TriggerResult, o *output) error {
	run := result.JobRun
	if o.isForPeople() {
		fmt.Fprintln(p.Streams.Out, triggerLine(result, a.isDryRun()))
	} else if !a.wait {
		return o.object(run, func() *metav1.Table { return jobRunTable(run, time.Now()) })
	}
	if !a.wait {
		return nil
	}
	return p.await(ctx, run.Name, o, func(ctx context.Context, options ...jobrun.WaitOption) (jobrun.Outcome, error) {
		return c.runs.WaitFor(ctx, run, options...)
	})
}

// triggerLine says what became of a trigger, in kubectl's words where it has some.
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
