// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

const (
	// minSpread and maxSpread are the longest pause before a worker that was idle
	// claims. It doubles with each claim that somebody else was faster with and
	// halves with each that was won: the first of n workers claims after spread/n.
	minSpread = 100 * time.Millisecond
	maxSpread = 2 * time.Second
	// minRefusal and maxRefusal are between two claims of a run that is refused
	// and does not change: the operator may yet be releasing its key, or another
	// run of the key executes that is not seen.
	minRefusal = 200 * time.Millisecond
	maxRefusal = 15 * time.Second
	// minDecline is before a run is claimed again that this worker gave back. It
	// doubles each time, up to maxRefusal: others may be able to execute it.
	minDecline = time.Second
	// never is until something changes.
	never = time.Hour
)

type runID = types.UID

func idOf(run *v1alpha1.JobRun) runID { return run.UID }

// keyOf identifies a key. A key belongs to its job.
type keyOf struct{ job, key string }

func keyOfRun(run *v1alpha1.JobRun) keyOf { return keyOf{run.Spec.JobName, run.Spec.ConcurrencyKey} }

// refusal is a claim that was answered with a conflict.
type refusal struct {
	version string
	times   int
	until   time.Time
}

// queue is what is seen of the runs that have no outcome, and picks the one to
// claim: the oldest that waits and whose key nobody is seen to hold.
type queue struct {
	runs     map[runID]*v1alpha1.JobRun
	claiming map[runID]bool
	// executing are the keys of the runs whose handlers have not returned, also of
	// those whose lease is lost: another worker may have them, this one waits.
	executing map[runID]keyOf
	refused   map[runID]refusal
	// declined are the runs that this worker gave back, whatever they are now.
	declined map[runID]refusal
	// pauseUntil is when the next claim may be sent: a moment after there was
	// none to send, so that not all workers claim the same run at once.
	pauseUntil time.Time
	spread     time.Duration
	idle       bool
	jitter     func(atMost time.Duration) time.Duration
}

func newQueue() queue {
	return queue{
		runs: map[runID]*v1alpha1.JobRun{}, claiming: map[runID]bool{}, executing: map[runID]keyOf{}, refused: map[runID]refusal{}, declined: map[runID]refusal{},
		idle: true, spread: minSpread, jitter: rand.N[time.Duration],
	}
}

// put notes a run as it is now.
func (q *queue) put(run *v1alpha1.JobRun) {
	old := q.runs[idOf(run)]
	if old != nil && old.Status.Phase == v1alpha1.PhaseLeased && run.Status.Phase != v1alpha1.PhaseLeased {
		q.freed(keyOfRun(run))
	}
	q.runs[idOf(run)] = run
}

// remove forgets a run that ended.
func (q *queue) remove(id runID) {
	if old := q.runs[id]; old != nil && old.Status.Phase == v1alpha1.PhaseLeased {
		q.freed(keyOfRun(old))
	}
	delete(q.runs, id)
	delete(q.refused, id)
	delete(q.declined, id)
}

// freed lets what waits for a key be claimed again.
func (q *queue) freed(key keyOf) {
	for id := range q.refused {
		if run := q.runs[id]; run != nil && keyOfRun(run) == key {
			delete(q.refused, id)
		}
	}
}

// refuse leaves a run alone until it changes, or for a while.
func (q *queue) refuse(run *v1alpha1.JobRun, now time.Time) {
	r := refusal{version: run.ResourceVersion, times: 1}
	if old, ok := q.refused[idOf(run)]; ok && old.version == r.version {
		r.times = old.times + 1
	}
	r.until = now.Add(q.pauseAfter(r.times, minRefusal))
	if q.runs[idOf(run)] != nil { // It is not seen to end any more.
		q.refused[idOf(run)] = r
	}
	q.spread = min(2*q.spread, maxSpread)
	q.pauseUntil = now.Add(q.jitter(q.spread))
}

// decline leaves a run alone for a while, longer each time.
func (q *queue) decline(run *v1alpha1.JobRun, now time.Time) {
	if q.runs[idOf(run)] == nil {
		return
	}
	times := q.declined[idOf(run)].times + 1
	q.declined[idOf(run)] = refusal{times: times, until: now.Add(q.pauseAfter(times, minDecline))}
}

// pauseAfter doubles with each time, and is never the same for all workers.
func (q *queue) pauseAfter(times int, first time.Duration) time.Duration {
	pause := first
	for range times - 1 {
		pause = min(2*pause, maxRefusal)
	}
	return pause + q.jitter(pause/2)
}

// won notes that a claim was.
func (q *queue) won(run *v1alpha1.JobRun) {
	delete(q.refused, idOf(run))
	q.spread = max(q.spread/2, minSpread)
}

// next is the run to claim now; if there is none, it is how long to wait.
func (q *queue) next(now time.Time) (*v1alpha1.JobRun, time.Duration) {
	best, wait := q.oldest(now)
	switch {
	case best == nil:
		q.idle = true
		return nil, wait
	case q.idle:
		q.idle = false
		q.pauseUntil = now.Add(q.jitter(q.spread))
	}
	if pause := q.pauseUntil.Sub(now); pause > 0 {
		return nil, pause
	}
	return best, 0
}

func (q *queue) oldest(now time.Time) (best *v1alpha1.JobRun, wait time.Duration) {
	wait = never
	taken := q.takenKeys()
	for id, run := range q.runs {
		_, executing := q.executing[id]
		if !holder.Claimable(run) || q.claiming[id] || executing || (run.Spec.ConcurrencyKey != "" && taken[keyOfRun(run)]) {
			continue
		}
		if until := q.leftAloneUntil(run); now.Before(until) {
			wait = min(wait, until.Sub(now))
			continue
		}
		if best == nil || v1alpha1.CompareAge(run, best) < 0 {
			best = run
		}
	}
	return best, wait
}

// leftAloneUntil is when a run may be claimed.
func (q *queue) leftAloneUntil(run *v1alpha1.JobRun) time.Time {
	until := q.declined[idOf(run)].until
	if r, ok := q.refused[idOf(run)]; ok && r.version == run.ResourceVersion && r.until.After(until) {
		return r.until
	}
	return until
}

func (q *queue) takenKeys() map[keyOf]bool {
	taken := map[keyOf]bool{}
	for _, key := range q.executing {
		taken[key] = true
	}
	for _, run := range q.runs {
		if run.Spec.ConcurrencyKey != "" && run.Status.Phase == v1alpha1.PhaseLeased {
			taken[keyOfRun(run)] = true
		}
	}
	return taken
}
