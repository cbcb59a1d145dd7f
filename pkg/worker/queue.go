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
	// minSpread and maxSpread bound the spread. An idle worker pauses for a random time up to the spread before it claims,
	// so the first of n workers claims after about spread/n. The spread doubles with each refused claim and halves with
	// each won claim.
	minSpread = 100 * time.Millisecond
	maxSpread = 2 * time.Second
	// minRefusal and maxRefusal bound the pause between two claims of a run that was refused and has not changed. The
	// operator may still be releasing its key, or another run of the key may execute unseen.
	minRefusal = 200 * time.Millisecond
	maxRefusal = 15 * time.Second
	// minDecline is the first pause before this worker claims a run again that it gave back. The pause doubles each time,
	// up to maxRefusal, because other workers may be able to execute the run.
	minDecline = time.Second
	// idleRecheck is the longest sleep without a wake-up.
	idleRecheck = time.Hour
)

type runID = types.UID

func idOf(run *v1alpha1.JobRun) runID { return run.UID }

// keyOf identifies a key. A key belongs to its job.
type keyOf struct{ job, key string }

func keyOfRun(run *v1alpha1.JobRun) keyOf { return keyOf{run.Spec.JobName, run.Spec.ConcurrencyKey} }

// refusal is when a run may be claimed again, after a claim was refused or the run was given back.
type refusal struct {
	version string
	times   int
	until   time.Time
}

// queue has the runs without outcome that the worker has seen. It picks the run to claim: the oldest run that waits and
// whose key no other run is seen to hold.
type queue struct {
	runs     map[runID]*v1alpha1.JobRun
	claiming map[runID]bool
	// executing has the keys of the runs whose handlers have not returned. It includes runs whose lease is lost: another
	// worker may execute them, this one must not.
	executing map[runID]keyOf
	refused   map[runID]refusal
	// declined has the runs that this worker gave back.
	declined map[runID]refusal
	// pauseUntil is when the next claim may be sent. After an idle time it lies in the future, so that not all workers
	// claim the same run at once.
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

// put stores the latest state of a run.
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

// freed allows the refused runs of a key to be claimed again.
func (q *queue) freed(key keyOf) {
	for id := range q.refused {
		if run := q.runs[id]; run != nil && keyOfRun(run) == key {
			delete(q.refused, id)
		}
	}
}

// refuse leaves a run alone until it changes or the pause is over.
func (q *queue) refuse(run *v1alpha1.JobRun, now time.Time) {
	r := refusal{version: run.ResourceVersion, times: 1}
	if old, ok := q.refused[idOf(run)]; ok && old.version == r.version {
		r.times = old.times + 1
	}
	r.until = now.Add(q.pauseAfter(r.times, minRefusal))
	if q.runs[idOf(run)] != nil { // For a run that has ended, nothing would remove the entry.
		q.refused[idOf(run)] = r
	}
	if seen := q.runs[idOf(run)]; run.Status.Phase == "" && seen != nil && seen.Status.Phase == v1alpha1.PhasePending {
		return // The operator announced the run meanwhile. No other worker was in the way.
	}
	q.spread = min(2*q.spread, maxSpread)
	q.pauseUntil = now.Add(q.jitter(q.spread))
}

// decline leaves a run alone for a pause that grows each time.
func (q *queue) decline(run *v1alpha1.JobRun, now time.Time) {
	if q.runs[idOf(run)] == nil {
		return
	}
	times := q.declined[idOf(run)].times + 1
	q.declined[idOf(run)] = refusal{times: times, until: now.Add(q.pauseAfter(times, minDecline))}
}

// pauseAfter returns a pause that doubles each time, up to maxRefusal. Jitter makes it differ between workers.
func (q *queue) pauseAfter(times int, first time.Duration) time.Duration {
	pause := first
	for range times - 1 {
		pause = min(2*pause, maxRefusal)
	}
	return pause + q.jitter(pause/2)
}

// won notes a successful claim.
func (q *queue) won(run *v1alpha1.JobRun) {
	delete(q.refused, idOf(run))
	q.spread = max(q.spread/2, minSpread)
}

// next returns the run to claim now or, if there is none, how long to wait.
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
	wait = idleRecheck
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

// leftAloneUntil returns when a run may be claimed.
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
