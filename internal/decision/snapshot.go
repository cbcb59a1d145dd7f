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

// Observation is what the controller has read about one home or one idempotency key.
type Observation struct {
	Now metav1.Time
	// Keyed is false for the home of a run without a concurrencyKey.
	Keyed bool
	// Key is the RunKey; nil while the key is free.
	Key *v1alpha1.RunKey
	// Runs are the JobRuns of the home that have no outcome, receipts included, oldest first. For an
	// idempotency key they are all JobRuns that were triggered with it.
	Runs []*v1alpha1.JobRun
	// Relisted are the JobRuns of Runs, listed again after all other reads. Decisions count the receipts of this
	// later list on the earlier version of their run. So no receipt is counted twice (P8).
	Relisted []*v1alpha1.JobRun
	// Others are JobRuns that are not in Runs. The key, a receipt or the idempotency key of a receipt names them. An
	// ended run without a key is here, too.
	Others []*v1alpha1.JobRun
	// Gone and GoneUIDs hold JobRuns that a live read did not find, by identity and by UID.
	Gone     map[runkey.Identity]bool
	GoneUIDs map[types.UID]bool
	// ReservationLapsed is true if Key is reserved for a run that does not exist and will not be created.
	ReservationLapsed bool
	// Owners are the runs that own the idempotency keys of JobRuns without a phase, and of receipts whose run is gone, by the
	// UID of the JobRun.
	Owners map[types.UID]runkey.Identity
	// IdempotencyKeys are those of these idempotency keys that last longer than their owner.
	IdempotencyKeys map[types.UID]*v1alpha1.RunKeySpec
	// EndOfOwner is how the owner of an idempotency key ended that does not exist any more; nil if this process did not see
	// that.
	EndOfOwner *v1alpha1.RememberedOutcome
	// Memory is true if all replicas know what an idempotency key remembers. Otherwise a key lasts as long as its owner.
	Memory bool
	// Sweep is the time between two sweeps. A sweep finds the idempotency keys that are forgotten before the next one.
	Sweep time.Duration
	// Definition is the JobDefinition of the home's job; nil if it has none.
	Definition *v1alpha1.JobDefinition
	// Jobs are the Jobs of the home that the cache shows.
	Jobs []*batchv1.Job
	// Notes is true if all replicas know spec.unconfirmed of a RunKey. Otherwise no Job is noted there, and a claim lists
	// the Jobs of the key live.
	Notes bool
	// RunTTL is how long JobRuns without their own ttlSecondsAfterFinished are kept; 0 for ever.
	RunTTL time.Duration
	// Confirmed are the noted Jobs of Key that cannot appear any more.
	Confirmed []v1alpha1.UnconfirmedJob
	// Executions are the states of execution of the runs in Runs, by UID.
	Executions map[types.UID]*Execution
	// BatchDecisions are the decisions that the leaders of batches record, by the UID of a member. A batch
	// without an entry is undecided.
	BatchDecisions map[types.UID]v1alpha1.BatchDecision
	// Unwritable are receipts that are left out of Relisted. In this reconcile, the API server refused their status
	// because of its content.
	Unwritable map[types.UID]bool
	// Blocked are the steps that this reconcile skips, because a Job or a Pod must stop first.
	Blocked map[string]bool
	// Recheck is the time until the next observation if nothing changes before: a grace period ends, or the
	// controller polls Pods. 0 means never.
	Recheck time.Duration
}

// RecheckIn makes Recheck no later than after.
func (o *Observation) RecheckIn(after time.Duration) { o.Recheck = Sooner(o.Recheck, after) }

// Refuse records that the API server refused the Job of a run. holdOff is the time until the next try.
func (o *Observation) Refuse(run types.UID, refusal Refusal, holdOff time.Duration) {
	e := Execution{}
	if known := o.Executions[run]; known != nil {
		e = *known
	}
	e.Refused, e.HoldOff = &refusal, holdOff
	o.Executions[run] = &e
}

// Block skips a step until a Job or a Pod has stopped. poll is the time until the next look; 0 if a watch event reports
// the stop.
func (o *Observation) Block(step string, poll time.Duration) {
	o.Blocked[step] = true
	o.RecheckIn(poll)
}

// LeaveOut leaves receipts out of this reconcile, because the API server refused their status.
func (o *Observation) LeaveOut(receipts map[types.UID]bool, recheck time.Duration) {
	o.Relisted = slices.DeleteFunc(o.Relisted, func(receipt *v1alpha1.JobRun) bool { return receipts[receipt.UID] })
	maps.Copy(o.Unwritable, receipts)
	o.RecheckIn(recheck)
}

// Clone returns a copy with its own Executions, Unwritable and Blocked, which the methods above change.
func (o Observation) Clone() Observation {
	o.Executions, o.Unwritable, o.Blocked = maps.Clone(o.Executions), maps.Clone(o.Unwritable), maps.Clone(o.Blocked)
	return o
}

// KeySpec returns the spec of Key; nil while the key is free.
func (o *Observation) KeySpec() *v1alpha1.RunKeySpec {
	if o.Key == nil {
		return nil
	}
	return &o.Key.Spec
}

// LeasedGeneration returns the generation that the key leases; 0 if it leases no run.
func (o *Observation) LeasedGeneration() int64 {
	if o.Key == nil || o.Key.Spec.Leased == nil {
		return 0
	}
	return o.Key.Spec.Leased.Generation
}

// Execution is the state of a run's execution.
type Execution struct {
	// Job is the Job of the current lease; nil if there is none.
	Job *batchv1.Job
	// Result is the condition with which the Job ended by itself, before its deletion began; nil if it has not, or if that
	// is not known.
	Result *batchv1.JobCondition
	// JobGone is true if this process deleted the Job, and live reads showed no Job and no running Pod of the run.
	JobGone bool
	// JobLost is true if the Job is gone or being deleted, no Pod of the run runs, and the controller cannot know how the
	// Job would have ended. JobDeleted is true if this process saw that the Job was deleted before it ended.
	JobLost, JobDeleted bool
	// OutputLost is true if the Job completed, but no Pod is left that could show the output.
	OutputLost bool
	// Output is the termination message of a completed Job.
	Output *apiextensionsv1.JSON
	// Failure is what failed in the Pods of a failed Job; nil if no Pod shows it.
	Failure *v1alpha1.RunFailure
	// Expires is true if the lease has a duration. Left is the time until it expires without a renewal. A lease
	// without a duration ends with the Job.
	Expires bool
	Left    time.Duration
	// ClaimLeft is the time left for the API server to store a worker's claim that the webhook has granted; 0 if there
	// is no such claim.
	ClaimLeft time.Duration
	// Overdue is true if the lease has lasted for activeDeadlineSeconds. DeadlineLeft is the time until then;
	// 0 without a deadline, or after it.
	Overdue      bool
	DeadlineLeft time.Duration
	// Obstacle is one line that says why the Job does not get on, and is empty if it does. It is nil while that is not
	// known, or may pass by itself.
	Obstacle *string
	// UnclaimedFor is the time that a run has waited for a worker at least, while no worker of its jobName holds another
	// run; 0 if it has not waited for long.
	UnclaimedFor time.Duration
	// Refused is the API server's refusal of the Job in this reconcile; nil without one.
	Refused *Refusal
	// HoldOff is the time until the next try after a refusal.
	HoldOff time.Duration
}

// Refusal says why the API server refused a Job.
type Refusal struct {
	// Final is true if the refusal fails the run. Otherwise the controller tries again.
	Final   bool
	Message string
}

// Snapshot is an Observation and what NewSnapshot derives from it. Decisions do not change it.
type Snapshot struct {
	Observation

	byIdentity map[runkey.Identity]*v1alpha1.JobRun
	byUID      map[types.UID]*v1alpha1.JobRun
	// countedBy maps the UID of a receipt to the run that has counted it.
	countedBy map[types.UID]*v1alpha1.JobRun
	// pending is the run that waits, leased the run that executes; the zero Identity if there is none.
	pending, leased runkey.Identity
	roles           map[*v1alpha1.JobRun]Role
	// marked is the result of markedEntries.
	marked map[types.UID]bool
}

// NewSnapshot returns the Snapshot of an Observation.
func NewSnapshot(o Observation) *Snapshot {
	n := len(o.Runs) + len(o.Others)
	s := &Snapshot{
		Observation: o,
		byIdentity:  make(map[runkey.Identity]*v1alpha1.JobRun, n),
		byUID:       make(map[types.UID]*v1alpha1.JobRun, n),
		countedBy:   map[types.UID]*v1alpha1.JobRun{},
		roles:       make(map[*v1alpha1.JobRun]Role, n+len(o.Relisted)),
	}
	for _, run := range slices.Concat(o.Others, o.Runs) {
		s.byIdentity[runkey.IdentityOf(run)] = run
		s.byUID[run.UID] = run
		for _, entry := range recentEntries(run) {
			s.countedBy[entry.UID] = run
		}
	}
	s.leased, s.pending = s.findLeased(), s.findPending()
	for _, run := range slices.Concat(o.Others, o.Runs, o.Relisted) {
		s.roles[run] = s.classify(run)
	}
	s.marked = s.markedEntries()
	return s
}

// findLeased returns the run that executes.
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

// findPending returns the run that waits.
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

// Run returns the JobRun of an identity; nil if it is not in the snapshot.
func (s *Snapshot) Run(id runkey.Identity) *v1alpha1.JobRun { return s.byIdentity[id] }

// role returns the role of a JobRun of the snapshot.
func (s *Snapshot) role(run *v1alpha1.JobRun) Role { return s.roles[run] }

// leasedGeneration returns the generation of the leased run.
func (s *Snapshot) leasedGeneration() int64 {
	if s.Keyed {
		return s.LeasedGeneration()
	}
	return s.Run(s.leased).LeaseGeneration()
}

// execution returns the Execution of a run, which is never nil.
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

// mustEnd reports whether a JobRun was cancelled, is being deleted, or is in a batch that was withdrawn.
func (s *Snapshot) mustEnd(run *v1alpha1.JobRun) bool {
	return run.EndRequested() || s.isWithdrawn(run)
}

// isOpen reports whether a run has no outcome and need not end.
func (s *Snapshot) isOpen(run *v1alpha1.JobRun) bool {
	return run != nil && !run.HasOutcome() && !s.mustEnd(run)
}

// isAccepting reports whether a run may start and stand for receipts: it is open, and its batch has started.
func (s *Snapshot) isAccepting(run *v1alpha1.JobRun) bool { return s.isOpen(run) && s.hasStarted(run) }

// JobIdentity returns the run that a Job executes. The Job's controller reference comes first, because a
// client may have removed the annotation.
func (s *Snapshot) JobIdentity(job *batchv1.Job) runkey.Identity {
	if owner := metav1.GetControllerOf(job); owner != nil && s.byUID[owner.UID] != nil {
		return runkey.IdentityOf(s.byUID[owner.UID])
	}
	return executor.IdentityOf(job)
}

// LookAgain returns the time until the decision may change without a change of any object; 0 for never.
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

// Sooner returns the smaller of two durations, where 0 means never.
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
