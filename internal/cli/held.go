// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// leaseLost means that a generation no longer holds the lease of a run.
type leaseLost struct {
	run        *v1alpha1.JobRun
	generation int64
}

func (e *leaseLost) Error() string {
	if e.run.CancelRequested() {
		return fmt.Sprintf("run %s was cancelled: stop working on it", e.run.Name)
	}
	return fmt.Sprintf("generation %d has lost the lease of the run: stop working on it (%s)", e.generation, stateLine(e.run))
}

// holdOptions are the options of a command for the holder of a lease.
type holdOptions struct {
	named
	generation int64
	holder     string
	timeout    time.Duration

	// done is the word to print after a success.
	done  string
	patch func(*v1alpha1.JobRun) holder.Patch
	// wrote reports whether a run looks as if this command has already written its patch. It is called when the
	// generation has lost the lease: the answer to an earlier request may be lost. nil means never.
	wrote func(*v1alpha1.JobRun) bool
}

func newHoldOptions(p *plugin, done string) holdOptions {
	return holdOptions{named: named{plugin: p}, done: done}
}

// command returns a command of the holder, and adds the flags that all of them have.
func (o *holdOptions) command(self options, use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   use,
		Short:                 short,
		Long:                  long + heldLong,
		DisableFlagsInUseLine: true,
		Args:                  arguments(one("NAME")),
		ValidArgsFunction:     o.completeRuns,
		RunE:                  runE(self),
	}
	cmd.Flags().Int64Var(&o.generation, "generation", 0, "Generation of the lease, as claim printed it.")
	cmd.Flags().StringVar(&o.holder, "holder", "", "Refuse the write if another holder has the lease.")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0,
		"Give up after this time without an answer. Default: two thirds of the lease's duration, or of 30s while the run cannot be read.")
	return cmd
}

func (o *holdOptions) Validate() error {
	if o.generation < 1 {
		return usagef("which lease? Name its --generation, as claim printed it")
	}
	if o.timeout < 0 {
		return usagef("--timeout must not be negative")
	}
	return nil
}

// Run sends the patch if the generation holds the run.
func (o *holdOptions) Run(ctx context.Context) error {
	ctx, cancel := within(ctx, o.timeout)
	defer cancel()
	begin := time.Now()
	run, err := o.read(ctx)
	if err != nil {
		return err
	}
	if o.holds(run) {
		err = o.send(ctx, run, begin)
	} else {
		err = o.lost(run)
	}
	if err == nil {
		fmt.Fprintf(o.Streams.Out, "%s %s\n", qualified(o.name), o.done)
	}
	return err
}

// holds reports whether the generation has the lease. The operator ends a cancelled run, and ignores its holder.
func (o *holdOptions) holds(run *v1alpha1.JobRun) bool {
	return !run.CancelRequested() && run.Status.Phase == v1alpha1.PhaseLeased && run.LeaseGeneration() == o.generation &&
		(o.holder == "" || run.Status.Lease.HolderIdentity == o.holder)
}

// lost returns nil if an earlier request has written the patch, else a *leaseLost.
func (o *holdOptions) lost(run *v1alpha1.JobRun) error {
	if o.wrote != nil && o.wrote(run) {
		return nil
	}
	return &leaseLost{run, o.generation}
}

// patience returns how long to wait for an answer. A holder that renews at a third of the
// lease's duration then learns in time that its lease is over.
func patience(leaseSeconds int32) time.Duration {
	return time.Duration(leaseSeconds) * time.Second * 2 / 3
}

// read reads the run. Its lease duration is not known yet, so the time limit comes from the default duration.
func (o *holdOptions) read(ctx context.Context) (run *v1alpha1.JobRun, err error) {
	ctx, cancel := within(ctx, patience(v1alpha1.DefaultLeaseDurationSeconds))
	defer cancel()
	err = answered(ctx, func(call context.Context) (err error) {
		run, err = o.runs.Get(call, o.name)
		return err
	})
	return run, err
}

// send sends the patch until the answer is known, or the lease may be over.
func (o *holdOptions) send(ctx context.Context, run *v1alpha1.JobRun, begin time.Time) error {
	limit := patience(cmp.Or(run.Status.Lease.DurationSeconds, v1alpha1.DefaultLeaseDurationSeconds))
	ctx, cancel := within(ctx, max(limit-time.Since(begin), 1))
	defer cancel()
	err := answered(ctx, func(call context.Context) error {
		_, err := o.patch(run).Send(call, o.api, run) // each attempt writes its own renewTime
		return err
	})
	if holder.RefusedForGood(err) {
		return o.refused(ctx, run, err)
	}
	return err
}

// answered repeats a call until the API server answers, or the context ends.
func answered(ctx context.Context, call func(context.Context) error) error {
	backoff := holder.NewBackoff()
	for {
		limited, done := context.WithTimeout(ctx, holder.CallTimeout)
		err := call(limited)
		done()
		if err == nil || holder.RefusedForGood(err) {
			return err
		}
		if !holder.Pause(ctx, realClock, backoff.Step()) {
			return unlessStopped(ctx, err)
		}
	}
}

// refused returns the error of a refused write: *leaseLost if the lease is lost, else err.
func (o *holdOptions) refused(ctx context.Context, was *v1alpha1.JobRun, err error) error {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return err
	}
	run, failed := o.runs.Get(ctx, was.Name)
	switch {
	case failed != nil:
		return errors.Join(err, failed)
	case run.UID != was.UID:
		return &leaseLost{run, o.generation}
	case o.holds(run):
		return err
	default:
		return o.lost(run)
	}
}

// endedAs reports whether the generation itself has ended the run in a phase.
func (o *holdOptions) endedAs(phase v1alpha1.Phase) func(*v1alpha1.JobRun) bool {
	return func(run *v1alpha1.JobRun) bool {
		return run.Status.Phase == phase && run.Status.FinishedGeneration == o.generation
	}
}
