// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// This file keeps the line of a key (P7): the runs that wait without the waiting place. The JobRuns are the line. The row
// only names the first of them, so that the webhook gives a free place to no other run.

// isInLine reports whether a run waits in line.
func (s *Snapshot) isInLine(run *v1alpha1.JobRun) bool {
	return s.Keyed && s.isOpen(run) && s.role(run) == RoleUnplaced
}

// firstInLine returns the first run in line besides one run, which may be nil; nil if no run waits in line.
func (s *Snapshot) firstInLine(besides *v1alpha1.JobRun) *v1alpha1.JobRun {
	var first *v1alpha1.JobRun
	// The cache may have shown the run that the row names only after it listed Runs.
	for _, run := range append([]*v1alpha1.JobRun{s.Run(runkey.Line(s.KeySpec()))}, s.Runs...) {
		if run != besides && s.isInLine(run) && (first == nil || v1alpha1.CompareStored(run, first) < 0) {
			first = run
		}
	}
	return first
}

// seated returns a key with the waiting place given to a run, and with the first run in line behind it.
func (s *Snapshot) seated(key *v1alpha1.RunKeySpec, run *v1alpha1.JobRun) *v1alpha1.RunKeySpec {
	return runkey.LineUp(runkey.Seat(key, run, s.Now), s.firstInLine(run), s.Now)
}

// markLine notes in the key which run is the first in line. fill-pending does that too, if the place is free.
func markLine(s *Snapshot) []Op {
	first, noted := s.firstInLine(nil), runkey.Line(s.KeySpec())
	switch {
	case s.Key == nil,
		first == nil && noted == runkey.Identity{},
		first != nil && (s.pending == runkey.Identity{} || noted == runkey.IdentityOf(first)):
		return nil
	}
	return s.swapKey(runkey.LineUp(s.KeySpec(), first, s.Now))
}

// inLine is status.error of a run that waits in line.
const inLine = "waits in line for its key: another run has the waiting place"

// joinLine tells each run in line that it waits, and records the version with which it was created. A run that has left the
// line loses the text. Its next status says more, but the run may wait for its batch.
func joinLine(s *Snapshot) []Op {
	for _, run := range s.Runs {
		status := inLineStatus(run)
		switch told := run.Status.Error == inLine; {
		case s.isInLine(run) == told:
			continue
		case told && (s.role(run) != RoleWaiting || run.Status.Phase != ""):
			continue
		case told:
			status.Error = ""
		}
		return join(s.checkKey(), []Op{WriteStatus{run, status}})
	}
	return nil
}

// inLineStatus returns the status of a run that waits in line. It clears the phase of a run that reads Pending.
func inLineStatus(run *v1alpha1.JobRun) v1alpha1.JobRunStatus {
	status := statusOf(run)
	status.Phase = ""
	status.Error = inLine
	return status
}
