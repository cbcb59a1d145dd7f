// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
)

const (
	// blockedBackoffBase and blockedBackoffMax bound how often a refused Job is tried again.
	blockedBackoffBase = time.Second
	blockedBackoffMax  = time.Minute
	// tombstonesKept bounds how many deleted runs are remembered.
	tombstonesKept = 8192
	// renewalsKept bounds how many Leases of workers are remembered.
	renewalsKept = 1 << 14
)

// sightings are what this process alone has seen, and since when. They only
// ever make it wait: losing them costs time, never correctness.
type sightings struct {
	clock clock.Clock
	// tombstones are the tokens of JobRuns that were seen, then seen deleted:
	// their creates are not under way any more.
	tombstones *lru.Cache
	// renewals say since when the Leases of workers have looked the same.
	renewals *lru.Cache
	// refusals space out the attempts to create a refused Job.
	refusals workqueue.TypedRateLimiter[types.UID]

	mu sync.Mutex
	// retryAt is when to try a refused Job again.
	retryAt map[types.UID]time.Time
	// unchanged says since when a subject has looked the same.
	unchanged map[string]sighting
}

type sighting struct {
	value any
	since time.Time
}

func newSightings(c clock.Clock) *sightings {
	return &sightings{
		clock:      c,
		tombstones: lru.New(tombstonesKept),
		renewals:   lru.New(renewalsKept),
		refusals:   workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](blockedBackoffBase, blockedBackoffMax),
		retryAt:    map[types.UID]time.Time{},
		unchanged:  map[string]sighting{},
	}
}

// unchangedFor is how long this process has seen subject with this value. Time
// that another machine wrote is never compared with this machine's clock.
func (o *sightings) unchangedFor(subject string, value any) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	seen, ok := o.unchanged[subject]
	if !ok || seen.value != value {
		o.unchanged[subject] = sighting{value: value, since: now}
		return 0
	}
	return now.Sub(seen.since)
}

// seenFor is how long this process has seen subject as it looked last; 0 if it has not.
func (o *sightings) seenFor(subject string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, ok := o.unchanged[subject]
	if !ok {
		return 0
	}
	return o.clock.Since(seen.since)
}

// forget drops the sightings of subjects.
func (o *sightings) forget(subjects ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, subject := range subjects {
		delete(o.unchanged, subject)
	}
}

// renewalOf is what changes in a Lease that is renewed.
func renewalOf(lease *coordinationv1.Lease) string {
	value := string(lease.UID)
	if lease.Spec.RenewTime != nil {
		value += lease.Spec.RenewTime.String()
	}
	return value
}

// noteRenewal notes the state of a worker's Lease.
func (o *sightings) noteRenewal(lease *coordinationv1.Lease) {
	value := renewalOf(lease)
	o.mu.Lock()
	defer o.mu.Unlock()
	name := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Name}
	if seen, ok := o.renewals.Get(name); !ok || seen.(sighting).value != value {
		o.renewals.Add(name, sighting{value: value, since: o.clock.Now()})
	}
}

// sinceRenewal is how long this process has not seen a worker renew its Lease;
// known is false if it has never seen the Lease. One that was deleted is still
// remembered: who deletes it does not renew.
func (o *sightings) sinceRenewal(lease types.NamespacedName) (idle time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, ok := o.renewals.Get(lease)
	if !ok {
		return 0, false
	}
	return o.clock.Since(seen.(sighting).since), true
}

// refused notes that a run's Job was refused, and says how long to wait.
func (o *sightings) refused(run types.UID) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	wait := o.refusals.When(run)
	o.retryAt[run] = o.clock.Now().Add(wait)
	return wait
}

// holdOff is how long not to try a run's Job again.
func (o *sightings) holdOff(run types.UID) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return max(o.retryAt[run].Sub(o.clock.Now()), 0)
}

// accepted forgets the refusals of a run's Job.
func (o *sightings) accepted(run types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusals.Forget(run)
	delete(o.retryAt, run)
}

// buried notes that a run was seen deleted.
func (o *sightings) buried(token string) { o.tombstones.Add(token, nil) }

// isBuried reports whether a run was seen deleted.
func (o *sightings) isBuried(token string) bool {
	_, ok := o.tombstones.Get(token)
	return ok
}

func leaseSubject(run types.UID) string { return "lease/" + string(run) }

func holderSubject(run types.UID) string { return "holder/" + string(run) }

func claimSubject(run types.UID) string { return "claim/" + string(run) }

func deadlineSubject(run types.UID) string { return "deadline/" + string(run) }

func batchSubject(member types.UID) string { return "batch/" + string(member) }

func endSubject(run types.UID) string { return "end/" + string(run) }

// executionSubjects are what is seen of a run until its end.
func executionSubjects(run types.UID) []string {
	return []string{leaseSubject(run), holderSubject(run), claimSubject(run), deadlineSubject(run)}
}

// subjects are all that is seen of a run.
func subjects(run types.UID) []string {
	return append(executionSubjects(run), batchSubject(run), endSubject(run))
}

func reservationSubject(namespace, key string) string { return "reservation/" + namespace + "/" + key }
