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

const workerLong = `Execute the runs of a job that have no template: claim them, the oldest first, and run
CMD for each, until Ctrl-C.

CMD has the input of its run as JSON on stdin and in JOBRUN_INPUT (null if there is
none), and JOBRUN_NAME, JOBRUN_NAMESPACE, JOBRUN_JOB_NAME, JOBRUN_CONCURRENCY_KEY and
the fencing tokens JOBRUN_GENERATION and JOBRUN_KEY_VERSION, as a Job's container does.

The last JSON value on its stdout is the output of the run: one that begins in the first
column of a line and ends a line. Stdout without one is no output, and no failure. An
exit code other than 0 fails the run, with the last line of stderr.

When a run is cancelled or its lease is lost, CMD and all that it has started get SIGTERM,
and SIGKILL after --grace-period; nothing of them is reported. At Ctrl-C or SIGTERM the
worker claims nothing more and lets what it executes go on for --grace-period, then stops
it in the same way and gives its runs back. What CMD leaves running when it exits is
killed.`

const workerExample = `  # Execute the runs of the job resize, four at once
  kubectl jobrun worker --job resize --concurrency 4 -- ./resize.sh

  # One command for two jobs
  kubectl jobrun worker --job resize --job thumbnail -- sh -c 'exec ./$JOBRUN_JOB_NAME.sh'`

// working is the command `worker`.
type working struct {
	*plugin
	jobs          []string
	concurrency   int
	identity      string
	leaseDuration time.Duration
	grace         time.Duration

	command *command.Command
	log     *slog.Logger
	// quit ends the worker for a reason of its own.
	quit context.CancelCauseFunc
}

func newWorker(p *plugin) *cobra.Command {
	w := &working{plugin: p}
	cmd := &cobra.Command{
		Use:                   "worker --job JOB [--job JOB...] [--concurrency N] [--grace-period D] -- CMD [ARG...]",
		Short:                 "Execute runs without a template, with a command",
		Long:                  workerLong,
		Example:               workerExample,
		DisableFlagsInUseLine: true,
		Args:                  arguments(commandOnly),
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE:                  func(cmd *cobra.Command, args []string) error { return w.run(cmd.Context(), args) },
	}
	w.add(cmd.Flags())
	p.completeFlagWithJobs(cmd)
	return cmd
}

func (w *working) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&w.jobs, "job", nil, "Job whose runs are executed. May be repeated.")
	flags.IntVar(&w.concurrency, "concurrency", 1, "How many runs are executed at once.")
	flags.StringVar(&w.identity, "name", "",
		"Holder of what is claimed, and name of the worker's Lease. It must be this process's alone. Without it: the host, and ten random characters.")
	addLeaseDuration(flags, &w.leaseDuration)
	flags.DurationVar(&w.grace, "grace-period", 10*time.Second,
		"How long CMD may go on after SIGTERM, and before that when the worker is told to end.")
}

func addLeaseDuration(flags *pflag.FlagSet, duration *time.Duration) {
	flags.DurationVar(duration, "lease-duration", v1alpha1.DefaultLeaseDurationSeconds*time.Second,
		"How long the lease of a run lives without renewal, unless its spec.leaseDurationSeconds says.")
}

// commandOnly takes what follows "--", and nothing else.
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
	return errors.New("which command? Name it behind --")
}

func (w *working) check() error {
	switch {
	case len(w.jobs) == 0:
		return usagef("which job? Name it with --job")
	case w.concurrency < 1:
		return usagef("--concurrency %d: must be at least 1", w.concurrency)
	case w.grace < 0:
		return usagef("--grace-period %s: must not be negative", w.grace)
	}
	for _, job := range w.jobs {
		if problems := validation.IsDNS1123Label(job); len(problems) > 0 {
			return usagef("--job %s: %s", job, problems[0])
		}
	}
	if problems := validation.IsDNS1123Subdomain(w.identity); w.identity != "" && len(problems) > 0 {
		return usagef("--name %s: %s", w.identity, problems[0])
	}
	return checkLeaseDuration(w.leaseDuration)
}

// maxLeaseDuration is what the schema allows.
const maxLeaseDuration = 24 * time.Hour

func checkLeaseDuration(d time.Duration) error {
	if d < time.Second || d > maxLeaseDuration || d%time.Second != 0 {
		return usagef("--lease-duration %s: must be whole seconds, from 1s to %s", d, maxLeaseDuration)
	}
	return nil
}

func (w *working) run(ctx context.Context, args []string) (err error) {
	if err := w.check(); err != nil {
		return err
	}
	if w.command, err = command.Find(args[0], args[1:]...); err != nil {
		return usagef("the command cannot be run: %w", err)
	}
	w.command.Grace = w.grace
	c, err := w.connected()
	if err != nil {
		return err
	}
	w.log = slog.New(slog.NewTextHandler(w.Streams.ErrOut, nil))
	ctx, w.quit = context.WithCancelCause(ctx)
	defer w.quit(nil)
	pool := worker.New(c.api, w.options(c.namespace))
	for _, job := range w.jobs {
		pool.Handle(job, w.execute)
	}
	w.log.Info("Wait for runs", "jobs", w.jobs, "namespace", c.namespace, "worker", pool.Identity())
	err = pool.Run(ctx)
	var cannot *command.StartError
	if errors.As(context.Cause(ctx), &cannot) {
		return errors.Join(cannot, err)
	}
	return err
}

func (w *working) options(namespace string) worker.Options {
	o := worker.Options{
		Namespace: namespace, Identity: w.identity, Concurrency: w.concurrency, LeaseDuration: w.leaseDuration,
		ShutdownGrace: w.grace, StopGrace: w.grace + 5*command.Drain, Logger: w.log,
	}
	if w.grace == 0 {
		o.ShutdownGrace = -1
	}
	return o
}

// execute runs the command for a run.
func (w *working) execute(ctx context.Context, run *worker.Run) (any, error) {
	log := w.log.With("run", run.Name, "generation", run.Generation)
	input := inputOf(run)
	began := time.Now()
	log.Info("Execute a run")
	stdout, stderr := w.shown(w.Streams.Out, run.Name), w.shown(w.Streams.ErrOut, run.Name)
	output, err := w.command.Run(ctx, command.Execution{Env: environment(run, input), Stdin: input + "\n", Stdout: stdout, Stderr: stderr})
	stdout.flush()
	stderr.flush()
	took := time.Since(began).Round(time.Millisecond)
	var cannot *command.StartError
	switch {
	case errors.As(err, &cannot) && cannot.Hopeless():
		w.quit(cannot) // or it would fail every run there is
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

// shown is where a run's command writes: if several do, line by line, each with the
// name of its run in front.
func (w *working) shown(out io.Writer, name string) *prefixed {
	if w.concurrency == 1 {
		name = ""
	}
	return &prefixed{out: out, name: name}
}

// inputOf is the input of a run as JSON; null if there is none.
func inputOf(run *worker.Run) string {
	input := json.RawMessage("null")
	// It is JSON, for the API server has parsed it.
	_ = run.Input(&input)
	return string(input)
}

// environment is what a Job's containers have as well.
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
