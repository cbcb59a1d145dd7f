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

// leaseLost is that a generation does not hold the lease of a run any more.
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

// held is what the commands for the holder of a lease have in common.
type held struct {
	*plugin
	generation int64
	holder     string
	timeout    time.Duration
	// done says what was done.
	done string
	// patch is what the holder writes.
	patch func(*v1alpha1.JobRun) holder.Patch
	// wrote reports whether the run, which the generation does not hold, is as the
	// patch leaves it.
	wrote func(*v1alpha1.JobRun) bool
}

func (h *held) command(use, short, long string, prepare func() error) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   use,
		Short:                 short,
		Long:                  long,
		DisableFlagsInUseLine: true,
		Args:                  arguments(cobra.ExactArgs(1)),
		ValidArgsFunction:     h.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := prepare(); err != nil {
				return err
			}
			return h.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().Int64Var(&h.generation, "generation", 0, "Generation of the lease, as claim printed it.")
	cmd.Flags().StringVar(&h.holder, "holder", "", "Refuse if the lease is not this holder's.")
	cmd.Flags().DurationVar(&h.timeout, "timeout", 0, "Give up after this long without an answer; by default after two thirds of the lease's duration, or of 30s while the run cannot be read.")
	return cmd
}

func (h *held) run(ctx context.Context, argument string) error {
	name, err := parseName(argument)
	if err != nil {
		return err
	}
	if h.generation < 1 {
		return usagef("which lease? Name its --generation, as claim printed it")
	}
	if h.timeout < 0 {
		return usagef("--timeout must not be negative")
	}
	c, err := h.connected()
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx, h.timeout)
	defer cancel()
	begin := time.Now()
	run, err := h.read(ctx, c, name)
	if err != nil {
		return err
	}
	if !h.holds(run) {
		if !h.wrote(run) {
			return &leaseLost{run, h.generation}
		}
	} else if err := h.send(ctx, c, run, begin); err != nil {
		return err
	}
	fmt.Fprintf(h.Streams.Out, "%s %s\n", qualified(name), h.done)
	return nil
}

// holds reports whether the lease is this generation's. The operator ends what is
// cancelled, and no report of its holder counts.
func (h *held) holds(run *v1alpha1.JobRun) bool {
	return !run.CancelRequested() && run.Status.Phase == v1alpha1.PhaseLeased && run.LeaseGeneration() == h.generation &&
		(h.holder == "" || run.Status.Lease.HolderIdentity == h.holder)
}

// patienceOf is how long an answer is waited for. Whoever renews at a third of the
// lease's duration then hears in time that it is over.
func patienceOf(run *v1alpha1.JobRun) time.Duration {
	return patience(cmp.Or(run.Status.Lease.DurationSeconds, v1alpha1.DefaultLeaseDurationSeconds))
}

func patience(leaseSeconds int32) time.Duration {
	return time.Duration(leaseSeconds) * time.Second * 2 / 3
}

// read reads the run, whose lease lasts nobody knows how long yet.
func (h *held) read(ctx context.Context, c *cluster, name string) (run *v1alpha1.JobRun, err error) {
	ctx, cancel := within(ctx, patience(v1alpha1.DefaultLeaseDurationSeconds))
	defer cancel()
	err = h.answered(ctx, func(call context.Context) (err error) {
		run, err = c.runs.Get(call, name)
		return err
	})
	return run, err
}

// send sends the patch until the answer is known, or the lease may be over.
func (h *held) send(ctx context.Context, c *cluster, run *v1alpha1.JobRun, begin time.Time) error {
	ctx, cancel := within(ctx, max(patienceOf(run)-time.Since(begin), 1))
	defer cancel()
	err := h.answered(ctx, func(call context.Context) error {
		_, err := h.patch(run).Send(call, c.api, run) // A renewal that is sent again has the time of that.
		return err
	})
	if holder.RefusedForGood(err) {
		return h.refused(ctx, c, run, err)
	}
	return err
}

// answered calls until there is an answer, or the time for it is over.
func (h *held) answered(ctx context.Context, call func(context.Context) error) error {
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

// refused tells a lease that is lost from a write that the API server does not take.
func (h *held) refused(ctx context.Context, c *cluster, was *v1alpha1.JobRun, err error) error {
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return err
	}
	run, failed := c.runs.Get(ctx, was.Name)
	switch {
	case failed != nil:
		return errors.Join(err, failed)
	case run.UID == was.UID && h.holds(run):
		return err
	case run.UID == was.UID && h.wrote(run):
		return nil
	default:
		return &leaseLost{run, h.generation}
	}
}

// endedAs reports whether the generation itself has ended the run so: by an earlier
// request whose answer was lost.
func (h *held) endedAs(phase v1alpha1.Phase) func(*v1alpha1.JobRun) bool {
	return func(run *v1alpha1.JobRun) bool {
		return run.Status.Phase == phase && run.Status.FinishedGeneration == h.generation
	}
}

func never(*v1alpha1.JobRun) bool { return false }
