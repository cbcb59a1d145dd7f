// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Observation is what was read about one home, which is a concurrency RunKey or a
// run without one, or about an idempotency key. NewSnapshot makes of it what a
// decision is made from.
type Observation struct {
	Now metav1.Time
	// Keyed is false for a run without a concurrencyKey, which contends with no other.
	Keyed bool
	// Key is the RunKey; nil while the key is free.
	Key *v1alpha1.RunKey
	// Runs are the JobRuns of this home without outcome, oldest first, receipts
	// included; or all that were triggered with the idempotency key.
	Runs []*v1alpha1.JobRun
	// Relisted are the same, listed again after everything else was read. Receipts
	// are counted from it: a count that is written with the version of an earlier read
	// counts no receipt twice.
	Relisted []*v1alpha1.JobRun
	// Others are JobRuns that are not in Runs: those that Key, a receipt or the
	// idempotency key of a receipt names, and a run without key that has ended.
	Others []*v1alpha1.JobRun
	// Gone holds the identities, and GoneUIDs the UIDs, of which a live read showed
	// that there is no such JobRun.
	Gone     map[runkey.Identity]bool
	GoneUIDs map[types.UID]bool
	// ReservationLapsed is true if the run that Key reserves the waiting place for
	// is gone and will not come.
	ReservationLapsed bool
	// Owners are the runs that own the idempotency keys of JobRuns without phase.
	Owners map[types.UID]runkey.Identity
	// Jobs are the Jobs of this home.
	Jobs []*batchv1.Job
	// Executions are how far the runs are that hold a lease, or are about to.
	Executions map[types.UID]*Execution
	// BatchDecisions are what the leaders of batches record, by member; without
	// an entry the batch is undecided.
	BatchDecisions map[types.UID]v1alpha1.BatchDecision
	// Unwritable are the receipts of this reconcile whose status the API server
	// refuses for what it is. They are left out of Relisted.
	Unwritable map[types.UID]bool
	// Blocked are the steps of this reconcile that wait for something to stop.
	Blocked map[string]bool
	// Recheck is when an observation changes by itself: a grace is over, or
	// something is polled. 0 for never.
	Recheck time.Duration
}

// RecheckIn asks for another look no later than after.
func (o *Observation) RecheckIn(after time.Duration) { o.Recheck = Sooner(o.Recheck, after) }

// Refuse notes that the API server refused the Job of a run, and how long not to try
// again.
func (o *Observation) Refuse(run types.UID, refusal Refusal, holdOff time.Duration) {
	e := Execution{}
	if known := o.Executions[run]; known != nil {
		e = *known
	}
	e.Refused, e.HoldOff = &refusal, holdOff
	o.Executions[run] = &e
}

// Block leaves a step out: it waits for something to stop. poll is when to look
// again; 0 if an event tells of the end.
func (o *Observation) Block(step string, poll time.Duration) {
	o.Blocked[step] = true
	o.RecheckIn(poll)
}

// LeaveOut leaves receipts out of the decisions of this reconcile that the API
// server refuses to write.
func (o *Observation) LeaveOut(receipts map[types.UID]bool, recheck time.Duration) {
	o.Relisted = slices.DeleteFunc(o.Relisted, func(receipt *v1alpha1.JobRun) bool { return receipts[receipt.UID] })
	maps.Copy(o.Unwritable, receipts)
	o.RecheckIn(recheck)
}

// Clone copies what the methods above change.
func (o Observation) Clone() Observation {
	o.Executions, o.Unwritable, o.Blocked = maps.Clone(o.Executions), maps.Clone(o.Unwritable), maps.Clone(o.Blocked)
	return o
}

// KeySpec is the row of the key; nil while the key is free.
func (o *Observation) KeySpec() *v1alpha1.RunKeySpec {
	if o.Key == nil {
		return nil
	}
	return &o.Key.Spec
}

// LeasedGeneration is the generation that the key leases; 0 if it leases none.
func (o *Observation) LeasedGeneration() int64 {
	if o.Key == nil || o.Key.Spec.Leased == nil {
		return 0
	}
	return o.Key.Spec.Leased.Generation
}

// Execution says how far a run's execution is.
type Execution struct {
	// Job of the current lease; nil if there is none.
	Job *batchv1.Job
	// JobGone is true if live reads showed neither the Job nor a Pod of it.
	JobGone bool
	// Output is the termination message of a finished Job.
	Output *apiextensionsv1.JSON
	// Expires is true if the lease ends by itself, in Left. Otherwise it ends with
	// the Job.
	Expires bool
	Left    time.Duration
	// ClaimLeft is how long a worker's claim that the key has granted may yet be
	// stored; 0 once it is stored, or will not be.
	ClaimLeft time.Duration
	// Overdue is true if the run has executed for as long as it may. DeadlineLeft is
	// how long it still may; 0 if nothing bounds it, or once it is overdue.
	Overdue      bool
	DeadlineLeft time.Duration
	// Refused says why the API server refused the Job; nil if it did not.
	Refused *Refusal
	// HoldOff is how long not to try again after a refusal.
	HoldOff time.Duration
}

// Refusal says why the API server did not take a Job.
type Refusal struct {
	// Final refusals fail the run, others are tried again.
	Final   bool
	Message string
}

// Snapshot is everything a decision is made from: an Observation, and what
// follows from it. NewSnapshot makes it complete, and nothing changes it.
type Snapshot struct {
	Observation

	byIdentity map[runkey.Identity]*v1alpha1.JobRun
	byUID      map[types.UID]*v1alpha1.JobRun
	// countedBy is the run that has counted a receipt, by receipt.
	countedBy map[types.UID]*v1alpha1.JobRun
	// pending is the run that waits, and leased the one that executes; the zero
	// Identity if there is none.
	pending, leased runkey.Identity
	roles           map[*v1alpha1.JobRun]Role
	// marked is true for receipts in some run's recent entries that are bound, or gone.
	marked map[types.UID]bool
}

// NewSnapshot completes an Observation.
func NewSnapshot(o Observation) *Snapshot {
	n := len(o.Runs) + len(o.Others)
	s := &Snapshot{
		Observation: o,
		byIdentity:  make(map[runkey.Identity]*v1alpha1.JobRun, n),
		byUID:       make(map[types.UID]*v1alpha1.JobRun, n),
		countedBy:   map[types.UID]*v1alpha1.JobRun{},
		roles:       make(map[*v1alpha1.JobRun]Role, n+len(o.Relisted)),
	}
	for _, runs := range [][]*v1alpha1.JobRun{o.Others, o.Runs} {
		for _, run := range runs {
			s.add(run)
		}
	}
	s.leased, s.pending = s.findLeased(), s.findPending()
	for _, runs := range [][]*v1alpha1.JobRun{o.Others, o.Runs, o.Relisted} {
		for _, run := range runs {
			s.roles[run] = s.classify(run)
		}
	}
	s.marked = s.markedEntries()
	return s
}

func (s *Snapshot) add(run *v1alpha1.JobRun) {
	s.byIdentity[runkey.IdentityOf(run)] = run
	s.byUID[run.UID] = run
	for _, entry := range recentEntries(run) {
		s.countedBy[entry.UID] = run
	}
}

// findLeased is the run that executes.
func (s *Snapshot) findLeased() runkey.Identity {
	if s.Keyed {
		return runkey.Leased(s.KeySpec())
	}
	for _, run := range s.Runs {
		if run.Status.Phase == v1alpha1.PhaseLeased {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// findPending is the run that waits.
func (s *Snapshot) findPending() runkey.Identity {
	if s.Keyed {
		return runkey.Pending(s.KeySpec())
	}
	for _, run := range s.Runs {
		if run.Status.Phase != v1alpha1.PhaseLeased && !s.followsAnother(run) {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// Run is the JobRun of that identity; nil if the snapshot holds none.
func (s *Snapshot) Run(id runkey.Identity) *v1alpha1.JobRun { return s.byIdentity[id] }

// role of a JobRun of the snapshot.
func (s *Snapshot) role(run *v1alpha1.JobRun) Role { return s.roles[run] }

// leasedGeneration is the generation under which the leased run executes.
func (s *Snapshot) leasedGeneration() int64 {
	if s.Keyed {
		return s.LeasedGeneration()
	}
	return s.Run(s.leased).LeaseGeneration()
}

// execution of a run; never nil.
func (s *Snapshot) execution(run *v1alpha1.JobRun) *Execution {
	if e := s.Executions[run.UID]; e != nil {
		return e
	}
	return &Execution{}
}

// hasPlace reports whether the key names the run.
func (s *Snapshot) hasPlace(run *v1alpha1.JobRun) bool {
	id := runkey.IdentityOf(run)
	return s.Keyed && (s.pending == id || s.leased == id)
}

// mustEnd reports whether a JobRun is to end: it was cancelled, or its batch was
// withdrawn.
func (s *Snapshot) mustEnd(run *v1alpha1.JobRun) bool {
	return run.EndRequested() || s.isWithdrawn(run)
}

// isOpen reports whether a run has no outcome and nothing asks for its end.
func (s *Snapshot) isOpen(run *v1alpha1.JobRun) bool {
	return run != nil && !run.HasOutcome() && !s.mustEnd(run)
}

// isAccepting reports whether a run is open and may start or stand for receipts.
func (s *Snapshot) isAccepting(run *v1alpha1.JobRun) bool { return s.isOpen(run) && s.hasStarted(run) }

// JobIdentity is the run that a Job executes. Its controller says which, whatever
// was taken from its annotations.
func (s *Snapshot) JobIdentity(job *batchv1.Job) runkey.Identity {
	if owner := metav1.GetControllerOf(job); owner != nil && s.byUID[owner.UID] != nil {
		return runkey.IdentityOf(s.byUID[owner.UID])
	}
	return executor.IdentityOf(job)
}

// LookAgain is when time alone may change a decision; 0 for never.
func (s *Snapshot) LookAgain() time.Duration {
	soonest := s.Recheck
	for _, e := range s.Executions {
		if e.Expires {
			soonest = Sooner(soonest, e.Left)
		}
		soonest = Sooner(Sooner(soonest, e.HoldOff), Sooner(e.ClaimLeft, e.DeadlineLeft))
	}
	return soonest
}

// Sooner is the smaller one of two durations; 0 stands for never.
func Sooner(a, b time.Duration) time.Duration {
	switch {
	case a <= 0:
		return max(b, 0)
	case b <= 0:
		return a
	default:
		return min(a, b)
	}
}
