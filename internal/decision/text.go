// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"fmt"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// String writes a plan on one line: the step, then what is done, in order.
//
//	claim: StopStrays; CheckRun(a); SwapKey(leased=a g1<10); ...
//
// g1<10 is generation 1, claimed from version 10 of the key.
func (p Plan) String() string {
	ops := make([]string, len(p.Ops))
	for i, op := range p.Ops {
		ops[i] = opText(op)
	}
	if p.Step == "" && len(ops) == 0 {
		return ""
	}
	return p.Step + ": " + strings.Join(ops, "; ")
}

func opText(op Op) string {
	switch op := op.(type) {
	case CheckRun:
		return fmt.Sprintf("CheckRun(%s)", op.Run.Name)
	case StopRun:
		return fmt.Sprintf("StopRun(%s g%d)", op.Run.RunName, op.Generation)
	case CheckPods:
		return fmt.Sprintf("CheckPods(%s)", op.Run.RunName)
	case SwapKey:
		return fmt.Sprintf("SwapKey(%s)", KeyText(op.Next))
	case CreateJob:
		return fmt.Sprintf("CreateJob(%s)", executor.JobName(op.Run, op.Generation))
	case ConfirmLease:
		return fmt.Sprintf("ConfirmLease(%s g%d)", op.Run.RunName, op.Generation)
	case WriteStatus:
		return fmt.Sprintf("WriteStatus(%s, %s)", op.Run.Name, StatusText(op.Run, op.Status))
	case DeleteJob:
		return fmt.Sprintf("DeleteJob(%s)", op.Job.Name)
	case DeleteRun:
		return fmt.Sprintf("DeleteRun(%s)", op.Run.Name)
	case Emit:
		return fmt.Sprintf("Emit(%s)", eventText(op.Event))
	case Count:
		return fmt.Sprintf("Count(%s)", [...]string{"leased", "requeued", "failed", "promotion"}[op.Metric.Kind])
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T", op), "decision.")
	}
}

func eventText(e Event) string {
	text := e.Reason + " " + e.Run.Name
	if e.Related != nil {
		text += "<-" + e.Related.Name
	}
	return text
}

// KeyText writes a row on one line: who waits, who executes, who owns it.
func KeyText(key *v1alpha1.RunKeySpec) string {
	if key == nil {
		return "free"
	}
	var parts []string
	if p := key.Pending; p != nil {
		parts = append(parts, "pending="+p.RunName+leaseText(p.Generation, ""))
	}
	if l := key.Leased; l != nil {
		parts = append(parts, "leased="+l.RunName+leaseText(l.Generation, l.FromVersion))
	}
	if o := key.Owner; o != nil {
		parts = append(parts, "owner="+o.RunName)
	}
	return strings.Join(parts, " ")
}

func leaseText(generation int64, version string) string {
	var text string
	if generation > 0 {
		text = fmt.Sprintf(" g%d", generation)
	}
	if version != "" {
		text += "<" + version
	}
	return text
}

// StatusText writes a status on one line: the phase ("-" if empty), and what differs
// from what the JobRun says.
func StatusText(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) string {
	old := run.Status
	parts := []string{phaseText(status.Phase)}
	add := func(changed bool, format string, args ...any) {
		if changed {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	if lease := status.Lease; !apiequality.Semantic.DeepEqual(old.Lease, lease) {
		add(true, "%s", strings.TrimSpace(leaseText(lease.Generation, lease.KeyVersion)))
		add(lease.HolderIdentity == "", "no holder")
	}
	add(old.FinishedGeneration != status.FinishedGeneration, "finished g%d", status.FinishedGeneration)
	add(old.Attempts != status.Attempts, "attempts %d", status.Attempts)
	if b := status.Batch; !apiequality.Semantic.DeepEqual(old.Batch, b) {
		add(true, "batch %s", b.Decision)
	}
	if ref := status.RunRef; !apiequality.Semantic.DeepEqual(old.RunRef, ref) {
		add(ref.UID != run.UID, "of %s", ref.Name)
	}
	if c := status.Coalesced; !apiequality.Semantic.DeepEqual(old.Coalesced, c) {
		var recent []string
		for _, entry := range c.Recent {
			recent = append(recent, entry.Name)
		}
		add(true, "count %d [%s]", c.Count, strings.Join(recent, " "))
	}
	add(old.JobRef != nil && status.JobRef == nil, "no job")
	if status.Output != nil {
		add(!apiequality.Semantic.DeepEqual(old.Output, status.Output), "output %s", status.Output.Raw)
	}
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled} {
		if c := meta.FindStatusCondition(status.Conditions, kind); c != nil && meta.FindStatusCondition(old.Conditions, kind) == nil {
			add(true, "%s=%s", kind, c.Reason)
		}
	}
	add(old.CompletionTime != nil && status.CompletionTime == nil, "no end")
	add(old.Error != status.Error, "%q", status.Error)
	return strings.Join(parts, ", ")
}

func phaseText(phase v1alpha1.Phase) string {
	if phase == "" {
		return "-"
	}
	return string(phase)
}
