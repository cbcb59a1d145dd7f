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

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// blockedBackoffBase and blockedBackoffMax bound the backoff after a refused Job.
	blockedBackoffBase = time.Second
	blockedBackoffMax  = time.Minute
	// deletedTokensKept bounds the number of tokens in sightings.deletedTokens.
	deletedTokensKept = 8192
	// endsKept bounds the number of runs in sightings.ends.
	endsKept = 8192
	// renewalsKept bounds the number of Lease objects in sightings.renewals.
	renewalsKept = 1 << 14
	// eventsBackoffMax bounds the interval between two reads of the Events about one Job.
	eventsBackoffMax = 5 * time.Minute
	// stoppedJobsKept bounds the number of UIDs in sightings.stoppedJobs.
	stoppedJobsKept = 8192
)

// sightings holds what only this process has seen, and since when. After a loss of sightings the controller waits longer,
// but its decisions stay correct.
type sightings struct {
	clock clock.Clock
	// deletedTokens holds the tokens of JobRuns whose deletion this process saw. So no create with such a token is under
	// way.
	deletedTokens *lru.Cache
	// ends holds how runs ended that were deleted or that this process ended, by their tokens. Their idempotency keys may not
	// remember it yet.
	ends *lru.Cache
	// renewals holds the latest renewal of each worker's Lease object, and when this process first saw it.
	renewals *lru.Cache
	// stoppedJobs holds the UIDs of the Jobs that this process deleted. The controller knows why these are gone.
	stoppedJobs *lru.Cache
	// refusals computes the backoff after a refused Job.
	refusals workqueue.TypedRateLimiter[types.UID]

	mu sync.Mutex
	// retryAt holds the time of the next try to create a refused Job, by the UID of its run.
	retryAt map[types.UID]time.Time
	// blocked holds the runs whose Job a ResourceQuota refuses, and turns numbers them.
	blocked map[types.UID]blockedRun
	turns   uint64
	// unchanged holds the current value of each subject, and when this process first saw it. A subject names what has
	// the value, for example the lease of a run (leaseSubject).
	unchanged map[string]sighting
}

// sighting is a value, and the time when this process first saw it.
type sighting struct {
	value any
	since time.Time
}

func newSightings(c clock.Clock) *sightings {
	return &sightings{
		clock:         c,
		deletedTokens: lru.New(deletedTokensKept),
		ends:          lru.New(endsKept),
		renewals:      lru.New(renewalsKept),
		stoppedJobs:   lru.New(stoppedJobsKept),
		refusals:      workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](blockedBackoffBase, blockedBackoffMax),
		retryAt:       map[types.UID]time.Time{},
		blocked:       map[types.UID]blockedRun{},
		unchanged:     map[string]sighting{},
	}
}

// unchangedFor records the value of a subject, and returns how long this process has seen that value. So no decision
// compares a time from another machine with the local clock.
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

// seenFor returns how long this process has seen the current value of a subject; 0 without a value.
func (o *sightings) seenFor(subject string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seen, ok := o.unchanged[subject]; ok {
		return o.clock.Since(seen.since)
	}
	return 0
}

// knows reports whether a subject has a value.
func (o *sightings) knows(subject string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.unchanged[subject]
	return ok
}

// forget drops the sightings of subjects.
func (o *sightings) forget(subjects ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, subject := range subjects {
		delete(o.unchanged, subject)
	}
}

// renewalOf returns a text that changes with each renewal of a Lease object, and when the object is created anew.
func renewalOf(lease *coordinationv1.Lease) string {
	value := string(lease.UID)
	if lease.Spec.RenewTime != nil {
		value += lease.Spec.RenewTime.String()
	}
	return value
}

// noteRenewal records the state of a worker's Lease object.
func (o *sightings) noteRenewal(lease *coordinationv1.Lease) {
	value := renewalOf(lease)
	o.mu.Lock()
	defer o.mu.Unlock()
	name := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Name}
	if seen, ok := o.renewals.Get(name); !ok || seen.(sighting).value != value {
		o.renewals.Add(name, sighting{value: value, since: o.clock.Now()})
	}
}

// sinceRenewal returns how long this process has seen no renewal of a worker's Lease object. known is false if it has
// not seen the object. A deleted object is still remembered, because a deletion is not a renewal.
func (o *sightings) sinceRenewal(lease types.NamespacedName) (idle time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if seen, ok := o.renewals.Get(lease); ok {
		return o.clock.Since(seen.(sighting).since), true
	}
	return 0, false
}

// refused records that the API server refused the Job of a run, and returns the time until the next try.
func (o *sightings) refused(run types.UID) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	wait := o.refusals.When(run)
	o.retryAt[run] = o.clock.Now().Add(wait)
	return wait
}

// holdOff returns the time until the next try to create the Job of a run.
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
	delete(o.blocked, run)
}

// noteDeleted records that this process saw the deletion of the JobRun with a token.
func (o *sightings) noteDeleted(token string) { o.deletedTokens.Add(token, nil) }

// wasDeleted reports whether this process saw the deletion of the JobRun with a token.
func (o *sightings) wasDeleted(token string) bool {
	_, ok := o.deletedTokens.Get(token)
	return ok
}

// noteEnd records how the run with a token ended.
func (o *sightings) noteEnd(token string, end *v1alpha1.RememberedOutcome) { o.ends.Add(token, end) }

// endOf returns how the run with a token ended; nil if this process does not know.
func (o *sightings) endOf(token string) *v1alpha1.RememberedOutcome {
	end, ok := o.ends.Get(token)
	if !ok {
		return nil
	}
	return end.(*v1alpha1.RememberedOutcome)
}

// noteStopped records that this process deleted a Job.
func (o *sightings) noteStopped(job types.UID) { o.stoppedJobs.Add(job, nil) }

// wasStopped reports whether this process deleted a Job.
func (o *sightings) wasStopped(job types.UID) bool {
	_, ok := o.stoppedJobs.Get(job)
	return ok
}

func leaseSubject(run types.UID) string    { return "lease/" + string(run) }
func holderSubject(run types.UID) string   { return "holder/" + string(run) }
func claimSubject(run types.UID) string    { return "claim/" + string(run) }
func deadlineSubject(run types.UID) string { return "deadline/" + string(run) }
func batchSubject(member types.UID) string { return "batch/" + string(member) }
func endSubject(run types.UID) string      { return "end/" + string(run) }
func unlockSubject(job types.UID) string   { return "unlock/" + string(job) }
func lossSubject(run types.UID) string     { return "loss/" + string(run) }
func historySubject(run types.UID) string  { return "history/" + string(run) }

func obstacleSubject(run types.UID) string  { return "obstacle/" + string(run) }
func podlessSubject(run types.UID) string   { return "podless/" + string(run) }
func eventsSubject(run types.UID) string    { return "events/" + string(run) }
func toldSubject(run types.UID) string      { return "told/" + string(run) }
func unclaimedSubject(run types.UID) string { return "unclaimed/" + string(run) }

func reservationSubject(namespace, key string) string { return "reservation/" + namespace + "/" + key }

func noteSubject(namespace string, note v1alpha1.UnconfirmedJob) string {
	return "note/" + namespace + "/" + note.Job + "/" + note.Token
}

// executionSubjects returns the subjects of a run that are needed only until the run ends.
func executionSubjects(run types.UID) []string {
	return []string{
		leaseSubject(run), holderSubject(run), claimSubject(run), deadlineSubject(run), lossSubject(run),
		obstacleSubject(run), podlessSubject(run), eventsSubject(run), toldSubject(run), unclaimedSubject(run),
	}
}

// subjects returns all subjects of a run.
func subjects(run types.UID) []string {
	return append(executionSubjects(run), batchSubject(run), endSubject(run), historySubject(run))
}

// eventsRead is what the Events about a Job without Pods said.
type eventsRead struct {
	job types.UID
	// obstacle says why the Job has no Pods; empty if no Event tells.
	obstacle string
	// failed is true if the Events could not be read.
	failed bool

	at   time.Time
	wait time.Duration // until the next read
}

// lastEvents returns what the Events about the Job of a run said when they were read last, and the time until the next
// read.
func (o *sightings) lastEvents(run, job types.UID) (last eventsRead, left time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, _ = o.unchanged[eventsSubject(run)].value.(eventsRead)
	if last.job != job {
		return eventsRead{}, 0
	}
	return last, max(last.wait-o.clock.Since(last.at), 0)
}

// noteEvents records what the Events about the Job of a run said, and returns the time until the next read. It doubles
// with each read.
func (o *sightings) noteEvents(run types.UID, read eventsRead) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	read.at, read.wait = o.clock.Now(), obstacleDelay
	if before, ok := o.unchanged[eventsSubject(run)].value.(eventsRead); ok && before.job == read.job {
		read.wait = min(2*before.wait, eventsBackoffMax)
	}
	o.unchanged[eventsSubject(run)] = sighting{value: read, since: read.at}
	return read.wait
}
