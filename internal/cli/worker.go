// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/command"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const workerLong = `Execute the runs of a job with CMD, until Ctrl-C. The worker claims the runs that have no
template, the oldest first, and runs CMD once for each.

CMD gets the input of its run as JSON on stdin and in JOBRUN_INPUT (null if there is
none), and JOBRUN_NAME, JOBRUN_NAMESPACE, JOBRUN_JOB_NAME, JOBRUN_CONCURRENCY_KEY and
the fencing tokens JOBRUN_GENERATION and JOBRUN_KEY_VERSION, like a Job's container.

The last JSON value on stdout is the run's output. It must begin in the first column of
a line, and nothing may follow it in its last line. A run without a JSON value still
completes. An exit code other than 0 fails the run, with the last line of stderr.

When a run is cancelled or its lease is lost, CMD and its children get SIGTERM, and
SIGKILL after --grace-period. The worker does not report their result. At Ctrl-C or
SIGTERM the worker claims no more runs. It lets CMD continue for --grace-period, then
stops it in the same way and gives its run back. Children that CMD leaves behind are
killed.`

const workerExample = `  # Execute the runs of the job resize, four at once
  kubectl jobrun worker --job resize --concurrency 4 -- ./resize.sh

  # One command for two jobs
  kubectl jobrun worker --job resize --job thumbnail -- sh -c 'exec ./$JOBRUN_JOB_NAME.sh'`

type workerOptions struct {
	*plugin
	jobs          []string
	concurrency   int
	identity      string
	leaseDuration time.Duration
	grace         time.Duration

	command *command.Command
	log     *slog.Logger
	// quit ends the worker with an error as the cause.
	quit context.CancelCauseFunc
}

func newWorkerOptions(p *plugin) *workerOptions {
	return &workerOptions{plugin: p, log: slog.New(slog.NewTextHandler(p.Streams.ErrOut, nil))}
}

func newWorker(p *plugin) *cobra.Command {
	o := newWorkerOptions(p)
	cmd := &cobra.Command{
		Use:                   "worker --job JOB [--job JOB...] [--concurrency N] [--grace-period D] -- CMD [ARG...]",
		Short:                 "Execute runs without a template, with a command",
		Long:                  workerLong,
		Example:               workerExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(commandOnly),
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE:                  runE(o),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.jobs, "job", nil, "Job whose runs are executed. May be repeated.")
	flags.IntVar(&o.concurrency, "concurrency", 1, "Number of runs to execute at once.")
	flags.StringVar(&o.identity, "name", "",
		"Holder of the leases, and name of the worker's Lease. Each process needs its own. Default: the host's name and ten random characters.")
	addLeaseDuration(flags, &o.leaseDuration)
	flags.DurationVar(&o.grace, "grace-period", 10*time.Second,
		"Time from SIGTERM to SIGKILL for CMD. At Ctrl-C or SIGTERM, the worker first waits this time before it sends SIGTERM to CMD.")
	p.completeFlagWithJobs(cmd)
	return cmd
}

func addLeaseDuration(flags *pflag.FlagSet, duration *time.Duration) {
	flags.DurationVar(duration, "lease-duration", v1alpha1.DefaultLeaseDurationSeconds*time.Second,
		"Time that a lease lives without renewal. A run's spec.leaseDurationSeconds overrides it.")
}

// commandOnly accepts a command after "--", and no other arguments.
func commandOnly(cmd *cobra.Command, args []string) error {
	switch cmd.ArgsLenAtDash() {
	case 0:
		if len(args) > 0 {
			return nil
		}
	case -1:
		if len(args) > 0 {
			return fmt.Errorf("%q: the command follows --", args[0])
		}
	default:
		return fmt.Errorf("%q: jobs are named by --job, and the command follows --", args[0])
	}
	return errors.New("which command? Name it after --")
}

// Complete finds the command.
func (o *workerOptions) Complete(_ *cobra.Command, args []string) (err error) {
	if o.command, err = command.Find(args[0], args[1:]...); err != nil {
		return usagef("the command cannot be run: %w", err)
	}
	return nil
}

func (o *workerOptions) Validate() error {
	switch {
	case len(o.jobs) == 0:
		return usagef("which job? Name it with --job")
	case o.concurrency < 1:
		return usagef("--concurrency %d: must be at least 1", o.concurrency)
	case o.grace < 0:
		return usagef("--grace-period %s: must not be negative", o.grace)
	}
	for _, job := range o.jobs {
		if problems := validation.IsDNS1123Label(job); len(problems) > 0 {
			return usagef("--job %s: %s", job, problems[0])
		}
	}
	if problems := validation.IsDNS1123Subdomain(o.identity); o.identity != "" && len(problems) > 0 {
		return usagef("--name %s: %s", o.identity, problems[0])
	}
	return checkLeaseDuration(o.leaseDuration)
}

// maxLeaseDuration is the maximum of the schema.
const maxLeaseDuration = 24 * time.Hour

func checkLeaseDuration(d time.Duration) error {
	if d < time.Second || d > maxLeaseDuration || d%time.Second != 0 {
		return usagef("--lease-duration %s: must be whole seconds, from 1s to %s", d, maxLeaseDuration)
	}
	return nil
}

func (o *workerOptions) Run(ctx context.Context) error {
	o.command.Grace = o.grace
	ctx, o.quit = context.WithCancelCause(ctx)
	defer o.quit(nil)
	pool := worker.New(o.api, o.poolOptions())
	for _, job := range o.jobs {
		pool.Handle(job, o.execute)
	}
	o.log.Info("Wait for runs", "jobs", o.jobs, "namespace", o.namespace, "worker", pool.Identity())
	err := pool.Run(ctx)
	var cannot *command.StartError
	if errors.As(context.Cause(ctx), &cannot) {
		return errors.Join(cannot, err)
	}
	return err
}

func (o *workerOptions) poolOptions() worker.Options {
	options := worker.Options{
		Namespace: o.namespace, Identity: o.identity, Concurrency: o.concurrency, LeaseDuration: o.leaseDuration,
		ShutdownGrace: o.grace, StopGrace: o.grace + 5*command.Drain, Logger: o.log,
	}
	if o.grace == 0 {
		options.ShutdownGrace = -1
	}
	return options
}

// execute runs the command for a run.
func (o *workerOptions) execute(ctx context.Context, run *worker.Run) (any, error) {
	log := o.log.With("run", run.Name, "generation", run.Generation)
	input := inputOf(run)
	began := time.Now()
	log.Info("Execute a run")
	stdout, stderr := o.shown(o.Streams.Out, run.Name), o.shown(o.Streams.ErrOut, run.Name)
	output, err := o.command.Run(ctx, command.Execution{Env: environment(run, input), Stdin: input + "\n", Stdout: stdout, Stderr: stderr})
	stdout.flush()
	stderr.flush()
	took := time.Since(began).Round(time.Millisecond)
	var cannot *command.StartError
	switch {
	case errors.As(err, &cannot) && cannot.Hopeless():
		o.quit(cannot) // no other run could be executed either
		return nil, fmt.Errorf("%w: %w", worker.ErrGiveBack, err)
	case ctx.Err() != nil:
		log.Info("The command was stopped", "cause", context.Cause(ctx), "took", took)
	case err != nil:
		log.Info("The command failed", "error", err, "took", took)
	default:
		log.Info("The command has ended", "took", took)
	}
	return output, err
}

// shown returns a writer for a run's command. With several runs at once, each line begins with the run's name.
func (o *workerOptions) shown(out io.Writer, name string) *prefixed {
	if o.concurrency == 1 {
		name = ""
	}
	return &prefixed{out: out, name: name}
}

// inputOf returns the input of a run as JSON; null if there is none.
func inputOf(run *worker.Run) string {
	input := json.RawMessage("null")
	// An error is impossible: the API server has parsed the input.
	_ = run.Input(&input)
	return string(input)
}

// environment returns the variables for the command. The containers of a Job have the same ones.
func environment(run *worker.Run, input string) []string {
	return []string{
		v1alpha1.EnvName + "=" + run.Name,
		v1alpha1.EnvNamespace + "=" + run.Namespace,
		v1alpha1.EnvJobName + "=" + run.JobName,
		v1alpha1.EnvInput + "=" + input,
		v1alpha1.EnvConcurrencyKey + "=" + run.ConcurrencyKey,
		v1alpha1.EnvGeneration + "=" + strconv.FormatInt(run.Generation, 10),
		v1alpha1.EnvKeyVersion + "=" + run.KeyVersion,
	}
}
