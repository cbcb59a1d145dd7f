// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import "github.com/jobrun-dev/jobrun/api/v1alpha1"

// Tracker turns states of JobRuns into the events that Watch has, for a program that lists and watches JobRuns itself.
// It makes no request. It keeps the last state of each JobRun; see Watch for what the events promise. States in between may
// be missing. It is not safe for concurrent use.
//
// Once the events of a call are used, the caller may drop from the states what no later event needs: the template, the
// output, the inputs in status.coalesced.recent, and of an ended run or a bound receipt also the input.
type Tracker struct{ states *tracker }

// NewTracker returns a Tracker that knows no JobRun.
func NewTracker() *Tracker { return &Tracker{states: newTracker(nil)} }

// Listed takes a list of all JobRuns, which it sorts. It returns the events since the last call. Of a Tracker that knew no
// JobRun, these are the events that the states show: for example, a completed run was triggered, leased and completed.
func (t *Tracker) Listed(all []v1alpha1.JobRun) []Event {
	return t.take(change{listed: true, all: all})
}

// Changed takes the state of one JobRun that was created or updated, and returns the events since the last call.
func (t *Tracker) Changed(run *v1alpha1.JobRun) []Event { return t.take(change{run: run}) }

// Deleted takes the last state of a JobRun that was deleted, and returns the events since the last call.
func (t *Tracker) Deleted(run *v1alpha1.JobRun) []Event {
	return t.take(change{run: run, deleted: true})
}

func (t *Tracker) take(ch change) []Event {
	t.states.take(ch)
	events := t.states.events
	t.states.events = nil
	return events
}
