// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

const heldLong = `

Exit code 6 means that the lease was lost: it was not renewed in time, or the run was
cancelled. Another worker may execute the run then: stop working on it.`

func newRenew(p *plugin) *cobra.Command {
	o := newHoldOptions(p, "renewed")
	o.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Renew(o.generation, time.Now()) }
	return o.command(&o, "renew NAME --generation G", "Renew the lease of a run that you claimed",
		`Renew the lease of a run that you claimed, by one write of status.lease.renewTime. Renew
it at a third of the lease's duration.`)
}

type progressOptions struct {
	holdOptions
	current, total int64
	message        string
}

func newProgress(p *plugin) *cobra.Command {
	o := &progressOptions{holdOptions: newHoldOptions(p, "reported")}
	o.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Report(o.generation, o.current, o.total, o.message) }
	cmd := o.command(o, "progress NAME --generation G --current N [--total N] [--message TEXT]",
		"Report the progress of a run that you claimed", "Report the progress of a run that you claimed. This does not renew the lease.")
	cmd.Flags().Int64Var(&o.current, "current", 0, "Amount done.")
	cmd.Flags().Int64Var(&o.total, "total", 0, "Amount to do; 0 means unknown.")
	cmd.Flags().StringVar(&o.message, "message", "", "One line for people.")
	return cmd
}

func (o *progressOptions) Validate() error {
	if o.current < 0 || o.total < 0 {
		return usagef("--current and --total must not be negative")
	}
	return o.holdOptions.Validate()
}

type completeOptions struct {
	holdOptions
	value  string
	output json.RawMessage
}

func newComplete(p *plugin) *cobra.Command {
	o := &completeOptions{holdOptions: newHoldOptions(p, "completed")}
	o.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Complete(o.generation, o.output) }
	o.wrote = o.endedAs(v1alpha1.PhaseCompleted)
	cmd := o.command(o, "complete NAME --generation G [--output JSON]", "Complete a run that you claimed",
		`Complete a run that you claimed. To complete it again under the same generation is not
an error: the answer to the first request may have been lost.`)
	cmd.Flags().StringVar(&o.value, "output", "", "Output of the run: JSON, @FILE with JSON, or - for JSON from stdin.")
	return cmd
}

// Complete also reads the output.
func (o *completeOptions) Complete(cmd *cobra.Command, args []string) error {
	if o.value != "" {
		output, err := parseJSON("output", o.value, &sources{stdin: o.Streams.In})
		if err != nil {
			return err
		}
		o.output = output.Raw
	}
	return o.holdOptions.Complete(cmd, args)
}

type failOptions struct {
	holdOptions
	message string
}

func newFail(p *plugin) *cobra.Command {
	o := &failOptions{holdOptions: newHoldOptions(p, "failed")}
	o.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Fail(o.generation, o.message) }
	o.wrote = o.endedAs(v1alpha1.PhaseFailed)
	cmd := o.command(o, "fail NAME --generation G --error TEXT", "Fail a run that you claimed",
		"Fail a run that you claimed. To fail it again under the same generation is not an error.")
	cmd.Flags().StringVar(&o.message, "error", "", "One line for people: why the run failed.")
	return cmd
}

func (o *failOptions) Validate() error {
	if o.message == "" {
		return usagef("why did it fail? Say so with --error")
	}
	return o.holdOptions.Validate()
}

func newRelease(p *plugin) *cobra.Command {
	o := newHoldOptions(p, "released")
	o.patch = func(run *v1alpha1.JobRun) holder.Patch { return holder.GiveBack(run, o.generation) }
	o.wrote = func(run *v1alpha1.JobRun) bool { // an expired lease looks the same, and is as good
		l := run.Status.Lease
		return l != nil && l.Generation == o.generation+1 && l.HolderIdentity == ""
	}
	return o.command(&o, "release NAME --generation G", "Give back a run that you claimed",
		`Give back a run that you claimed: it waits for another claim. Stop working on it first.
No attempt is counted. If another run waits for its key already, the run fails.`)
}
