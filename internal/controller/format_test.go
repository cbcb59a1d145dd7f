package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// format writes a plan as tests compare it: the step, then what is done, in order.
//
//	claim: NoStrays; CheckRun(a); SwapKey(leased=a g1<10); ...
//
// g1<10 is generation 1, claimed from version 10 of the key. Of a status only
// the phase is said ("-" if empty), and what changes.
func format(plan Plan) string {
	ops := make([]string, len(plan.Ops))
	for i, op := range plan.Ops {
		ops[i] = formatOp(op)
	}
	if plan.Step == "" && len(ops) == 0 {
		return ""
	}
	return plan.Step + ": " + strings.Join(ops, "; ")
}

func formatOp(op Op) string {
	switch op := op.(type) {
	case CheckRun:
		return fmt.Sprintf("CheckRun(%s)", op.Run.Name)
	case Stopped:
		return fmt.Sprintf("Stopped(%s g%d)", op.Run.Name, op.Generation)
	case NoPods:
		return fmt.Sprintf("NoPods(%s)", op.Run.Name)
	case SwapKey:
		return fmt.Sprintf("SwapKey(%s)", formatKey(op.Next))
	case CreateJob:
		return fmt.Sprintf("CreateJob(%s)", executor.JobName(op.Run, op.Generation))
	case ConfirmLease:
		return fmt.Sprintf("ConfirmLease(%s g%d)", op.Run.Name, op.Generation)
	case WriteStatus:
		return fmt.Sprintf("WriteStatus(%s, %s)", op.Run.Name, formatChange(op.Run, op.Status))
	case DeleteJob:
		return fmt.Sprintf("DeleteJob(%s)", op.Job.Name)
	case DeleteRun:
		return fmt.Sprintf("DeleteRun(%s)", op.Run.Name)
	case Emit:
		return fmt.Sprintf("Emit(%s)", formatEvent(op.Event))
	case Count:
		return fmt.Sprintf("Count(%s)", [...]string{"leased", "requeued", "failed", "promotion"}[op.Metric.Kind])
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T", op), "controller.")
	}
}

func formatEvent(e Event) string {
	text := e.Reason + " " + e.Run.Name
	if e.Related != nil {
		text += "<-" + e.Related.Name
	}
	return text
}

func formatKey(key *v1alpha1.RunKeySpec) string {
	if key == nil {
		return "free"
	}
	var parts []string
	if p := key.Pending; p != nil {
		parts = append(parts, "pending="+p.RunName+formatLease(p.Generation, ""))
	}
	if l := key.Leased; l != nil {
		parts = append(parts, "leased="+l.RunName+formatLease(l.Generation, l.FromVersion))
	}
	if o := key.Owner; o != nil {
		parts = append(parts, "owner="+o.RunName)
	}
	return strings.Join(parts, " ")
}

func formatLease(generation int64, version string) string {
	var text string
	if generation > 0 {
		text = fmt.Sprintf(" g%d", generation)
	}
	if version != "" {
		text += "<" + version
	}
	return text
}

func formatChange(run *v1alpha1.JobRun, status v1alpha1.JobRunStatus) string {
	old := run.Status
	parts := []string{formatPhase(status.Phase)}
	add := func(changed bool, format string, args ...any) {
		if changed {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	if lease := status.Lease; !apiequality.Semantic.DeepEqual(old.Lease, lease) {
		add(true, "%s", strings.TrimSpace(formatLease(lease.Generation, lease.KeyVersion)))
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

func formatPhase(phase v1alpha1.Phase) string {
	if phase == "" {
		return "-"
	}
	return string(phase)
}

// oneSpace lets a test break a plan over lines.
func oneSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

// formatState writes everything that is stored, but for versions and times.
func (c *scene) formatState() string {
	lines := []string{"key: " + formatKey(c.keySpec())}
	for name, key := range c.idempotency {
		lines = append(lines, name+": "+formatKey(&key.Spec))
	}
	slices.Sort(lines)
	for _, run := range c.runs {
		empty := run.DeepCopy()
		empty.Status = v1alpha1.JobRunStatus{}
		lines = append(lines, run.Name+": "+formatChange(empty, run.Status))
	}
	for _, job := range c.jobs {
		end := "runs"
		if result := executor.ResultOf(job); result != nil {
			end = string(result.Type)
		}
		lines = append(lines, "job "+job.Name+": "+end)
	}
	return strings.Join(lines, "\n")
}

// splitOps makes differences between plans readable.
func splitOps(plan string) []string { return strings.Split(plan, "; ") }

// lines makes differences between states readable: each name begins one.
func lines(state string) []string {
	return regexp.MustCompile(` (?:job )?\S+: `).Split(state, -1)
}
