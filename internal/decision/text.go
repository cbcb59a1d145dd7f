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
	"github.com/jobrun-dev/jobrun/internal/text"
)

// maxOutputText is how many bytes of an output a plan shows.
const maxOutputText = 256

// String formats a plan on one line: the step, then the operations in order.
//
//	claim: SwapKey(leased=a g1<10); CreateJob(a-1); ...
//
// g1<10 is generation 1, whose claim was based on version 10 of the key.
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
	case CheckUnconfirmed:
		return fmt.Sprintf("CheckUnconfirmed(%s)", jobsText(op.Jobs))
	case SwapKey:
		return swapText(op)
	case CreateJob:
		return fmt.Sprintf("CreateJob(%s)", executor.JobName(op.Run, op.Generation))
	case ConfirmLoss:
		return fmt.Sprintf("ConfirmLoss(%s)", op.Run.Name)
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
	if e.Count > 0 {
		text += fmt.Sprintf(" x%d", e.Count)
	}
	return text
}

// swapText formats a swap. "or note a-1" means that it notes Job a-1 unless that Job was seen to have finished.
func swapText(op SwapKey) string {
	if op.Noted == nil {
		return fmt.Sprintf("SwapKey(%s)", KeyText(op.Next))
	}
	noted := op.Noted.Unconfirmed
	return fmt.Sprintf("SwapKey(%s, or note %s)", KeyText(op.Next), noted[len(noted)-1].Job)
}

func jobsText(jobs []v1alpha1.UnconfirmedJob) string {
	names := make([]string, len(jobs))
	for i, job := range jobs {
		names[i] = job.Job
	}
	return strings.Join(names, " ")
}

// KeyText formats a key on one line: the run that waits, the first in line, the run that executes, the Jobs that may still
// appear, the owner and how it ended.
func KeyText(key *v1alpha1.RunKeySpec) string {
	if key == nil {
		return "free"
	}
	var parts []string
	if p := key.Pending; p != nil {
		parts = append(parts, "pending="+p.RunName+leaseText(p.Generation, ""))
	}
	if p := key.Line; p != nil {
		parts = append(parts, "line="+p.RunName+leaseText(p.Generation, ""))
	}
	if l := key.Leased; l != nil {
		parts = append(parts, "leased="+l.RunName+leaseText(l.Generation, l.FromVersion))
	}
	if len(key.Unconfirmed) > 0 {
		parts = append(parts, "unconfirmed="+strings.ReplaceAll(jobsText(key.Unconfirmed), " ", ","))
	}
	if o := key.Owner; o != nil {
		parts = append(parts, "owner="+o.RunName)
	}
	if end := key.Outcome; end != nil {
		parts = append(parts, "outcome="+string(end.Phase))
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

// StatusText formats a status on one line: the phase ("-" if empty), and what differs from the status of the
// run.
func StatusText(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) string {
	t := changes{phaseText(status.Phase)}
	t.addLease(run.Status, status)
	t.addReferences(run, status)
	t.addOutcome(run.Status, status)
	return strings.Join(t, ", ")
}

// changes lists the differences between two statuses.
type changes []string

func (t *changes) add(changed bool, format string, args ...any) {
	if changed {
		*t = append(*t, fmt.Sprintf(format, args...))
	}
}

func (t *changes) addLease(old, status v1alpha1.JobRunStatus) {
	if lease := status.Lease; lease != nil && !apiequality.Semantic.DeepEqual(old.Lease, lease) {
		t.add(true, "%s", strings.TrimSpace(leaseText(lease.Generation, lease.KeyVersion)))
		t.add(lease.HolderIdentity == "", "no holder")
	}
	t.add(old.FinishedGeneration != status.FinishedGeneration, "finished g%d", status.FinishedGeneration)
	t.add(old.Attempts != status.Attempts, "attempts %d", status.Attempts)
}

func (t *changes) addReferences(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) {
	old := run.Status
	if b := status.Batch; b != nil && !apiequality.Semantic.DeepEqual(old.Batch, b) {
		t.add(true, "batch %s", b.Decision)
	}
	if ref := status.RunRef; ref != nil && !apiequality.Semantic.DeepEqual(old.RunRef, ref) {
		t.add(ref.UID != run.UID, "of %s", ref.Name)
	}
	if c := status.Coalesced; c != nil && !apiequality.Semantic.DeepEqual(old.Coalesced, c) {
		names := make([]string, len(c.Recent))
		for i, entry := range c.Recent {
			names[i] = entry.Name
		}
		t.add(true, "count %d [%s]", c.Count, strings.Join(names, " "))
	}
	t.add(old.JobRef != nil && status.JobRef == nil, "no job")
}

func (t *changes) addOutcome(old, status v1alpha1.JobRunStatus) {
	if status.Output != nil && !apiequality.Semantic.DeepEqual(old.Output, status.Output) {
		t.add(true, "output %s", text.Cut(string(status.Output.Raw), maxOutputText))
	}
	for _, kind := range []string{v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled} {
		if c := meta.FindStatusCondition(status.Conditions, kind); c != nil && meta.FindStatusCondition(old.Conditions, kind) == nil {
			t.add(true, "%s=%s", kind, c.Reason)
		}
	}
	t.add(old.CompletionTime != nil && status.CompletionTime == nil, "no end")
	t.add(old.Error != status.Error, "%q", status.Error)
}

func phaseText(phase v1alpha1.Phase) string {
	if phase == "" {
		return "-"
	}
	return string(phase)
}
