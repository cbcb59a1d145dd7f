// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Observer is the Process of operations that an observer saw in the API server.
const Observer = "API server"

// Stored checks the JobRuns of a namespace as the API server stored them. Feed it each version once, in the
// order of the resourceVersions, as one watch of all JobRuns delivers them.
type Stored struct {
	runs       map[types.UID]*storedRun
	holders    map[string]types.UID // the run that has a holder, by key
	operations []Operation
	violations []string
}

type storedRun struct {
	run *v1alpha1.JobRun
	// holders is the holder of each generation, and last is the latest generation with a holder.
	holders map[int64]string
	last    int64
}

// NewStored returns a Stored of an empty namespace.
func NewStored() *Stored {
	return &Stored{runs: map[types.UID]*storedRun{}, holders: map[string]types.UID{}}
}

// Operations returns an operation for each lease that was released and each run that ended. Its Return is the
// time at which the change was seen.
func (s *Stored) Operations() []Operation { return s.operations }

// Violations returns the violations that were found.
func (s *Stored) Violations() []string { return s.violations }

// Deleted observes the deletion of a run. At is the time at which it was seen.
func (s *Stored) Deleted(run *v1alpha1.JobRun, at int64) {
	if seen := s.runs[run.UID]; seen != nil && !isFinal(seen.run.Status.Phase) {
		s.observed(Ended, run, seen.last, at)
	}
	delete(s.runs, run.UID)
	s.free(run)
}

// Saw observes the next version of a run. At is the time at which it was seen.
func (s *Stored) Saw(run *v1alpha1.JobRun, at int64) {
	seen := s.runs[run.UID]
	if seen == nil {
		seen = &storedRun{run: &v1alpha1.JobRun{}, holders: map[int64]string{}}
		s.runs[run.UID] = seen
	}
	old := seen.run
	seen.run = run
	s.judge(seen, old)
	held := generationOf(old)
	switch {
	case isFinal(old.Status.Phase):
	case isFinal(run.Status.Phase):
		s.observed(Ended, run, seen.last, at)
	case holderOf(old) != "" && (generationOf(run) > held || holderOf(run) == ""):
		s.observed(Released, run, held, at)
	}
}

// observed adds an operation that took effect at or before a time.
func (s *Stored) observed(kind Kind, run *v1alpha1.JobRun, generation, at int64) {
	s.operations = append(s.operations, Operation{
		Process: Observer, Kind: kind, Key: KeyOf(run), Run: run.Name, Generation: generation, Return: at, Outcome: OK,
	})
}

// judge compares the new version of a run with the old one, and with the other runs of its key.
func (s *Stored) judge(seen *storedRun, old *v1alpha1.JobRun) {
	run := seen.run
	if generationOf(run) < generationOf(old) {
		s.violate(run, "the generation fell from %d to %d", generationOf(old), generationOf(run))
	}
	if isFinal(old.Status.Phase) && run.Status.Phase != old.Status.Phase {
		s.violate(run, "it was %s and became %s", old.Status.Phase, run.Status.Phase)
	}
	holder := holderOf(run)
	if holder == "" {
		s.free(run)
		return
	}
	if first := seen.holders[generationOf(run)]; first != "" && first != holder {
		s.violate(run, "the holder of generation %d changed from %s to %s", generationOf(run), first, holder)
	}
	seen.holders[generationOf(run)], seen.last = holder, generationOf(run)
	other, taken := s.holders[KeyOf(run)]
	if taken && other != run.UID {
		s.violate(run, "%s became its holder while %s held the key for run %s", holder, holderOf(s.runs[other].run), s.runs[other].run.Name)
	}
	s.holders[KeyOf(run)] = run.UID
}

func (s *Stored) free(run *v1alpha1.JobRun) {
	if s.holders[KeyOf(run)] == run.UID {
		delete(s.holders, KeyOf(run))
	}
}

func (s *Stored) violate(run *v1alpha1.JobRun, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.violations = append(s.violations, fmt.Sprintf("run %s at version %s: %s", run.Name, run.ResourceVersion, what))
}

// holderOf returns the holder of the lease of a run, or "".
func holderOf(run *v1alpha1.JobRun) string {
	if run.Status.Phase != v1alpha1.PhaseLeased || run.Status.Lease == nil {
		return ""
	}
	return run.Status.Lease.HolderIdentity
}

func generationOf(run *v1alpha1.JobRun) int64 {
	if run.Status.Lease == nil {
		return 0
	}
	return run.Status.Lease.Generation
}

func isFinal(phase v1alpha1.Phase) bool {
	switch phase {
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled:
		return true
	default:
		return false
	}
}
