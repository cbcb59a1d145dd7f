// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Observer is the process of operations that were seen to be stored.
const Observer = "API server"

// Stored follows the JobRuns of a namespace as the API server stored them. It is
// told each version once, in the order of the resourceVersions, as one watch of
// all of them brings them.
type Stored struct {
	runs       map[types.UID]*storedRun
	holders    map[string]types.UID // by key: the run that has a holder
	operations []Operation
	violations []string
}

type storedRun struct {
	run *v1alpha1.JobRun
	// holders says who held each generation, and last is the last of these.
	holders map[int64]string
	last    int64
}

// NewStored has seen nothing yet.
func NewStored() *Stored {
	return &Stored{runs: map[types.UID]*storedRun{}, holders: map[string]types.UID{}}
}

// Operations are those that show in what was stored: leases that were over and
// runs that had ended, at some time before they were seen.
func (s *Stored) Operations() []Operation { return s.operations }

// Violations is what must not be.
func (s *Stored) Violations() []string { return s.violations }

// Deleted is told that a run is gone, and when that was seen.
func (s *Stored) Deleted(run *v1alpha1.JobRun, at int64) {
	if seen := s.runs[run.UID]; seen != nil && !isFinal(seen.run.Status.Phase) {
		s.observed(Ended, run, seen.last, at)
	}
	delete(s.runs, run.UID)
	s.free(run)
}

// Saw is told the next version of a run, and when it was seen.
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

// observed adds an operation that had its effect by some time.
func (s *Stored) observed(kind Kind, run *v1alpha1.JobRun, generation, at int64) {
	s.operations = append(s.operations, Operation{
		Process: Observer, Kind: kind, Key: KeyOf(run), Run: run.Name, Generation: generation, Return: at, Outcome: OK,
	})
}

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
		s.violate(run, "generation %d was of %s and then of %s", generationOf(run), first, holder)
	}
	seen.holders[generationOf(run)], seen.last = holder, generationOf(run)
	other, taken := s.holders[KeyOf(run)]
	if taken && other != run.UID {
		s.violate(run, "%s came to hold its key while %s held it for run %s", holder, holderOf(s.runs[other].run), s.runs[other].run.Name)
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

// holderOf is who may execute a run, as it was stored.
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
