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
It is refused with exit code 6 if the lease was lost: it was not renewed in time, or the
run was cancelled. Somebody else may execute the run then: stop working on it.`

func newRenew(p *plugin) *cobra.Command {
	h := &held{plugin: p, done: "renewed", wrote: never}
	h.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Renew(h.generation, time.Now()) }
	return h.command("renew NAME --generation G", "Renew the lease of a run that you claimed",
		`Renew the lease of a run that you claimed, by one write of status.lease.renewTime. Do so
at a third of the duration of the lease.
`+heldLong, func() error { return nil })
}

func newProgress(p *plugin) *cobra.Command {
	h := &held{plugin: p, done: "reported", wrote: never}
	var current, total int64
	var message string
	h.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Report(h.generation, current, total, message) }
	cmd := h.command("progress NAME --generation G --current N [--total N] [--message TEXT]", "Say how far a run is that you claimed",
		`Say how far a run is that you claimed. This renews nothing.
`+heldLong, func() error {
			if current < 0 || total < 0 {
				return usagef("--current and --total must not be negative")
			}
			return nil
		})
	cmd.Flags().Int64Var(&current, "current", 0, "How much is done.")
	cmd.Flags().Int64Var(&total, "total", 0, "How much there is to do; 0 is not known.")
	cmd.Flags().StringVar(&message, "message", "", "One line for people.")
	return cmd
}

func newComplete(p *plugin) *cobra.Command {
	h := &held{plugin: p, done: "completed"}
	h.wrote = h.endedAs(v1alpha1.PhaseCompleted)
	var value string
	var output json.RawMessage
	h.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Complete(h.generation, output) }
	cmd := h.command("complete NAME --generation G [--output JSON]", "Complete a run that you claimed",
		`Complete a run that you claimed. If it was completed under this generation already, as by
a request whose answer was lost, that is no error.
`+heldLong, func() error {
			if value == "" {
				return nil
			}
			parsed, err := parseJSON("output", value, &sources{stdin: p.Streams.In})
			if err == nil {
				output = parsed.Raw
			}
			return err
		})
	cmd.Flags().StringVar(&value, "output", "", "Output of the run: JSON, or @FILE or - for stdin with JSON in it.")
	return cmd
}

func newFail(p *plugin) *cobra.Command {
	h := &held{plugin: p, done: "failed"}
	h.wrote = h.endedAs(v1alpha1.PhaseFailed)
	var message string
	h.patch = func(*v1alpha1.JobRun) holder.Patch { return holder.Fail(h.generation, message) }
	cmd := h.command("fail NAME --generation G --error TEXT", "Fail a run that you claimed",
		`Fail a run that you claimed. If it failed under this generation already, that is no error.
`+heldLong, func() error {
			if message == "" {
				return usagef("why did it fail? Say so with --error")
			}
			return nil
		})
	cmd.Flags().StringVar(&message, "error", "", "One line for people: why it failed.")
	return cmd
}

func newRelease(p *plugin) *cobra.Command {
	h := &held{plugin: p, done: "released"}
	h.wrote = func(run *v1alpha1.JobRun) bool { // or the lease has ended by itself, which is the same
		l := run.Status.Lease
		return l != nil && l.Generation == h.generation+1 && l.HolderIdentity == ""
	}
	h.patch = func(run *v1alpha1.JobRun) holder.Patch { return holder.GiveBack(run, h.generation) }
	return h.command("release NAME --generation G", "Give back a run that you claimed",
		`Give back a run that you claimed: it waits again, for whoever claims it. Stop working on it
first. No attempt is counted. If another run waits for its key already, it fails.
`+heldLong, func() error { return nil })
}
