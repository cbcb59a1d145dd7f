// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// observer gathers what a decision about one request needs. It reports an object as gone only after a live read.
type observer struct {
	*Reconciler
	req Request
	decision.Observation

	// byIdentity and byUID hold the JobRuns found so far. They are maps because there may be thousands of receipts.
	byIdentity map[runkey.Identity]*v1alpha1.JobRun
	byUID      map[types.UID]*v1alpha1.JobRun
	// followed holds the UIDs of the runs that observeBoundTo has looked for.
	followed map[types.UID]bool
}

func (r *Reconciler) newObserver(req Request) *observer {
	return &observer{Reconciler: r, req: req, byIdentity: map[runkey.Identity]*v1alpha1.JobRun{},
		byUID: map[types.UID]*v1alpha1.JobRun{}, followed: map[types.UID]bool{}, Observation: decision.Observation{
			Now:            metav1.NewTime(r.Clock.Now()),
			RunTTL:         r.RunTTL,
			Memory:         r.Memory == nil || r.Memory(),
			Sweep:          r.SweepPeriod,
			Gone:           map[runkey.Identity]bool{},
			GoneUIDs:       map[types.UID]bool{},
			Owners:         map[types.UID]runkey.Identity{},
			Executions:     map[types.UID]*decision.Execution{},
			BatchDecisions: map[types.UID]v1alpha1.BatchDecision{},
			Unwritable:     map[types.UID]bool{},
			Blocked:        map[string]bool{},

			IdempotencyKeys: map[types.UID]*v1alpha1.RunKeySpec{},
		}}
}

// observeRuns lists the JobRuns that a field index has under value, and remembers them.
func (o *observer) observeRuns(ctx context.Context, field, value string) (err error) {
	o.Runs, err = o.list(ctx, o.req.Namespace, field, value)
	for _, run := range o.Runs {
		o.remember(run)
	}
	return err
}

// addOther adds a JobRun that is not one of Runs.
func (o *observer) addOther(run *v1alpha1.JobRun) {
	o.Others = append(o.Others, run)
	o.remember(run)
}

func (o *observer) remember(run *v1alpha1.JobRun) {
	o.byIdentity[runkey.IdentityOf(run)], o.byUID[run.UID] = run, run
}

// observeHome gathers what a decision about a home needs. The home is a concurrency RunKey, or a run without a
// concurrencyKey.
func (r *Reconciler) observeHome(ctx context.Context, req Request) (decision.Observation, error) {
	o := r.newObserver(req)
	o.Keyed = req.RunKey != ""
	observeRuns := func(ctx context.Context) error { return o.observeRuns(ctx, cache.FieldHome, req.home()) }
	for _, observe := range []func(context.Context) error{
		o.observeKey, observeRuns, o.observeDefinition, o.awaitOwnWrites, o.observeEnded, o.observeKeyRuns, o.observeReferences, o.observeWhole, o.observeBatches,
		o.observeExecutions, o.observeUnconfirmed,
	} {
		if err := observe(ctx); err != nil {
			return decision.Observation{}, err
		}
	}
	// List the receipts after all reads of the runs that may count them (rule P8).
	var err error
	o.Relisted, err = r.list(ctx, req.Namespace, cache.FieldHome, req.home())
	return o.Observation, err
}

// observeIdempotencyKey gathers what a decision about an idempotency key needs.
func (r *Reconciler) observeIdempotencyKey(ctx context.Context, req Request) (decision.Observation, error) {
	o := r.newObserver(req)
	o.Keyed = true
	if err := o.observeKey(ctx); err != nil {
		return decision.Observation{}, err
	}
	if err := o.observeRuns(ctx, cache.FieldIdempotency, req.RunKey); err != nil {
		return decision.Observation{}, err
	}
	if err := o.awaitOwnWrites(ctx); err != nil {
		return decision.Observation{}, err
	}
	if owner := runkey.Owner(o.KeySpec()); owner != (runkey.Identity{}) {
		keeps, err := o.observeKeyOwner(ctx, owner)
		if err != nil || keeps {
			return o.Observation, err
		}
	}
	err := o.observeReferences(ctx)
	return o.Observation, err
}

// observeKeyOwner finds the owner of an idempotency key, and how it ended. It reports whether the owner keeps the key for now.
func (o *observer) observeKeyOwner(ctx context.Context, owner runkey.Identity) (keeps bool, err error) {
	if outcome := runkey.Remembered(o.KeySpec()); outcome != nil {
		o.sightings.forget(reservationSubject(o.req.Namespace, o.req.RunKey))
		return o.Now.Before(outcome.ForgetTime), nil
	}
	o.EndOfOwner = o.sightings.endOf(owner.Token)
	if err := o.observeReservation(ctx, owner, false, o.IdempotencyGrace); err != nil {
		return false, err
	}
	o.Now = metav1.NewTime(o.Clock.Now()) // The TTL must not begin before the end that was read.
	run := o.byIdentity[owner]
	if run == nil {
		isReleased := o.EndOfOwner != nil && runkey.TermsIn(o.KeySpec()).ReleasesAfter(o.EndOfOwner.Phase)
		return !o.Gone[owner] && !isReleased, nil
	}
	if runkey.AwaitsOutcome(o.KeySpec()) {
		if err := o.observeWholeOwner(ctx, run); err != nil {
			return false, err
		}
	}
	return keepsItsKey(run) && !runkey.TermsIn(o.KeySpec()).ReleasesAfter(run.Status.Phase), nil
}

// observeWholeOwner reads a slim owner live, because its key is to remember its output and error. If the owner is gone by now,
// its key remembers what the cache shows.
func (o *observer) observeWholeOwner(ctx context.Context, run *v1alpha1.JobRun) error {
	if !cache.IsSlim(run) {
		return nil
	}
	whole := &v1alpha1.JobRun{}
	switch err := o.Live.Get(ctx, client.ObjectKeyFromObject(run), whole); {
	case apierrors.IsNotFound(err) || (err == nil && whole.UID != run.UID):
		return nil
	case err != nil:
		return fmt.Errorf("read JobRun %s/%s: %w", run.Namespace, run.Name, err)
	}
	for _, found := range []*[]*v1alpha1.JobRun{&o.Runs, &o.Others} {
		if i := slices.Index(*found, run); i >= 0 {
			(*found)[i] = whole
		}
	}
	return nil
}

// keepsItsKey reports whether the fields of an owner show that it keeps its idempotency key. The owner must be a run, and
// must not be a withdrawn member of a batch.
func keepsItsKey(owner *v1alpha1.JobRun) bool {
	switch {
	case owner.IsReceipt():
		return false
	case owner.Spec.Batch == nil:
		return true
	case owner.Status.Batch != nil:
		return owner.Status.Batch.Decision == v1alpha1.BatchStarted
	default:
		return !owner.HasEnded() && !(owner.LeadsBatch() && owner.EndRequested())
	}
}

// observeKey reads the RunKey of the request, if it has one.
func (o *observer) observeKey(ctx context.Context) (err error) {
	if o.req.RunKey == "" {
		return nil
	}
	o.Key, err = o.Keys.Cached(ctx, types.NamespacedName{Namespace: o.req.Namespace, Name: o.req.RunKey})
	return err
}

// observeEnded finds an ended run that has no key. The index of homes no longer has the run, but its Job may still
// execute.
func (o *observer) observeEnded(ctx context.Context) error {
	if o.Keyed || len(o.Runs) > 0 {
		return nil
	}
	run := &v1alpha1.JobRun{}
	err := o.Client.Get(ctx, types.NamespacedName{Namespace: o.req.Namespace, Name: o.req.Run}, run)
	if err == nil && run.HasEnded() {
		o.addOther(run)
	}
	return client.IgnoreNotFound(err)
}

// observeKeyRuns finds the runs that the RunKey names.
func (o *observer) observeKeyRuns(ctx context.Context) error {
	if leased := runkey.Leased(o.KeySpec()); leased != (runkey.Identity{}) {
		if err := o.observeRun(ctx, leased); err != nil {
			return err
		}
	}
	if line := runkey.Line(o.KeySpec()); line != (runkey.Identity{}) {
		if err := o.observeRun(ctx, line); err != nil {
			return err
		}
	}
	pending := runkey.Pending(o.KeySpec())
	if pending == (runkey.Identity{}) {
		o.sightings.forget(reservationSubject(o.req.Namespace, o.req.RunKey))
		return nil
	}
	return o.observeReservation(ctx, pending, o.Key.Spec.Pending.Generation > 0, o.ReservationGrace)
}

// observeReservation finds the run that a key is reserved for. During the grace period, the create of a missing run may
// be in progress. It is not if the run existed before: if existed is true, or if this process has seen the deletion. A
// live read after the place's grace shows whether the run is gone. The reservation lapses after its own grace, which may
// be longer.
func (o *observer) observeReservation(ctx context.Context, id runkey.Identity, existed bool, grace time.Duration) error {
	subject := reservationSubject(o.req.Namespace, o.req.RunKey)
	run, err := o.cachedRun(ctx, id)
	if err != nil || run != nil {
		o.sightings.forget(subject)
		return err
	}
	unseen := o.sightings.unchangedFor(subject, id)
	existed = existed || o.sightings.wasDeleted(id.Token)
	if !existed && unseen < o.ReservationGrace {
		o.RecheckIn(o.ReservationGrace - unseen)
		return nil
	}
	if err := o.observeRun(ctx, id); err != nil {
		return err
	}
	o.ReservationLapsed = o.Gone[id] && (existed || unseen >= grace)
	if !o.ReservationLapsed {
		o.RecheckIn(grace - unseen)
	}
	return nil
}

// observeReferences finds the runs that receipts name, and the owners of the idempotency keys of JobRuns without a phase and of
// receipts whose run is gone.
func (o *observer) observeReferences(ctx context.Context) error {
	for _, run := range o.Runs {
		if err := o.observeReference(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) observeReference(ctx context.Context, run *v1alpha1.JobRun) error {
	switch {
	case run.IsReceipt():
		if err := o.observeBoundTo(ctx, run); err != nil || run.HasOutcome() || len(o.GoneUIDs) == 0 {
			return err // Only if a run is gone, the key may have to remember it.
		}
	case run.Status.Phase != "":
		return nil
	case run.WasAbsorbed():
		if err := o.observeAnsweredWith(ctx, run); err != nil {
			return err
		}
	}
	if run.Spec.IdempotencyKey == "" {
		return nil
	}
	return o.observeOwner(ctx, run)
}

// observeAnsweredWith finds the run that a receipt was answered with. It skips the run that the waiting place names:
// observeKeyRuns has looked for that run, and its create may be in progress.
func (o *observer) observeAnsweredWith(ctx context.Context, receipt *v1alpha1.JobRun) error {
	id := runkey.AnsweredWith(receipt)
	if o.Keyed && runkey.Pending(o.KeySpec()) == id {
		return nil
	}
	if err := o.observeRun(ctx, id); err != nil {
		return err
	}
	if run := o.byIdentity[id]; run != nil && run.IsReceipt() {
		return o.observeBoundTo(ctx, run)
	}
	return nil
}

// observeOwner records the owner of the idempotency key of a JobRun, and finds the owner in the cache.
func (o *observer) observeOwner(ctx context.Context, run *v1alpha1.JobRun) error {
	name := v1alpha1.IdempotencyKeyName(run.Spec.JobName, run.Spec.IdempotencyKey)
	key, err := o.Keys.Cached(ctx, types.NamespacedName{Namespace: o.req.Namespace, Name: name})
	if err != nil || key == nil {
		return err
	}
	owner := runkey.Owner(&key.Spec)
	o.Owners[run.UID] = owner
	if runkey.TermsIn(&key.Spec).TTLSeconds > 0 {
		o.IdempotencyKeys[run.UID] = &key.Spec
	}
	if owner == runkey.IdentityOf(run) {
		return nil
	}
	_, err = o.cachedRun(ctx, owner)
	return err
}

// observeBoundTo finds the run that a bound receipt names. If that run has become a bound receipt, observeBoundTo goes on
// to the run that the new receipt names.
func (o *observer) observeBoundTo(ctx context.Context, receipt *v1alpha1.JobRun) error {
	ref := receipt.Status.RunRef
	if ref == nil || o.followed[ref.UID] {
		return nil
	}
	o.followed[ref.UID] = true
	run := o.byUID[ref.UID]
	if run == nil {
		name := types.NamespacedName{Namespace: o.req.Namespace, Name: ref.Name}
		found, err := o.getRun(ctx, name, func(run *v1alpha1.JobRun) bool { return run.UID == ref.UID })
		switch {
		case err != nil:
			return err
		case found == nil:
			o.GoneUIDs[ref.UID] = true
			return nil
		}
		o.addOther(found)
		run = found
	}
	if run.IsReceipt() {
		return o.observeBoundTo(ctx, run)
	}
	return nil
}

// observeRun finds a run by its identity. If neither the cache nor a live read shows the run, it is recorded as gone.
func (o *observer) observeRun(ctx context.Context, id runkey.Identity) error {
	if o.byIdentity[id] != nil || o.Gone[id] {
		return nil
	}
	run, err := o.getRun(ctx, types.NamespacedName{Namespace: o.req.Namespace, Name: id.RunName},
		func(run *v1alpha1.JobRun) bool { return runkey.IdentityOf(run) == id })
	switch {
	case err != nil:
		return err
	case run == nil:
		o.Gone[id] = true
	default:
		o.addOther(run)
	}
	return nil
}

// cachedRun finds a run by its identity in the cache. It returns nil if the cache does not show the run.
func (o *observer) cachedRun(ctx context.Context, id runkey.Identity) (*v1alpha1.JobRun, error) {
	if run := o.byIdentity[id]; run != nil {
		return run, nil
	}
	run := &v1alpha1.JobRun{}
	switch err := o.Client.Get(ctx, types.NamespacedName{Namespace: o.req.Namespace, Name: id.RunName}, run); {
	case apierrors.IsNotFound(err) || (err == nil && runkey.IdentityOf(run) != id):
		return nil, nil
	case err != nil:
		return nil, err
	}
	o.addOther(run)
	return run, nil
}

// getRun returns the wanted JobRun of that name from the cache. If the cache does not show it, getRun reads live. It
// returns nil if the JobRun does not exist, and errStale if only the live read shows it.
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

// list returns the JobRuns that a field index has under value, oldest first. Callers must not change them, because the
// cache shares them.
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
	slices.SortFunc(runs, v1alpha1.CompareStored)
	return runs, nil
}

// observeWhole replaces the slim JobRuns (see cache.Slim) among Others by live reads, if a receipt may be counted on them
// or take over their outcome. It returns errStale if a live read shows another version than the cache.
func (o *observer) observeWhole(ctx context.Context) error {
	if !slices.ContainsFunc(o.Runs, mayBeReceipt) {
		return nil
	}
	for i, run := range o.Others {
		if !cache.IsSlim(run) {
			continue
		}
		whole := &v1alpha1.JobRun{}
		err := o.Live.Get(ctx, client.ObjectKeyFromObject(run), whole)
		switch {
		case apierrors.IsNotFound(err) || (err == nil && (whole.UID != run.UID || whole.ResourceVersion != run.ResourceVersion)):
			return fmt.Errorf("%w: JobRun %s/%s", errStale, run.Namespace, run.Name)
		case err != nil:
			return fmt.Errorf("read JobRun %s/%s: %w", run.Namespace, run.Name, err)
		}
		o.Others[i] = whole
	}
	return nil
}

// mayBeReceipt reports whether another run may stand for a JobRun.
func mayBeReceipt(run *v1alpha1.JobRun) bool {
	return run.IsReceipt() || run.WasAbsorbed() || run.BypassedWebhook()
}

// controlledJobs returns the Jobs that execute a run. Labels alone prove nothing, because every user can set them.
func controlledJobs(items []batchv1.Job) []*batchv1.Job {
	var jobs []*batchv1.Job
	for i := range items {
		if executor.ExecutesRun(&items[i]) {
			jobs = append(jobs, &items[i])
		}
	}
	return jobs
}
