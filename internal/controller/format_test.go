// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"regexp"
	"slices"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// oneSpace joins the lines of a plan or a state with single spaces.
func oneSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

// formatState returns the stored state as text, without versions and times.
func (c *scene) formatState() string {
	lines := []string{"key: " + decision.KeyText(c.keySpec())}
	for _, key := range all[*v1alpha1.RunKey](c.stored()) {
		if key.Spec.Kind == v1alpha1.RunKeyIdempotency {
			lines = append(lines, key.Name+": "+decision.KeyText(&key.Spec))
		}
	}
	slices.Sort(lines)
	for _, run := range c.runs() {
		empty := run.DeepCopy()
		empty.Status = v1alpha1.JobRunStatus{}
		lines = append(lines, run.Name+": "+decision.StatusText(empty, run.Status))
	}
	for _, job := range c.jobs() {
		end := "runs"
		if result := executor.ResultOf(job); result != nil {
			end = string(result.Type)
		}
		lines = append(lines, "job "+job.Name+": "+end)
	}
	return strings.Join(lines, "\n")
}

// opText returns an operation in the text form of a plan.
func opText(op decision.Op) string {
	return strings.TrimPrefix(decision.Plan{Ops: []decision.Op{op}}.String(), ": ")
}

// splitOps splits the text of a plan into operations, for a readable diff.
func splitOps(plan string) []string { return strings.Split(plan, "; ") }

// lines splits the text of a state before each name, for a readable diff.
func lines(state string) []string {
	return regexp.MustCompile(` (?:job )?\S+: `).Split(state, -1)
}
