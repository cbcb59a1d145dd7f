package controller

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// restoreLease gives a run that reads Leased its place in the key back, when
// the key was deleted or never heard of the claim.
func restoreLease(s *Snapshot) []Op {
	if !s.Keyed || s.leasedID() != (runkey.Identity{}) {
		return nil
	}
	for _, run := range s.Runs {
		if run.Status.Phase != v1alpha1.PhaseLeased || s.requeued(run) {
			continue
		}
		next, ok := runkey.Restore(s.spec(), run)
		if !ok {
			return nil
		}
		return concat(s.checkRunsIfKeyMissing(), []Op{CheckRun{run}}, s.swap(next))
	}
	return nil
}

// requeued reports whether the run's lease expired and the key has it waiting
// again already, so that only its status is behind.
func (s *Snapshot) requeued(run *v1alpha1.JobRun) bool {
	return s.pendingID() == runkey.IdentityOf(run) && s.Key.Spec.Pending.Generation == run.LeaseGeneration()
}

// loseLease takes the lease from a run that reads Leased while the key leases
// another: one of the two must not execute, and the key decides which.
func loseLease(s *Snapshot) []Op {
	leased := s.leasedID()
	if !s.Keyed || leased == (runkey.Identity{}) {
		return nil
	}
	for _, run := range s.Runs {
		id := runkey.IdentityOf(run)
		if run.Status.Phase != v1alpha1.PhaseLeased || id == leased || s.requeued(run) {
			continue
		}
		status := expiredStatus(run)
		if run.Status.Lease.HolderIdentity == "" {
			status.Attempts = run.Status.Attempts // It had expired, and counted.
		}
		status.Phase = ""
		if int(status.Attempts) >= maxAttempts(run) {
			status = endedStatus(run, ending{
				phase: v1alpha1.PhaseFailed, generation: run.LeaseGeneration(), reason: ReasonLeaseExpired,
				message: attemptsMessage(int(status.Attempts)), attempts: status.Attempts, now: s.Now,
			})
		}
		return concat(stopped(run), s.checkKey(), []Op{WriteStatus{run, status}, Emit{leaseExpired(run, status)}})
	}
	return nil
}

// decideLeased looks at the run that executes.
func decideLeased(s *Snapshot) []Op {
	id := s.leasedID()
	if id == (runkey.Identity{}) {
		return nil
	}
	run := s.find(id)
	switch {
	case run == nil && s.Gone[id]:
		return s.release(id, s.leasedGeneration(), true)
	case run == nil:
		return nil
	case run.HasEnded() || run.IsReceipt():
		// A receipt may be bound by another controller while it is claimed.
		return s.release(id, s.leasedGeneration(), run.Spec.Template != nil)
	case run.LeaseGeneration() > s.leasedGeneration() && run.Status.Lease.HolderIdentity == "":
		return finishExpiry(s, run)
	case run.LeaseGeneration() > s.leasedGeneration():
		return expire(s, run) // Somebody took the lease past the key.
	default:
		return decideExecution(s, run)
	}
}

// decideExecution looks at a run that holds the key, whether or not its own
// status says so yet.
func decideExecution(s *Snapshot, run *v1alpha1.JobRun) []Op {
	e := s.execution(run)
	stored := run.Status.Phase == v1alpha1.PhaseLeased
	switch {
	case e.Refused != nil && e.Refused.Final:
		return finish(s, run, failure(ReasonInvalidJob, e.Refused.Message))
	case e.Refused != nil:
		return block(s, run, e.Refused.Message)
	case stored && e.Job != nil && executor.ResultOf(e.Job) != nil:
		return finish(s, run, resultOf(e))
	case s.cancelled(run):
		return cancelLeased(s, run)
	case run.Spec.Template == nil:
		return decideWorker(s, run, stored)
	case e.HoldOff > 0:
		return nil
	case !stored || run.Status.JobRef == nil:
		return execute(s, run)
	case e.Expires && e.Left <= 0, e.JobGone:
		return expire(s, run)
	default:
		return nil
	}
}

// decideWorker looks at a run that an external worker holds, or has claimed.
func decideWorker(s *Snapshot, run *v1alpha1.JobRun, stored bool) []Op {
	e := s.execution(run)
	switch {
	case !stored:
		return takeBack(s, run)
	case run.Status.Lease.HolderIdentity == "":
		return takeGiven(s, run)
	case e.Overdue:
		return finish(s, run, failure(ReasonDeadlineExceeded, deadlineMessage(run)))
	case e.Expires && e.Left <= 0:
		return expire(s, run)
	default:
		return nil
	}
}

// takeBack ends a worker's claim that the key has granted and that was never
// stored. It fences a claim that is stored late, and goes the way of an expiry,
// though nothing was executed: so nothing fails for it, and while another run
// waits, it is left to the next claim.
func takeBack(s *Snapshot, run *v1alpha1.JobRun) []Op {
	fenced := run.LeaseGeneration() == s.leasedGeneration()
	if s.waitingBehind(run) != (runkey.Identity{}) || (s.execution(run).Unstored > 0 && !fenced) {
		return nil
	}
	status := statusOf(run)
	status.Lease = &v1alpha1.RunLease{Generation: s.leasedGeneration()}
	next, ok := runkey.Requeue(s.spec(), run, s.leasedGeneration(), s.Now)
	if !ok {
		return nil
	}
	return concat(s.checkKey(), []Op{WriteStatus{run, status}}, s.swap(next))
}

// takeGiven lets a run without key wait again that its worker gave back. One with
// a key has a higher generation then than the key, and takes the way of an expiry;
// with the same, nobody gave it back, but nobody ever held it.
func takeGiven(s *Snapshot, run *v1alpha1.JobRun) []Op {
	switch {
	case !s.Keyed:
		return []Op{WriteStatus{run, pendingStatus(run)}}
	case run.LeaseGeneration() == s.leasedGeneration():
		return expire(s, run)
	default:
		return nil
	}
}

// execute creates the Job of a lease that the key grants, and stores the lease.
func execute(s *Snapshot, run *v1alpha1.JobRun) []Op {
	generation := s.leasedGeneration()
	status := leasedStatus(run, generation, s.fromVersion(), s.Now)
	var alone []Op
	if s.execution(run).Job == nil {
		alone = []Op{NoPods{runkey.IdentityOf(run)}}
	}
	return concat(
		s.checkKey(),
		alone,
		[]Op{CheckRun{run}, CreateJob{run, generation, s.fromVersion()}},
		s.confirm(run, generation),
		[]Op{WriteStatus{run, status}},
		started(run, s.Now),
	)
}

// confirm looks at the key once more after a Job was created for it.
func (s *Snapshot) confirm(run *v1alpha1.JobRun, generation int64) []Op {
	if !s.Keyed {
		return nil
	}
	return []Op{ConfirmLease{Run: runkey.IdentityOf(run), Generation: generation}}
}

// fromVersion is the version of the key that the claim was based on.
func (s *Snapshot) fromVersion() string {
	if !s.Keyed {
		return ""
	}
	return s.Key.Spec.Leased.FromVersion
}

// block says on the run that its Job is refused for now. The lease stays, for
// whoever retries holds it.
func block(s *Snapshot, run *v1alpha1.JobRun, message string) []Op {
	if run.Status.Phase == v1alpha1.PhaseLeased && run.Status.Error == oneLine(message) {
		return nil
	}
	status := leasedStatus(run, s.claimedGeneration(run), s.claimedVersion(), s.Now)
	status.JobRef = nil
	status.Error = oneLine(message)
	return concat(s.checkKey(), []Op{WriteStatus{run, status}}, triggered(run), []Op{Emit{blocked(run, message)}})
}

// claimedGeneration is the generation that a run executes under, or is about to.
func (s *Snapshot) claimedGeneration(run *v1alpha1.JobRun) int64 {
	if s.leasedID() == runkey.IdentityOf(run) {
		return s.leasedGeneration()
	}
	return run.LeaseGeneration() + 1
}

func (s *Snapshot) claimedVersion() string {
	if s.leasedID() == (runkey.Identity{}) {
		return ""
	}
	return s.fromVersion()
}

// finish ends a run: its status first, then, once its Job was looked at again,
// the key.
func finish(s *Snapshot, run *v1alpha1.JobRun, end ending) []Op {
	end.generation = s.claimedGeneration(run)
	end.keyVersion = s.claimedVersion()
	end.now = s.Now
	status := endedStatus(run, end)
	return concat(
		s.checkKey(),
		[]Op{WriteStatus{run, status}, Emit{endedEvent(run, status)}},
		s.release(runkey.IdentityOf(run), end.generation, run.Spec.Template != nil),
	)
}

// cancelLeased ends a run on request, once nothing of it executes.
func cancelLeased(s *Snapshot, run *v1alpha1.JobRun) []Op {
	return concat(stopped(run), finish(s, run, ending{
		phase: v1alpha1.PhaseCancelled, reason: ReasonCancelled, message: "cancelled on request",
	}))
}

// expire ends a lease that was not renewed, or whose Job vanished. The run goes
// back to wait if nobody waits, or if it may take the place of whoever does, and
// fails otherwise.
func expire(s *Snapshot, run *v1alpha1.JobRun) []Op {
	attempts := attemptsAfter(run)
	if int(attempts) >= maxAttempts(run) {
		return expireForGood(s, run, attempts, attemptsMessage(int(attempts)))
	}
	if waiting := s.waitingBehind(run); waiting != (runkey.Identity{}) {
		if !s.comes(waiting) {
			return nil // What it asks for is not known.
		}
		if !displaces(run, s.find(waiting)) {
			return expireForGood(s, run, attempts, lostToMessage(waiting.Name))
		}
	}
	fenced := expiredStatus(run)
	if !s.Keyed {
		return concat(stopped(run), []Op{WriteStatus{run, requeuedStatus(fenced)}}, tellExpired(run, fenced))
	}
	return concat(
		stopped(run),
		s.checkKey(),
		[]Op{WriteStatus{run, fenced}},
		s.requeue(run, fenced),
	)
}

// finishExpiry goes on with an expiry whose fence is written already.
func finishExpiry(s *Snapshot, run *v1alpha1.JobRun) []Op {
	if waiting := s.waitingBehind(run); waiting != (runkey.Identity{}) {
		if !s.comes(waiting) {
			return nil
		}
		if !displaces(run, s.find(waiting)) {
			return expireForGood(s, run, run.Status.Attempts, lostToMessage(waiting.Name))
		}
	}
	return concat(stopped(run), []Op{CheckRun{run}}, s.requeue(run, run.Status))
}

// requeue moves a fenced run back to the waiting place, then says so.
func (s *Snapshot) requeue(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	if waiting := s.find(s.waitingBehind(run)); waiting != nil {
		return s.displace(run, waiting, fenced)
	}
	next, ok := runkey.Requeue(s.spec(), run, fenced.Lease.Generation, s.Now)
	if !ok {
		return nil
	}
	return concat(s.swap(next), tellExpired(run, fenced), []Op{WriteStatus{run, requeuedStatus(fenced)}})
}

// tellExpired tells that a lease has expired. It comes right after the write that only
// one controller can have made: another may be the one that writes the status.
func tellExpired(run *v1alpha1.JobRun, fenced v1alpha1.JobRunStatus) []Op {
	return []Op{Emit{leaseExpired(run, requeuedStatus(fenced))}, Count{expiredRequeued}}
}

func requeuedStatus(fenced v1alpha1.JobRunStatus) v1alpha1.JobRunStatus {
	pending := *fenced.DeepCopy()
	pending.Phase = v1alpha1.PhasePending
	return pending
}

// expireForGood fails a run whose lease expired.
func expireForGood(s *Snapshot, run *v1alpha1.JobRun, attempts int32, message string) []Op {
	end := ending{
		phase: v1alpha1.PhaseFailed, reason: ReasonLeaseExpired, message: message,
		attempts: attempts, generation: run.LeaseGeneration(), now: s.Now,
	}
	status := endedStatus(run, end)
	return concat(
		s.checkKey(),
		[]Op{
			WriteStatus{run, status},
			Emit{leaseExpired(run, status)},
			Emit{endedEvent(run, status)},
			Count{expiredFailed},
		},
		s.release(runkey.IdentityOf(run), end.generation, run.Spec.Template != nil),
	)
}

// waitingBehind is who waits for the key that run holds.
func (s *Snapshot) waitingBehind(run *v1alpha1.JobRun) runkey.Identity {
	if id := s.pendingID(); s.Keyed && id != runkey.IdentityOf(run) {
		return id
	}
	return runkey.Identity{}
}

// comes reports whether it is known that a run comes of a reservation: it
// exists, and is no member of a batch that may be withdrawn.
func (s *Snapshot) comes(id runkey.Identity) bool {
	run := s.find(id)
	return run != nil && s.started(run)
}

// deleteStrayJob deletes a Job that executes without the key's lease.
func deleteStrayJob(s *Snapshot) []Op {
	for _, job := range s.Jobs {
		if executor.ResultOf(job) == nil && job.DeletionTimestamp == nil && s.isStray(job) {
			return concat(s.guard(job), []Op{DeleteJob{job}})
		}
	}
	return nil
}

// guard makes sure that a stray Job is judged by what is stored now.
func (s *Snapshot) guard(job *batchv1.Job) []Op {
	id, _ := s.identityOf(job)
	if run := s.find(id); !s.Keyed && run != nil {
		return []Op{CheckRun{run}}
	}
	return s.checkKey()
}

// identityOf is the run and the generation that a Job executes: whatever somebody has
// taken from its annotations, its controller says which run it is.
func (s *Snapshot) identityOf(job *batchv1.Job) (runkey.Identity, int64) {
	id, generation := executor.IdentityOf(job), executor.GenerationOf(job)
	if owner := metav1.GetControllerOf(job); owner != nil && s.byUID[owner.UID] != nil {
		id = runkey.IdentityOf(s.byUID[owner.UID])
	}
	return id, generation
}

// isStray reports whether nothing leases the generation that a Job was made for.
func (s *Snapshot) isStray(job *batchv1.Job) bool {
	id, generation := s.identityOf(job)
	if s.Keyed {
		return s.leasedID() != id || s.leasedGeneration() != generation
	}
	run := s.find(id)
	switch {
	case run == nil:
		return s.Gone[id]
	case run.Status.Phase == v1alpha1.PhaseLeased:
		return run.LeaseGeneration() != generation
	default:
		// The Job of a claim that is not stored yet has the next generation.
		return run.HasEnded() || generation != run.LeaseGeneration()+1
	}
}

// stopped requires that nothing of a run executes.
func stopped(run *v1alpha1.JobRun) []Op {
	if run.Spec.Template == nil {
		return nil
	}
	return []Op{Stopped{Run: runkey.IdentityOf(run), Generation: run.LeaseGeneration()}}
}

func deadlineMessage(run *v1alpha1.JobRun) string {
	return fmt.Sprintf("executed for longer than activeDeadlineSeconds, %d seconds", run.Spec.ActiveDeadlineSeconds)
}

func maxAttempts(run *v1alpha1.JobRun) int {
	if run.Spec.MaxAttempts == 0 {
		return v1alpha1.DefaultMaxAttempts
	}
	return int(run.Spec.MaxAttempts)
}

func attemptsMessage(attempts int) string {
	return fmt.Sprintf("Lease expired; all %d attempts are used", attempts)
}

func lostToMessage(pending string) string {
	return fmt.Sprintf("Lease expired; pending run %s already exists", pending)
}
