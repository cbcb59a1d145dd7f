// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Event is one write of one object. Old is the object before the write, nil for a create. New is the object
// after the write, nil for a delete.
type Event struct {
	Revision uint64
	Old, New client.Object
}

// Object returns the object after the event, or its last state if the event deletes it.
func (e *Event) Object() client.Object {
	if e.New != nil {
		return e.New
	}
	return e.Old
}

// Options configures a Judge.
type Options struct {
	// Strict forbids that statuses and Jobs lag behind the RunKeys. Set it if there is one controller,
	// which never crashes, and no call is lost.
	Strict bool
	// Fail is called with each violation.
	Fail func(format string, args ...any)
	// ByHand reports whether a person deleted the RunKey. If it is nil, people delete no RunKeys.
	ByHand func(types.UID) bool
	// NotesStay allows RunKeys at rest that are left only for their notes, because those go a minute later.
	NotesStay bool
	// JobsGo requires that at rest no Job is left: the TTL of each is over.
	JobsGo bool
	// Locked says that nobody but the operator deletes a finished Job, or a JobRun that ended a short while ago.
	Locked bool
	// Grace is how long a reservation holds without its run. 0 means that it cannot be judged, because the clocks that
	// the reservations are made with differ.
	Grace time.Duration
	// Clock tells the time of a write. Nil means that deadlines are not judged.
	Clock clock.PassiveClock
	// Calm returns since when time passes only while nothing else can happen; zero if it does not do so yet.
	Calm func() time.Time
	// Kept reports whether nobody but the operator deletes the JobRun. If it is nil, people may delete every JobRun.
	Kept func(types.UID) bool
}

// Judge checks every write against all earlier ones.
type Judge struct {
	o    Options
	fail func(format string, args ...any)

	// These objects exist.
	runs map[types.UID]*v1alpha1.JobRun
	keys map[string]*v1alpha1.RunKey
	jobs map[types.UID]*batchv1.Job
	pods map[types.UID]*corev1.Pod

	everRuns map[types.UID]*v1alpha1.JobRun   // the last state of each JobRun that ever existed
	claims   map[runkey.Identity][]uint64     // revisions of the claims of a run
	leases   map[lease]bool                   // all leases that RunKeys ever recorded
	tokens   map[string]keyToken              // by name of the RunKey
	counted  map[types.UID]map[types.UID]bool // receipts that a run ever counted, by run and receipt
	deleted  map[types.UID]bool               // JobRuns that were deleted
	created  map[types.UID]uint64             // revisions at which JobRuns were created
	bereft   map[string]bool                  // names of RunKeys that were deleted by hand
	acquired map[lease]time.Time              // when leases were acquired
	givenUp  map[lease]uint64                 // revisions at which RunKeys gave leases up
	over     map[string]uint64                // revisions at which runs were deleted, cancelled, bound or ended, by token

	made     map[types.UID]uint64 // revisions at which Jobs were created
	finished map[lease]bool       // leases of which a Job finished

	freed map[delivery]bool // idempotency keys that were released or forgotten

	sent map[string]types.UID // the last JobRun of each trigger with an annotation that identifies it

	jobNamed     map[string]bool // tokens of the runs whose status ever named a Job
	jobsOf       map[string]int  // number of Jobs that were created, by token
	jobCompleted map[lease]bool  // leases whose Job completed before its deletion began
	hasPod       map[string]bool // tokens of the runs that had a Pod
	hasSilentPod map[string]bool // tokens of the runs of which a Pod succeeded without output
}

// lease is a lease that a RunKey recorded.
type lease struct {
	token      string
	generation int64
}

// New returns a Judge of an empty namespace.
func New(o Options) *Judge {
	if o.ByHand == nil {
		o.ByHand = func(types.UID) bool { return false }
	}
	if o.Kept == nil {
		o.Kept = func(types.UID) bool { return false }
	}
	return &Judge{
		o: o, fail: o.Fail,
		runs:     map[types.UID]*v1alpha1.JobRun{},
		keys:     map[string]*v1alpha1.RunKey{},
		jobs:     map[types.UID]*batchv1.Job{},
		pods:     map[types.UID]*corev1.Pod{},
		everRuns: map[types.UID]*v1alpha1.JobRun{},
		claims:   map[runkey.Identity][]uint64{},
		leases:   map[lease]bool{},
		tokens:   map[string]keyToken{},
		counted:  map[types.UID]map[types.UID]bool{},
		deleted:  map[types.UID]bool{},
		created:  map[types.UID]uint64{},
		bereft:   map[string]bool{},
		acquired: map[lease]time.Time{},
		givenUp:  map[lease]uint64{},
		over:     map[string]uint64{},
		made:     map[types.UID]uint64{},
		finished: map[lease]bool{},
		freed:    map[delivery]bool{},
		sent:     map[string]types.UID{},

		jobNamed:     map[string]bool{},
		jobsOf:       map[string]int{},
		jobCompleted: map[lease]bool{},
		hasPod:       map[string]bool{},
		hasSilentPod: map[string]bool{},
	}
}

// Observe judges one write.
func (j *Judge) Observe(e *Event) {
	switch object := e.Object().(type) {
	case *v1alpha1.JobRun:
		j.observeRun(e, object)
	case *v1alpha1.RunKey:
		j.observeKey(e, object)
	case *batchv1.Job:
		j.observeJob(e, object)
	case *corev1.Pod:
		if e.New == nil {
			delete(j.pods, object.UID)
		} else {
			j.pods[object.UID] = object
			j.silent(object)
		}
	}
}

func (j *Judge) observeRun(e *Event, run *v1alpha1.JobRun) {
	j.everRuns[run.UID] = run
	j.mayStartUntil(e, run)
	if e.New == nil {
		delete(j.runs, run.UID)
		j.deleted[run.UID] = true
		return
	}
	j.runs[run.UID] = run
	old, _ := e.Old.(*v1alpha1.JobRun)
	if old == nil {
		old = &v1alpha1.JobRun{}
		j.created[run.UID] = e.Revision
		j.storedOnce(run)
	}
	if old.Status.Phase != run.Status.Phase {
		j.phaseChanged(run)
	}
	if old.Status.Phase == v1alpha1.PhasePending && run.Status.Phase == v1alpha1.PhaseCoalesced {
		j.displaced(run)
	}
	j.held(old, run)
	j.bounded(old, run)
	j.named(run)
	j.completed(old, run)
	j.counts(old, run)
	j.standsAlone(e, run)
	j.neverRuns(run)
	j.inherits(old, run)
}

// phaseChanged checks I1, I5 and P1 for a new phase.
func (j *Judge) phaseChanged(run *v1alpha1.JobRun) {
	key := j.keyOf(run)
	switch run.Status.Phase {
	case v1alpha1.PhasePending:
		// A later create of its name may take its place over while it is stored (P1).
		if j.o.Strict && run.Spec.ConcurrencyKey != "" && runkey.Pending(key).RunName != run.Name {
			j.fail("I1: %s reads Pending, but its key names %v", run.Name, runkey.Pending(key))
		}
	case v1alpha1.PhaseLeased:
		if j.o.Strict && run.Spec.ConcurrencyKey != "" && runkey.Leased(key) != runkey.IdentityOf(run) {
			j.fail("I1: %s reads Leased, but its key names %v", run.Name, runkey.Leased(key))
		}
	case v1alpha1.PhaseFailed:
		j.failed(run, key)
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		if run.Status.RunRef == nil || run.Status.RunRef.UID == run.UID {
			j.fail("P1: receipt %s stands for itself", run.Name)
		}
	}
	if j.o.Strict {
		j.oneOfEach(run)
	}
}

// displaced checks I2 for a run that lost its waiting place to another run: the run must have coalesce: Skip,
// and the other run must have onLeaseExpired: Requeue.
func (j *Judge) displaced(run *v1alpha1.JobRun) {
	by := j.everRuns[run.Status.RunRef.UID]
	if run.Spec.Coalesce != v1alpha1.CoalesceSkip || by == nil || by.Spec.OnLeaseExpired != v1alpha1.OnLeaseExpiredRequeue {
		j.fail("I2: %s was displaced by %v", describe(run), run.Status.RunRef)
	}
}

// held checks I1 and I4 for workers: when a worker becomes the holder, the RunKey leases the run under the
// same generation, even if the claim was stored late.
func (j *Judge) held(old, run *v1alpha1.JobRun) {
	held := run.Status.Lease
	if run.RunsAsJob() || run.Spec.ConcurrencyKey == "" || held == nil || held.HolderIdentity == "" ||
		(old.Status.Lease != nil && old.Status.Lease.Generation == held.Generation && old.Status.Phase == run.Status.Phase) ||
		run.Status.Phase != v1alpha1.PhaseLeased {
		return
	}
	if key := j.keyOf(run); key == nil || runkey.Leased(key) != runkey.IdentityOf(run) || key.Leased.Generation != held.Generation {
		j.fail("I4: worker %s holds %s under generation %d, but the key has %v", held.HolderIdentity, run.Name, held.Generation, key)
	}
}

// oneOfEach checks I1 for JobRuns: of one key, at most one reads Pending and at most one reads Leased.
func (j *Judge) oneOfEach(changed *v1alpha1.JobRun) {
	seen := map[v1alpha1.Phase]string{}
	for _, run := range j.runs {
		phase := run.Status.Phase
		if run.Spec.ConcurrencyKey == "" || runkey.Home(run) != runkey.Home(changed) ||
			(phase != v1alpha1.PhasePending && phase != v1alpha1.PhaseLeased) {
			continue
		}
		if other, ok := seen[phase]; ok {
			j.fail("I1: %s and %s both read %s", other, run.Name, phase)
		}
		seen[phase] = run.Name
	}
}

// failed checks I5 and P7: a run fails because of its key only after its own lease has expired.
func (j *Judge) failed(run *v1alpha1.JobRun, key *v1alpha1.RunKeySpec) {
	if strings.Contains(run.Status.Error, "is pending for job") {
		j.fail("P7: %s was answered Created and failed because it lost its key: %s", run.Name, run.Status.Error)
	}
	pending, expired := strings.CutPrefix(run.Status.Error, "Lease expired; pending run ")
	if !expired {
		return
	}
	if run.Status.Lease == nil || len(j.claims[runkey.IdentityOf(run)]) == 0 {
		j.fail("I5: %s failed because its lease expired, but it never had a lease", run.Name)
	}
	name := strings.TrimSuffix(pending, " already exists")
	if j.o.Strict && runkey.Pending(key).RunName != name {
		j.fail("I5: %s failed because of pending run %s, but the key names %v", run.Name, name, runkey.Pending(key))
	}
	for _, waiting := range j.runs {
		if j.o.Strict && runkey.IdentityOf(waiting) == runkey.Pending(key) && waiting.Spec.Coalesce == v1alpha1.CoalesceSkip &&
			run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue {
			j.fail("I5: %s has onLeaseExpired: Requeue, but failed because of %s", run.Name, name)
		}
	}
}

// counts checks I3: a run counts each receipt once, as often as the receipt represents triggers, and what it represents itself.
func (j *Judge) counts(old, run *v1alpha1.JobRun) {
	j.countsItself(old, run)
	before, after := old.Status.Coalesced, run.Status.Coalesced
	if after == nil {
		return
	}
	known := map[types.UID]bool{}
	count := run.Represented() - 1
	if before != nil {
		count = before.Count
		for _, entry := range before.Recent {
			known[entry.UID] = true
		}
	}
	fresh := int64(0)
	for _, entry := range after.Recent {
		if known[entry.UID] {
			continue
		}
		fresh += j.weight(entry.UID)
		if j.counted[run.UID] == nil {
			j.counted[run.UID] = map[types.UID]bool{}
		}
		if j.counted[run.UID][entry.UID] {
			j.fail("I3: %s counts receipt %s twice", run.Name, entry.Name)
		}
		j.counted[run.UID][entry.UID] = true
	}
	if after.Count != count+fresh {
		j.fail("I3: the count of %s is %d after %d, but its new receipts stand for %d triggers", run.Name, after.Count, count, fresh)
	}
}

func (j *Judge) observeKey(e *Event, key *v1alpha1.RunKey) {
	old, _ := e.Old.(*v1alpha1.RunKey)
	var before, after *v1alpha1.RunKeySpec
	if old != nil {
		before = &old.Spec
	}
	if e.New != nil {
		after = &key.Spec
		j.keys[key.Name] = key
	} else {
		delete(j.keys, key.Name)
	}
	if e.New == nil && j.o.ByHand(key.UID) {
		j.bereft[key.Name] = true
		if key.Spec.Kind == v1alpha1.RunKeyIdempotency {
			j.freed[delivery{key.Spec.JobName, key.Spec.Key}] = true // It is not rebuilt for a run that has ended.
		}
		return
	}
	if key.Spec.Kind == v1alpha1.RunKeyIdempotency {
		j.ownerChanged(before, after)
	}
	j.takesNoKey(key.Name, after)
	if after != nil && after.Leased != nil {
		j.rises(key.Name, after.Leased)
	}
	j.inOrder(before, after)
	// A change of the token alone is allowed: a trigger may take over a reservation under its own name (P1), even
	// while the create of the other trigger is in progress.
	if was, is := runkey.Pending(before), runkey.Pending(after); was.RunName != "" && was.RunName != is.RunName && was != runkey.Leased(after) && !j.tookPlace(before, after) {
		j.vacated(before.Pending)
	}
	if was, is := runkey.Leased(before), runkey.Leased(after); was != is {
		if was != (runkey.Identity{}) {
			j.released(was)
			j.givenUp[lease{was.Token, before.Leased.Generation}] = e.Revision
		}
		if is != (runkey.Identity{}) {
			j.leases[lease{is.Token, after.Leased.Generation}] = true
			j.acquire(lease{is.Token, after.Leased.Generation})
			j.leased(e.Revision, key.Name, before, after)
		}
	}
}

// tookPlace reports whether an expired run with onLeaseExpired: Requeue took the place of a waiting run that
// exists and has coalesce: Skip.
func (j *Judge) tookPlace(before, after *v1alpha1.RunKeySpec) bool {
	expired, displaced := runkey.Leased(before), runkey.Pending(before)
	return expired == runkey.Pending(after) && j.holds(expired, func(run *v1alpha1.JobRun) bool {
		return run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue
	}) && j.holds(displaced, func(run *v1alpha1.JobRun) bool { return run.Spec.Coalesce == v1alpha1.CoalesceSkip })
}

// holds reports whether the JobRun with that identity exists and meets the condition.
func (j *Judge) holds(id runkey.Identity, condition func(*v1alpha1.JobRun) bool) bool {
	run := j.find(id)
	return run != nil && condition(run)
}

// vacated checks I2 for a run that left the waiting place without being leased: it has ended, was cancelled
// or deleted, became a receipt, belongs to a batch that has not started, or was stored after the grace of its reservation.
func (j *Judge) vacated(place *v1alpha1.PendingRun) {
	run := j.find(place.RunIdentity)
	if run == nil || run.DeletionTimestamp != nil || j.ended(run.UID) || run.HasOutcome() || run.IsReceipt() ||
		run.Spec.Batch != nil && j.decisionOf(run) != v1alpha1.BatchStarted || j.isLate(run, place) {
		return
	}
	j.fail("I2: %s lost its waiting place", describe(run))
}

// isLate reports whether a run was stored after the grace of its reservation. The controller may have given its place away
// while it was stored. Both times have whole seconds.
func (j *Judge) isLate(run *v1alpha1.JobRun, place *v1alpha1.PendingRun) bool {
	if run.Status.Phase != "" || place.Time == nil {
		return false
	}
	return j.o.Grace == 0 || run.CreationTimestamp.Sub(place.Time.Time) > j.o.Grace-time.Second
}

// inOrder checks P7 for a run that gets the waiting place while the key names the first run in line: it is that run, or one
// that was stored before it. A run whose lease expired goes first. A trigger may take over a reservation under its own name (P1).
func (j *Judge) inOrder(before, after *v1alpha1.RunKeySpec) {
	first, seated := j.find(runkey.Line(before)), runkey.Pending(after)
	if first == nil || seated == (runkey.Identity{}) || seated.RunName == runkey.Pending(before).RunName ||
		seated == runkey.Leased(before) || seated == runkey.IdentityOf(first) || !waits(first) {
		return
	}
	if run := j.find(seated); run == nil || j.created[run.UID] > j.created[first.UID] {
		j.fail("P7: %s got the waiting place before %s, the first in line", seated.RunName, describe(first))
	}
}

// waits reports whether a run still waits for its turn.
func waits(run *v1alpha1.JobRun) bool {
	return !run.HasOutcome() && !run.EndRequested() && !run.IsReceipt() && run.Status.Phase != v1alpha1.PhaseLeased
}

// find returns the JobRun with an identity; nil if it does not exist.
func (j *Judge) find(id runkey.Identity) *v1alpha1.JobRun {
	for _, run := range j.runs {
		if runkey.IdentityOf(run) == id {
			return run
		}
	}
	return nil
}

// leased calls claimed, unless the lease is restored after its RunKey was deleted by hand.
func (j *Judge) leased(revision uint64, name string, before, after *v1alpha1.RunKeySpec) {
	restored := j.bereft[name] && runkey.Leased(before) == runkey.Identity{} && len(j.claims[runkey.Leased(after)]) > 0
	if !restored || runkey.Pending(before) == runkey.Leased(after) {
		j.claimed(revision, before, after)
	}
}

// claimed checks a claim: the waiting run is claimed (I1), its generation rises (I4), and the claim names the
// version of the RunKey on which it is based (P2).
func (j *Judge) claimed(revision uint64, before, after *v1alpha1.RunKeySpec) {
	id := runkey.Leased(after)
	if runkey.Pending(before) != id {
		j.fail("I1: %v was leased, but %v was waiting", id, runkey.Pending(before))
		return
	}
	if after.Leased.Generation <= before.Pending.Generation {
		j.fail("I4: generation %d of %v is not above %d", after.Leased.Generation, id, before.Pending.Generation)
	}
	if from, err := strconv.ParseUint(after.Leased.FromVersion, 10, 64); err != nil || from >= revision {
		j.fail("P2: claim of %v at %d is based on version %q", id, revision, after.Leased.FromVersion)
	}
	j.claims[id] = append(j.claims[id], revision)
	j.executes(id.Token)
	j.executesAgain(id.Token)
	j.nothingExecutes(after)
}

// released checks I8: when a run loses the lease of its key, no Job and no Pod of it executes. Only a strict
// judge checks that, because a Job that is created late may be an exception (section 11 of docs/design.md).
func (j *Judge) released(id runkey.Identity) {
	for _, pod := range j.pods {
		if pod.Annotations[v1alpha1.AnnotationToken] == id.Token && running(pod) && j.o.Strict {
			j.fail("I8: %v was released while Pod %s runs", id, pod.Name)
		}
	}
	for _, job := range j.jobs {
		if job.Annotations[v1alpha1.AnnotationToken] == id.Token && !executor.IsFinished(job) && j.o.Strict {
			j.fail("I8: %v was released while Job %s is unfinished", id, job.Name)
		}
	}
}

// observeJob checks I4 for a new Job.
func (j *Judge) observeJob(e *Event, job *batchv1.Job) {
	if e.New == nil {
		delete(j.jobs, job.UID)
		return
	}
	j.jobs[job.UID] = job
	j.jobFinished(job)
	token, generation := job.Annotations[v1alpha1.AnnotationToken], job.Annotations[v1alpha1.AnnotationGeneration]
	j.jobEnded(job, token, generation)
	if e.Old != nil {
		return
	}
	j.made[job.UID] = e.Revision
	j.onlyLeased(job, token, generation)
	j.beforeTheEnd(job, token)
	j.onlyOnce(job, token)
	j.executes(token)
	j.executesAgain(token)
	j.oneJobPerKey(job)
}

// onlyLeased checks that a Job is created for a lease that its RunKey recorded. A strict judge requires that
// the lease still lasts. Without Strict the lease may be over for a while: see PassedFence.
func (j *Judge) onlyLeased(job *batchv1.Job, token, generation string) {
	name := job.Labels[v1alpha1.LabelKey]
	if name == "" {
		return
	}
	if n, err := strconv.ParseInt(generation, 10, 64); err != nil || !j.leases[lease{token, n}] {
		j.fail("I4: Job %s was created before its RunKey leased generation %s", job.Name, generation)
	}
	key := j.keys[name]
	if key != nil && key.Spec.Leased != nil && leaseOf(job) == (lease{key.Spec.Leased.Token, key.Spec.Leased.Generation}) {
		return
	}
	if j.o.Strict {
		j.fail("I4: Job %s was created without a lease", job.Name)
	}
}

func (j *Judge) oneJobPerKey(created *batchv1.Job) {
	if !j.o.Strict || created.Labels[v1alpha1.LabelKey] == "" {
		return
	}
	for _, job := range j.jobs {
		if job.UID != created.UID && !executor.IsFinished(job) && job.Labels[v1alpha1.LabelKey] == created.Labels[v1alpha1.LabelKey] {
			j.fail("I4: Jobs %s and %s of one key exist at the same time", job.Name, created.Name)
		}
	}
	for _, pod := range j.pods {
		if running(pod) && pod.Labels[v1alpha1.LabelKey] == created.Labels[v1alpha1.LabelKey] {
			j.fail("I8: Job %s was created while Pod %s runs", created.Name, pod.Name)
		}
	}
}

func (j *Judge) keyOf(run *v1alpha1.JobRun) *v1alpha1.RunKeySpec {
	if key := j.keys[runkey.Home(run)]; key != nil {
		return &key.Spec
	}
	return nil
}

func running(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func describe(run *v1alpha1.JobRun) string {
	return fmt.Sprintf("%s (uid %s, phase %q)", run.Name, run.UID, run.Status.Phase)
}
