// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// countPeriod is the shortest time between two writes of the counters of a definition, and between two counts because of
// its runs.
const countPeriod = 5 * time.Second

// definitionNotes holds what this process knows of each definition besides the cache. It has an entry for each definition
// that exists, so the runs of jobs without a definition cost nothing.
type definitionNotes struct {
	mu    sync.Mutex
	notes map[types.NamespacedName]*definitionNote
}

type definitionNote struct {
	// counted is when the runs were counted last, and written when the status was written last.
	counted, written time.Time
	// lastEnd has the phase and the completionTime of the run that ended last, and what orders runs. The run may be gone.
	lastEnd *v1alpha1.JobRun
	verdict verdict
}

// verdict is the result of a check of one generation of a definition.
type verdict struct {
	uid             types.UID
	generation      int64
	reason, message string
}

func newDefinitionNotes() *definitionNotes {
	return &definitionNotes{notes: map[types.NamespacedName]*definitionNote{}}
}

// of returns the entry of a definition. It returns an entry that is not kept if the definition is gone, because a reconcile of it
// may still be under way. The caller must have locked mu.
func (n *definitionNotes) of(name types.NamespacedName) *definitionNote {
	if note := n.notes[name]; note != nil {
		return note
	}
	return &definitionNote{}
}

// add records that a definition exists.
func (n *definitionNotes) add(name types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes[name] = n.of(name)
}

// remove records that a definition is gone.
func (n *definitionNotes) remove(name types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.notes, name)
}

// noteRun records a change of a run. It returns the time until its definition may be counted; known is false if there is no
// definition.
func (n *definitionNotes) noteRun(name types.NamespacedName, run *v1alpha1.JobRun, now time.Time) (after time.Duration, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	note := n.notes[name]
	if note == nil {
		return 0, false
	}
	if run.HasEnded() && run.Status.CompletionTime != nil {
		note.lastEnd = decision.LatestEnd(note.lastEnd, &v1alpha1.JobRun{
			ObjectMeta: metav1.ObjectMeta{Name: run.Name, ResourceVersion: run.ResourceVersion, CreationTimestamp: run.CreationTimestamp},
			Status:     v1alpha1.JobRunStatus{Phase: run.Status.Phase, CompletionTime: run.Status.CompletionTime, Stored: run.Status.Stored},
		})
	}
	return max(countPeriod-now.Sub(note.counted), 0), true
}

// count records that the runs of a definition are counted now, and returns the run that ended last.
func (n *definitionNotes) count(name types.NamespacedName, now time.Time) *v1alpha1.JobRun {
	n.mu.Lock()
	defer n.mu.Unlock()
	note := n.of(name)
	note.counted = now
	return note.lastEnd
}

// wrote records that the status of a definition was written.
func (n *definitionNotes) wrote(name types.NamespacedName, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(name).written = now
}

// writeLeft returns the time until counters alone may be written again.
func (n *definitionNotes) writeLeft(name types.NamespacedName, now time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(countPeriod-now.Sub(n.of(name).written), 0)
}

// check returns the verdict on a definition. It calls check once per generation, which may compile expressions.
func (n *definitionNotes) check(name types.NamespacedName, d *v1alpha1.JobDefinition, check func(*v1alpha1.JobDefinition) (reason, message string)) (reason, message string) {
	n.mu.Lock()
	known := n.of(name).verdict
	n.mu.Unlock()
	if known.uid == d.UID && known.generation == d.Generation && known.reason != "" {
		return known.reason, known.message
	}
	reason, message = check(d)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(name).verdict = verdict{d.UID, d.Generation, reason, message}
	return reason, message
}
