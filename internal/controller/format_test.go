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

// oneSpace lets a test break a plan over lines.
func oneSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

// formatState writes everything that is stored, but for versions and times.
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

// opText is an operation as a plan writes it.
func opText(op decision.Op) string {
	return strings.TrimPrefix(decision.Plan{Ops: []decision.Op{op}}.String(), ": ")
}

// splitOps makes differences between plans readable.
func splitOps(plan string) []string { return strings.Split(plan, "; ") }

// lines makes differences between states readable: each name begins one.
func lines(state string) []string {
	return regexp.MustCompile(` (?:job )?\S+: `).Split(state, -1)
}
