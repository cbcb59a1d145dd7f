package controller

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// observeHome gathers what a decision about a home needs: a concurrency RunKey,
// or a run without one. What the cache does not show is looked up live before
// it counts as gone.
func (r *Reconciler) observeHome(ctx context.Context, req Request) (*Snapshot, error) {
	s := r.newSnapshot()
	home := runkey.RunHome(req.Run)
	if req.RunKey != "" {
		home, s.Keyed = req.RunKey, true
	}
	var err error
	if s.Keyed {
		if s.Key, err = r.Keys.Cached(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.RunKey}); err != nil {
			return nil, err
		}
	}
	if s.Runs, err = r.list(ctx, req.Namespace, cache.FieldHome, home); err != nil {
		return nil, err
	}
	if err := r.observeEnded(ctx, req, s); err != nil {
		return nil, err
	}
	if err := r.observeRoles(ctx, req, s); err != nil {
		return nil, err
	}
	if err := r.observeReferences(ctx, req.Namespace, s); err != nil {
		return nil, err
	}
	if err := r.observeWhole(ctx, s); err != nil {
		return nil, err
	}
	if err := r.observeVerdicts(ctx, s); err != nil {
		return nil, err
	}
	if s.Jobs, err = r.listJobs(ctx, req.Namespace, home); err != nil {
		return nil, err
	}
	if err := r.observeExecutions(ctx, s); err != nil {
		return nil, err
	}
	// Last, so that whatever a receipt is counted on was read before.
	if s.Receipts, err = r.list(ctx, req.Namespace, cache.FieldHome, home); err != nil {
		return nil, err
	}
	s.Marked = markedEntries(s)
	return s, nil
}

func (r *Reconciler) newSnapshot() *Snapshot {
	return &Snapshot{
		Now:        metav1.NewTime(r.Clock.Now()),
		Others:     map[runkey.Identity]*v1alpha1.JobRun{},
		Gone:       map[runkey.Identity]bool{},
		Owners:     map[types.UID]runkey.Identity{},
		Executions: map[types.UID]*Execution{},
		Verdicts:   map[types.UID]v1alpha1.BatchDecision{},
		waiting:    map[string]bool{},
	}
}

// observeEnded finds a run without key that has its outcome. No index has it any
// more, but a Job of it may execute yet.
func (r *Reconciler) observeEnded(ctx context.Context, req Request, s *Snapshot) error {
	if s.Keyed || len(s.Runs) > 0 {
		return nil
	}
	run := &v1alpha1.JobRun{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.Run}, run)
	if err == nil && run.HasEnded() {
		s.Others[runkey.IdentityOf(run)] = run
	}
	return client.IgnoreNotFound(err)
}

// observeRoles finds the runs that the key names.
func (r *Reconciler) observeRoles(ctx context.Context, req Request, s *Snapshot) error {
	if leased := runkey.Leased(s.spec()); leased != (runkey.Identity{}) {
		if err := r.observeRun(ctx, req.Namespace, s, leased); err != nil {
			return err
		}
	}
	pending := runkey.Pending(s.spec())
	if pending == (runkey.Identity{}) {
		r.observed.forget(reservationSubject(req.Namespace, req.RunKey))
		return nil
	}
	return r.observeReservation(ctx, req, s, pending, s.Key.Spec.Pending.Generation > 0)
}

// observeReservation finds the run that a key is reserved for. Until the grace
// period is over its create may still be under way, unless the run was seen
// before.
func (r *Reconciler) observeReservation(ctx context.Context, req Request, s *Snapshot, id runkey.Identity, seen bool) error {
	subject := reservationSubject(req.Namespace, req.RunKey)
	run, err := r.cachedRun(ctx, req.Namespace, s, id)
	if err != nil || run != nil {
		r.observed.forget(subject)
		return err
	}
	unseen := r.observed.unchangedFor(subject, id)
	if !seen && !r.observed.isBuried(id.Token) && unseen < r.ReservationGrace {
		s.again(r.ReservationGrace - unseen)
		return nil
	}
	if err := r.observeRun(ctx, req.Namespace, s, id); err != nil {
		return err
	}
	s.Void = s.Gone[id]
	return nil
}

// observeReferences finds the runs that receipts name, and the owners of their
// idempotency keys.
func (r *Reconciler) observeReferences(ctx context.Context, namespace string, s *Snapshot) error {
	for _, run := range s.Runs {
		if err := r.observeReference(ctx, namespace, s, run); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) observeReference(ctx context.Context, namespace string, s *Snapshot, run *v1alpha1.JobRun) error {
	switch {
	case run.IsReceipt():
		return r.observeStandIn(ctx, namespace, s, run)
	case run.Status.Phase != "":
		return nil
	case run.WasAbsorbed():
		if err := r.observeAbsorber(ctx, namespace, s, run); err != nil {
			return err
		}
	}
	if run.Spec.IdempotencyKey == "" {
		return nil
	}
	return r.observeOwner(ctx, namespace, s, run)
}

// observeAbsorber finds the run that a receipt was answered with. While the key
// still reserves its place, it may yet come.
func (r *Reconciler) observeAbsorber(ctx context.Context, namespace string, s *Snapshot, receipt *v1alpha1.JobRun) error {
	id := absorberOf(receipt)
	if s.Keyed && runkey.Pending(s.spec()) == id {
		return nil // observeRoles has looked.
	}
	if err := r.observeRun(ctx, namespace, s, id); err != nil {
		return err
	}
	if run := s.Others[id]; run != nil && run.IsReceipt() {
		return r.observeStandIn(ctx, namespace, s, run)
	}
	return nil
}

// observeOwner finds the run that owns a receipt's idempotency key.
func (r *Reconciler) observeOwner(ctx context.Context, namespace string, s *Snapshot, run *v1alpha1.JobRun) error {
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	key, err := r.Keys.Cached(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil || key == nil {
		return err
	}
	owner := runkey.Owner(&key.Spec)
	s.Owners[run.UID] = owner
	if owner == runkey.IdentityOf(run) {
		return nil
	}
	_, err = r.cachedRun(ctx, namespace, s, owner)
	return err
}

// observeStandIn finds the run that a bound receipt names.
func (r *Reconciler) observeStandIn(ctx context.Context, namespace string, s *Snapshot, receipt *v1alpha1.JobRun) error {
	ref := receipt.Status.RunRef
	if ref == nil || s.Gone[runOf(receipt)] || s.Others[runOf(receipt)] != nil ||
		slices.ContainsFunc(s.Runs, func(run *v1alpha1.JobRun) bool { return run.UID == ref.UID }) {
		return nil
	}
	name := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	run, err := r.getRun(ctx, name, func(run *v1alpha1.JobRun) bool { return run.UID == ref.UID })
	if err != nil {
		return err
	}
	if run == nil {
		s.Gone[runOf(receipt)] = true
		return nil
	}
	s.Others[runOf(receipt)] = run
	if run.IsReceipt() { // It has become a receipt since.
		return r.observeStandIn(ctx, namespace, s, run)
	}
	return nil
}

// observeRun finds a run by its identity, live if the cache does not show it.
func (r *Reconciler) observeRun(ctx context.Context, namespace string, s *Snapshot, id runkey.Identity) error {
	if s.known(id) || s.Gone[id] {
		return nil
	}
	run, err := r.getRun(ctx, types.NamespacedName{Namespace: namespace, Name: id.Name},
		func(run *v1alpha1.JobRun) bool { return runkey.IdentityOf(run) == id })
	switch {
	case err != nil:
		return err
	case run == nil:
		s.Gone[id] = true
	default:
		s.Others[id] = run
	}
	return nil
}

// cachedRun finds a run by its identity in the cache alone.
func (r *Reconciler) cachedRun(ctx context.Context, namespace string, s *Snapshot, id runkey.Identity) (*v1alpha1.JobRun, error) {
	for _, run := range s.Runs {
		if runkey.IdentityOf(run) == id {
			return run, nil
		}
	}
	run := &v1alpha1.JobRun{}
	switch err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: id.Name}, run); {
	case apierrors.IsNotFound(err) || (err == nil && runkey.IdentityOf(run) != id):
		return nil, nil
	case err != nil:
		return nil, err
	}
	s.Others[id] = run
	return run, nil
}

// getRun reads a JobRun from the cache, and live if it is not there as wanted.
// A run that is there live but not in the cache is not decided on: the cache
// will show it.
func (r *Reconciler) getRun(ctx context.Context, name types.NamespacedName, wanted func(*v1alpha1.JobRun) bool) (*v1alpha1.JobRun, error) {
	run := &v1alpha1.JobRun{}
	switch err := r.Client.Get(ctx, name, run); {
	case err == nil && wanted(run):
		return run, nil
	case err != nil && !apierrors.IsNotFound(err):
		return nil, err
	}
	live := &v1alpha1.JobRun{}
	switch err := r.Live.Get(ctx, name, live); {
	case apierrors.IsNotFound(err) || (err == nil && !wanted(live)):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read JobRun %s: %w", name, err)
	}
	return nil, fmt.Errorf("%w: JobRun %s is not in the cache yet", errStale, name)
}

// known reports whether the snapshot holds the run.
func (s *Snapshot) known(id runkey.Identity) bool {
	return s.Others[id] != nil || slices.ContainsFunc(s.Runs, func(run *v1alpha1.JobRun) bool { return runkey.IdentityOf(run) == id })
}

// markedEntries says of the entries of recent whether their receipts are
// marked: bound, whoever to, or gone.
func markedEntries(s *Snapshot) map[types.UID]bool {
	unmarked, waiting := map[types.UID]bool{}, map[types.UID]*v1alpha1.JobRun{}
	receipts := boundOnes(s)
	for _, receipt := range s.Receipts {
		switch ref := receipt.Status.RunRef; receipt.Status.Phase {
		case "":
			unmarked[receipt.UID] = true
		case v1alpha1.PhasePending:
			waiting[receipt.UID] = receipt
		default:
			// Bound to what has become a receipt itself, it is to be bound anew.
			unmarked[receipt.UID] = ref != nil && receipts[ref.UID]
		}
	}
	marked := map[types.UID]bool{}
	note := func(run *v1alpha1.JobRun) {
		if run.Status.Coalesced == nil {
			return
		}
		for _, entry := range run.Status.Coalesced.Recent {
			displaced := waiting[entry.UID]
			marked[entry.UID] = !unmarked[entry.UID] && (displaced == nil || !displaces(run, displaced))
		}
	}
	for _, run := range s.Runs {
		note(run)
	}
	for _, run := range s.Others {
		note(run)
	}
	return marked
}

// boundOnes are the JobRuns of a snapshot that are bound receipts.
func boundOnes(s *Snapshot) map[types.UID]bool {
	found := map[types.UID]bool{}
	note := func(run *v1alpha1.JobRun) {
		if run.IsReceipt() {
			found[run.UID] = true
		}
	}
	for _, run := range s.Runs {
		note(run)
	}
	for _, run := range s.Others {
		note(run)
	}
	return found
}

// observeIdempotencyKey gathers what a decision about an idempotency key needs.
func (r *Reconciler) observeIdempotencyKey(ctx context.Context, req Request) (*Snapshot, error) {
	s := r.newSnapshot()
	s.Keyed = true
	var err error
	if s.Key, err = r.Keys.Cached(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.RunKey}); err != nil {
		return nil, err
	}
	if s.Runs, err = r.list(ctx, req.Namespace, cache.FieldIdempotency, req.RunKey); err != nil {
		return nil, err
	}
	if owner := runkey.Owner(s.spec()); owner != (runkey.Identity{}) {
		if err := r.observeReservation(ctx, req, s, owner, false); err != nil {
			return nil, err
		}
		// observeReservation may have found it in the cache; a receipt hands the key to its run.
		if run := s.lookup(owner); !s.Void && (run == nil || !(run.IsReceipt() || s.withdrawn(run))) {
			return s, nil
		}
	}
	return s, r.observeReferences(ctx, req.Namespace, s)
}

// list reads JobRuns from the cache by a field index, oldest first. They are
// the cache's own and must not be changed.
func (r *Reconciler) list(ctx context.Context, namespace, field, value string) ([]*v1alpha1.JobRun, error) {
	var found v1alpha1.JobRunList
	err := r.Client.List(ctx, &found, client.InNamespace(namespace), client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	runs := make([]*v1alpha1.JobRun, len(found.Items))
	for i := range found.Items {
		runs[i] = &found.Items[i]
	}
	slices.SortFunc(runs, v1alpha1.CompareAge)
	return runs, nil
}

// listJobs reads the Jobs of a home from the cache. Only those that execute a run
// count: anybody may use a label.
func (r *Reconciler) listJobs(ctx context.Context, namespace, home string) ([]*batchv1.Job, error) {
	var found batchv1.JobList
	err := r.Client.List(ctx, &found, client.InNamespace(namespace), client.MatchingFields{cache.FieldJobHome: home})
	if err != nil {
		return nil, err
	}
	return controlledJobs(found.Items), nil
}

func controlledJobs(items []batchv1.Job) []*batchv1.Job {
	var jobs []*batchv1.Job
	for i := range items {
		if executor.ExecutesRun(&items[i]) {
			jobs = append(jobs, &items[i])
		}
	}
	return jobs
}

// lookup finds a run before the snapshot is prepared.
func (s *Snapshot) lookup(id runkey.Identity) *v1alpha1.JobRun {
	for _, run := range s.Runs {
		if runkey.IdentityOf(run) == id {
			return run
		}
	}
	return s.Others[id]
}
