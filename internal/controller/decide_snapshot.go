package controller

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Snapshot is everything a decision is made from. Nothing else is looked at.
type Snapshot struct {
	Now metav1.Time
	// Keyed is false for a run without a concurrencyKey, which contends with nobody.
	Keyed bool
	// Key is the RunKey; nil while the key is free.
	Key *v1alpha1.RunKey
	// Runs are the JobRuns of this home without outcome, oldest first.
	Runs []*v1alpha1.JobRun
	// Receipts are the same, listed after everything else was read: a fold
	// that is written with the version of an earlier read counts no receipt twice.
	Receipts []*v1alpha1.JobRun
	// Others are JobRuns that Key or a receipt names and that are not in Runs.
	Others map[runkey.Identity]*v1alpha1.JobRun
	// Gone says of an identity that a live read showed no such JobRun.
	Gone map[runkey.Identity]bool
	// Void says that the run that Key reserves the waiting place for is gone
	// and will not come.
	Void bool
	// Owners are the runs that own the idempotency keys of receipts, by receipt.
	Owners map[types.UID]runkey.Identity
	// Jobs are the Jobs of this home.
	Jobs []*batchv1.Job
	// Executions say how far the runs that hold a lease are.
	Executions map[types.UID]*Execution
	// Verdicts say what the leader of a batch records, by member; not set for
	// members of a batch that is undecided.
	Verdicts map[types.UID]v1alpha1.BatchDecision
	// Marked says of a receipt in some run's recent entries that it is marked, or gone.
	Marked map[types.UID]bool
	// After is when to look again even if nothing changes; 0 for never.
	After time.Duration
	// waiting are the steps of this reconcile that wait for something to stop.
	waiting map[string]bool

	// Made of the above at the beginning of a decision.
	byIdentity map[runkey.Identity]*v1alpha1.JobRun
	byUID      map[types.UID]*v1alpha1.JobRun
	counted    map[types.UID]*v1alpha1.JobRun
}

// again asks for another look no later than after.
func (s *Snapshot) again(after time.Duration) { s.After = sooner(s.After, after) }

// prepare makes the look-ups of a decision: there may be thousands of receipts.
func (s *Snapshot) prepare() {
	s.byIdentity = make(map[runkey.Identity]*v1alpha1.JobRun, len(s.Runs)+len(s.Others))
	s.byUID = make(map[types.UID]*v1alpha1.JobRun, len(s.Runs)+len(s.Others))
	s.counted = map[types.UID]*v1alpha1.JobRun{}
	for _, run := range s.Others {
		s.byIdentity[runkey.IdentityOf(run)] = run
		s.add(run)
	}
	for _, run := range s.Runs {
		s.byIdentity[runkey.IdentityOf(run)] = run
		s.add(run)
	}
}

func (s *Snapshot) add(run *v1alpha1.JobRun) {
	s.byUID[run.UID] = run
	if c := run.Status.Coalesced; c != nil {
		for _, entry := range c.Recent {
			s.counted[entry.UID] = run
		}
	}
}

// Execution says how far a run's execution is.
type Execution struct {
	// Job of the current lease; nil if there is none.
	Job *batchv1.Job
	// JobGone says that live reads showed neither the Job nor a Pod of it.
	JobGone bool
	// Output is the termination message of a finished Job.
	Output *apiextensionsv1.JSON
	// Expires says that the lease ends by itself, Left in how long. Without
	// Expires it ends with the Job.
	Expires bool
	Left    time.Duration
	// Unstored is how long a worker's claim that the key has granted may yet be
	// stored; only while it is not.
	Unstored time.Duration
	// Overdue says that the lease has lasted as long as the run may execute, which
	// is the case in Deadline. Deadline is 0 if nothing bounds it.
	Overdue  bool
	Deadline time.Duration
	// Refused says that the API server refused the Job.
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

// find is the JobRun with that identity; nil if the snapshot holds none.
func (s *Snapshot) find(id runkey.Identity) *v1alpha1.JobRun { return s.byIdentity[id] }

func (s *Snapshot) spec() *v1alpha1.RunKeySpec {
	if s.Key == nil {
		return nil
	}
	return &s.Key.Spec
}

// leasedID is who executes; the zero Identity if nobody does.
func (s *Snapshot) leasedID() runkey.Identity {
	if s.Keyed {
		return runkey.Leased(s.spec())
	}
	for _, run := range s.Runs {
		if run.Status.Phase == v1alpha1.PhaseLeased {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// leasedGeneration is the generation of who executes.
func (s *Snapshot) leasedGeneration() int64 {
	switch {
	case !s.Keyed:
		return s.find(s.leasedID()).LeaseGeneration()
	case s.Key == nil || s.Key.Spec.Leased == nil:
		return 0
	default:
		return s.Key.Spec.Leased.Generation
	}
}

// pendingID is who waits; the zero Identity if nobody does.
func (s *Snapshot) pendingID() runkey.Identity {
	if s.Keyed {
		return runkey.Pending(s.spec())
	}
	for _, run := range s.Runs {
		if run.Status.Phase != v1alpha1.PhaseLeased && !s.isReceipt(run) {
			return runkey.IdentityOf(run)
		}
	}
	return runkey.Identity{}
}

// execution of a run; never nil.
func (s *Snapshot) execution(run *v1alpha1.JobRun) *Execution {
	if e := s.Executions[run.UID]; e != nil {
		return e
	}
	return &Execution{}
}

// isReceipt reports whether a JobRun stands for no run of its own. Neither its
// labels nor its admission decide: a promoted receipt keeps both.
func (s *Snapshot) isReceipt(run *v1alpha1.JobRun) bool {
	switch run.Status.Phase {
	case v1alpha1.PhaseCoalesced, v1alpha1.PhaseIdempotent:
		return true
	case v1alpha1.PhasePending:
		return s.displaced(run)
	case "":
		switch {
		case s.displaced(run):
			return true
		case s.hasRole(run) || run.WasRun():
			return false
		case s.counted[run.UID] != nil:
			return true // Whoever counted it stands for it first.
		default:
			return s.Owners[run.UID] != runkey.IdentityOf(run) && (run.WasAbsorbed() || unadmitted(run))
		}
	default:
		return false
	}
}

// hasRole reports whether the key names the run.
func (s *Snapshot) hasRole(run *v1alpha1.JobRun) bool {
	if !s.Keyed {
		return false
	}
	id := runkey.IdentityOf(run)
	return runkey.Pending(s.spec()) == id || runkey.Leased(s.spec()) == id
}

// unadmitted reports whether a JobRun that was stored without the webhook has
// an idempotencyKey, of which must be known whose it is before it may execute.
func unadmitted(run *v1alpha1.JobRun) bool {
	return run.BypassedWebhook() && run.Spec.IdempotencyKey != ""
}

// absorberOf is the run that a receipt's trigger was answered with.
func absorberOf(receipt *v1alpha1.JobRun) runkey.Identity {
	a := receipt.Spec.Admission
	return runkey.Identity{Name: a.RunName, Token: a.RunToken}
}

// cancelled reports whether a JobRun is to end: somebody asked for it, or its
// batch was withdrawn.
func (s *Snapshot) cancelled(run *v1alpha1.JobRun) bool {
	return run.EndRequested() || s.withdrawn(run)
}

// open reports whether a run has not ended and nobody asked it to.
func (s *Snapshot) open(run *v1alpha1.JobRun) bool {
	return run != nil && !run.HasOutcome() && !s.cancelled(run)
}

// accepting reports whether a run is open and may start or stand for receipts.
func (s *Snapshot) accepting(run *v1alpha1.JobRun) bool { return s.open(run) && s.started(run) }
