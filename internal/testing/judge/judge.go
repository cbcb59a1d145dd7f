// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Event is a write: what was stored before and after it.
type Event struct {
	Revision uint64
	Old, New client.Object
}

// Object is the object as the event leaves it; the last state of a deleted one.
func (e *Event) Object() client.Object {
	if e.New != nil {
		return e.New
	}
	return e.Old
}

// Options of a Judge.
type Options struct {
	// Strict is whether statuses may not lag: one controller, and nothing lost.
	Strict bool
	// Fail is told each violation.
	Fail func(format string, args ...any)
	// ByHand reports whether somebody else than the operator deleted a RunKey.
	// Nil means that nobody does.
	ByHand func(types.UID) bool
}

// Judge watches every write, in the order of the writes, and knows what was
// stored at each instant.
type Judge struct {
	o    Options
	fail func(format string, args ...any)

	runs map[types.UID]*v1alpha1.JobRun // those that exist
	keys map[string]*v1alpha1.RunKey    // those that exist
	jobs map[types.UID]*batchv1.Job     // those that exist
	pods map[types.UID]*corev1.Pod      // those that exist

	everRuns map[types.UID]*v1alpha1.JobRun // the last state of each
	claims   map[runkey.Identity][]uint64   // revisions at which a run was leased
	leases   map[lease]bool                 // those that there ever were
	tokens   map[string]keyToken            // the last one of each RunKey
	counted  map[types.UID]map[types.UID]bool
	deleted  map[types.UID]bool       // JobRuns that are gone
	created  map[types.UID]uint64     // revisions at which JobRuns were created
	bereft   map[string]bool          // RunKeys that were deleted by hand
	ousted   map[runkey.Identity]bool // who lost the waiting place before there was a JobRun of it
}

// lease is one that a RunKey gave.
type lease struct {
	token      string
	generation int64
}

// New makes a Judge that has seen nothing.
func New(o Options) *Judge {
	if o.ByHand == nil {
		o.ByHand = func(types.UID) bool { return false }
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
		ousted:   map[runkey.Identity]bool{},
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
		}
	}
}

func (j *Judge) observeRun(e *Event, run *v1alpha1.JobRun) {
	j.everRuns[run.UID] = run
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
		j.arrived(run)
	}
	if old.Status.Phase != run.Status.Phase {
		j.phaseChanged(run)
	}
	if old.Status.Phase == v1alpha1.PhasePending && run.Status.Phase == v1alpha1.PhaseCoalesced {
		j.displaced(run)
	}
	j.held(old, run)
	j.counts(old, run)
}

// phaseChanged holds I1 for statuses, I2 for what is bound, and I5.
func (j *Judge) phaseChanged(run *v1alpha1.JobRun) {
	key := j.keyOf(run)
	switch run.Status.Phase {
	case v1alpha1.PhasePending:
		if j.o.Strict && run.Spec.ConcurrencyKey != "" && runkey.Pending(key) != runkey.IdentityOf(run) {
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

// displaced holds that a run gives up its place only if it asked to be absorbed,
// and only to a run that asked to wait again.
func (j *Judge) displaced(run *v1alpha1.JobRun) {
	by := j.everRuns[run.Status.RunRef.UID]
	if run.Spec.Coalesce != v1alpha1.CoalesceSkip || by == nil || by.Spec.OnLeaseExpired != v1alpha1.OnLeaseExpiredRequeue {
		j.fail("I2: %s was displaced by %v", describe(run), run.Status.RunRef)
	}
}

// held holds I1 and I4 for workers: whoever comes to hold a lease holds it of the
// key, under the key's generation, however late the claim is stored.
func (j *Judge) held(old, run *v1alpha1.JobRun) {
	held := run.Status.Lease
	if run.RunsAsJob() || run.Spec.ConcurrencyKey == "" || held == nil || held.HolderIdentity == "" ||
		(old.Status.Lease != nil && old.Status.Lease.Generation == held.Generation && old.Status.Phase == run.Status.Phase) ||
		run.Status.Phase != v1alpha1.PhaseLeased {
		return
	}
	if key := j.keyOf(run); key == nil || runkey.Leased(key) != runkey.IdentityOf(run) || key.Leased.Generation != held.Generation {
		j.fail("I4: worker %s holds %s under generation %d, but the key says %v", held.HolderIdentity, run.Name, held.Generation, key)
	}
}

// oneOfEach holds I1 for an observer of JobRuns.
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

// failed holds I5 and P7: a run fails for its key only by its own expired lease.
func (j *Judge) failed(run *v1alpha1.JobRun, key *v1alpha1.RunKeySpec) {
	if strings.Contains(run.Status.Error, "is pending for job") {
		j.fail("P7: %s was answered Created and failed for want of its key: %s", run.Name, run.Status.Error)
	}
	pending, expired := strings.CutPrefix(run.Status.Error, "Lease expired; pending run ")
	if !expired {
		return
	}
	if run.Status.Lease == nil || len(j.claims[runkey.IdentityOf(run)]) == 0 {
		j.fail("I5: %s failed for an expired lease, but never had one", run.Name)
	}
	name := strings.TrimSuffix(pending, " already exists")
	if j.o.Strict && runkey.Pending(key).RunName != name {
		j.fail("I5: %s failed for pending run %s, but the key names %v", run.Name, name, runkey.Pending(key))
	}
	for _, waiting := range j.runs {
		if j.o.Strict && runkey.IdentityOf(waiting) == runkey.Pending(key) && waiting.Spec.Coalesce == v1alpha1.CoalesceSkip &&
			run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue {
			j.fail("I5: %s asked to wait again, but failed for %s", run.Name, name)
		}
	}
}

// counts holds I3: each entry that appears is counted once, on each run.
func (j *Judge) counts(old, run *v1alpha1.JobRun) {
	before, after := old.Status.Coalesced, run.Status.Coalesced
	if after == nil {
		return
	}
	known := map[types.UID]bool{}
	var count int64
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
		fresh++
		if j.counted[run.UID] == nil {
			j.counted[run.UID] = map[types.UID]bool{}
		}
		if j.counted[run.UID][entry.UID] {
			j.fail("I3: %s counts receipt %s twice", run.Name, entry.Name)
		}
		j.counted[run.UID][entry.UID] = true
	}
	if after.Count != count+fresh {
		j.fail("I3: %s counts %d after %d, with %d new receipts", run.Name, after.Count, count, fresh)
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
		return
	}
	if after != nil && after.Leased != nil {
		j.rises(key.Name, after.Leased)
	}
	delete(j.ousted, runkey.Pending(after)) // It may have been given back and reserved again.
	// A trigger that takes over the reservation of its own name may race the other's create.
	if was, is := runkey.Pending(before), runkey.Pending(after); was.RunName != is.RunName && was != runkey.Leased(after) && !j.tookPlace(before, after) {
		j.vacated(was)
	}
	if was, is := runkey.Leased(before), runkey.Leased(after); was != is {
		if was != (runkey.Identity{}) {
			j.released(was)
		}
		if is != (runkey.Identity{}) {
			j.leases[lease{is.Token, after.Leased.Generation}] = true
			j.leased(e.Revision, key.Name, before, after)
		}
	}
}

// tookPlace reports whether an expired run waits again in the place of one that
// asked to be absorbed and exists.
func (j *Judge) tookPlace(before, after *v1alpha1.RunKeySpec) bool {
	expired, displaced := runkey.Leased(before), runkey.Pending(before)
	return expired == runkey.Pending(after) && j.holds(expired, func(run *v1alpha1.JobRun) bool {
		return run.Spec.OnLeaseExpired == v1alpha1.OnLeaseExpiredRequeue
	}) && j.holds(displaced, func(run *v1alpha1.JobRun) bool { return run.Spec.Coalesce == v1alpha1.CoalesceSkip })
}

// holds reports whether there is a JobRun of an identity of which something holds.
func (j *Judge) holds(id runkey.Identity, of func(*v1alpha1.JobRun) bool) bool {
	for _, run := range j.runs {
		if runkey.IdentityOf(run) == id {
			return of(run)
		}
	}
	return false
}

// vacated holds I2 for who waits: a run leaves the waiting place to start, or
// because it is over before it does.
func (j *Judge) vacated(id runkey.Identity) {
	if !j.ever(id) {
		j.ousted[id] = true
	}
	for _, run := range j.runs {
		if runkey.IdentityOf(run) != id || run.DeletionTimestamp != nil || j.ended(run.UID) || run.HasOutcome() ||
			run.Status.Phase == v1alpha1.PhaseCoalesced || run.Status.Phase == v1alpha1.PhaseIdempotent ||
			run.Spec.Batch != nil && j.decisionOf(run) != v1alpha1.BatchStarted {
			continue
		}
		j.fail("I2: %s lost its waiting place", describe(run))
	}
}

// ever reports whether there ever was a JobRun of an identity.
func (j *Judge) ever(id runkey.Identity) bool {
	for _, run := range j.everRuns {
		if runkey.IdentityOf(run) == id {
			return true
		}
	}
	return false
}

// arrived holds I2 for a reservation: it waits for its run to come to exist.
func (j *Judge) arrived(run *v1alpha1.JobRun) {
	a := run.Spec.Admission
	if a != nil && a.Disposition == v1alpha1.DispositionCreated && j.ousted[runkey.IdentityOf(run)] {
		j.fail("I2: %s was answered Created, but lost its waiting place before it came to exist", describe(run))
	}
}

// leased tells a claim from a lease that is restored after its key was deleted.
func (j *Judge) leased(revision uint64, name string, before, after *v1alpha1.RunKeySpec) {
	restored := j.bereft[name] && runkey.Leased(before) == runkey.Identity{} && len(j.claims[runkey.Leased(after)]) > 0
	if !restored || runkey.Pending(before) == runkey.Leased(after) {
		j.claimed(revision, before, after)
	}
}

// claimed holds I4 for generations, and that only who waits is claimed.
func (j *Judge) claimed(revision uint64, before, after *v1alpha1.RunKeySpec) {
	id := runkey.Leased(after)
	if runkey.Pending(before) != id {
		j.fail("I1: %v was leased, but %v was waiting", id, runkey.Pending(before))
		return
	}
	if after.Leased.Generation <= before.Pending.Generation {
		j.fail("I4: generation %d of %v after %d", after.Leased.Generation, id, before.Pending.Generation)
	}
	if from, err := strconv.ParseUint(after.Leased.FromVersion, 10, 64); err != nil || from >= revision {
		j.fail("P2: claim of %v at %d is based on version %q", id, revision, after.Leased.FromVersion)
	}
	j.claims[id] = append(j.claims[id], revision)
	j.executes(id.Token)
}

// released holds I8: nothing of a run executes when its key goes on. What a
// controller that was given up for dead creates later is not guaranteed.
func (j *Judge) released(id runkey.Identity) {
	for _, pod := range j.pods {
		if pod.Annotations[v1alpha1.AnnotationToken] == id.Token && running(pod) && j.o.Strict {
			j.fail("I8: %v was released while Pod %s runs", id, pod.Name)
		}
	}
	for _, job := range j.jobs {
		if job.Annotations[v1alpha1.AnnotationToken] == id.Token && !executor.IsFinished(job) && j.o.Strict {
			j.fail("I8: %v was released while Job %s is there", id, job.Name)
		}
	}
}

// observeJob holds I4 for Jobs.
func (j *Judge) observeJob(e *Event, job *batchv1.Job) {
	if e.New == nil {
		delete(j.jobs, job.UID)
		return
	}
	j.jobs[job.UID] = job
	if e.Old != nil {
		return
	}
	token, generation := job.Annotations[v1alpha1.AnnotationToken], job.Annotations[v1alpha1.AnnotationGeneration]
	j.onlyLeased(job, token, generation)
	j.executes(token)
	j.oneJobPerKey(job)
}

// onlyLeased holds that a Job is created only for what the key leases, or has
// leased: a create that is late finds the lease over.
func (j *Judge) onlyLeased(job *batchv1.Job, token, generation string) {
	name := job.Labels[v1alpha1.LabelKey]
	if name == "" {
		return
	}
	if n, err := strconv.ParseInt(generation, 10, 64); err != nil || !j.leases[lease{token, n}] {
		j.fail("I4: Job %s was created before its RunKey leased generation %s", job.Name, generation)
	}
	if !j.o.Strict {
		return
	}
	key := j.keys[name]
	if key == nil || key.Spec.Leased == nil || key.Spec.Leased.Token != token ||
		strconv.FormatInt(key.Spec.Leased.Generation, 10) != generation {
		j.fail("I4: Job %s was created without a lease", job.Name)
	}
}

func (j *Judge) oneJobPerKey(created *batchv1.Job) {
	if !j.o.Strict || created.Labels[v1alpha1.LabelKey] == "" {
		return
	}
	for _, job := range j.jobs {
		if job.UID != created.UID && !executor.IsFinished(job) && job.Labels[v1alpha1.LabelKey] == created.Labels[v1alpha1.LabelKey] {
			j.fail("I4: Jobs %s and %s of one key at once", job.Name, created.Name)
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
