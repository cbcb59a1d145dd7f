// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/decision"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

const (
	controllerName = "jobrun"
	// staleRetry is the time until the next look after a lost race, unless a watch event comes earlier.
	staleRetry = 500 * time.Millisecond
	// announceDelay is how long the controller leaves a new run to a worker that may claim it before it reads Pending. A run
	// that is claimed in this time costs one write less.
	announceDelay = 200 * time.Millisecond
	// leftRetry is the time until the next try of a failed deletion, or of a failed status write of a receipt. No other
	// work waits for these.
	leftRetry = time.Minute
	// maxDecisions bounds the decisions of one reconcile. Another decision follows only if the last plan could not
	// make its first transition.
	maxDecisions = 8
)

// Options holds the settings of the controller.
type Options struct {
	Keys *keystore.Store
	// ReceiptHistory is the number of bound receipts that the controller keeps per run.
	ReceiptHistory int
	// ReservationGrace is the time that a waiting place stays reserved for a run that does not exist. A run that is
	// created later waits in line.
	ReservationGrace time.Duration
	// IdempotencyGrace is the time that an idempotency key stays reserved for a run that does not exist. It must exceed
	// the request timeout of the API server, because a first delivery that comes later would execute again.
	IdempotencyGrace time.Duration
	// Notes reports whether all replicas know spec.unconfirmed of a RunKey: see decision.Observation. Nil means that they do.
	Notes func() bool
	// CheckDefinition returns the reason and the message of the condition Ready of a JobDefinition. The reason of a valid
	// one is v1alpha1.ReasonDefinitionValid.
	CheckDefinition func(*v1alpha1.JobDefinition) (reason, message string)
	// CheckStored returns what a new JobRun like this one would be refused for. If it is nil, no JobRun is checked.
	CheckStored func(context.Context, *v1alpha1.JobRun) (field.ErrorList, error)
	// Memory reports whether all replicas know what an idempotency key remembers. Nil means that they do.
	Memory func() bool
	// Defines reports whether all replicas know JobDefinitions. While one does not, no schedule triggers. Nil means that they do.
	Defines func() bool
	// BatchTimeout is the time in which all members of a batch must be created.
	BatchTimeout time.Duration
	// RunTTL is how long JobRuns without their own ttlSecondsAfterFinished are kept after they have an outcome, and JobTTL is
	// how long Jobs are kept whose template has none. 0 means that they are kept, a Job for as long as its JobRun.
	RunTTL, JobTTL time.Duration
	// SweepPeriod is the interval between sweeps. A sweep enqueues the runs and Jobs whose TTL ends before the next sweep,
	// and the idempotency keys that are forgotten before it.
	SweepPeriod time.Duration
	Clock       clock.Clock
	// Concurrency is the number of requests that the controller reconciles at once.
	Concurrency int
	// JobSeries is the number of jobs that have metrics of their own. Metrics call all others "other".
	JobSeries int
	// Shares says which homes this process owns. Without it, this process owns all.
	Shares Shares
	// LeaderElection makes the controller wait until its replica is the leader.
	LeaderElection bool
}

// Reconciler reconciles keys and runs.
type Reconciler struct {
	Options
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server.
	Live   client.Reader
	Events Recorder

	sightings *sightings
	ended     *endedPods
	jobs      *seenJobs
	writes    *ownWrites
	series    *jobSeries
}

// Recorder records the events of a plan.
type Recorder struct {
	events.EventRecorder
	series *eventSeries
}

func (r Recorder) emit(e decision.Event) {
	switch {
	case e.Count > 0:
		r.series.add(e)
	case e.Related == nil:
		r.Eventf(e.Run, nil, e.Type(), e.Reason, e.Action, "%s", e.Note)
	default:
		r.Eventf(e.Run, e.Related, e.Type(), e.Reason, e.Action, "%s", e.Note)
	}
}

// NewReconciler makes a Reconciler.
func NewReconciler(c client.Client, live client.Reader, recorder events.EventRecorder, o Options) *Reconciler {
	return &Reconciler{
		Options: o, Client: c, Live: live, Events: Recorder{recorder, newEventSeries(c, o.Clock)},
		sightings: newSightings(o.Clock), ended: newEndedPods(), jobs: newSeenJobs(o.Clock),
		writes: newOwnWrites(o.Clock), series: newJobSeries(o.JobSeries),
	}
}

// SetupWithManager registers the controller. The caller must have set up the field indexes.
func SetupWithManager(mgr ctrl.Manager, o Options) error {
	r := NewReconciler(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(controllerName), o)
	if err := metrics.Registry.Register(activeCollector{r}); err != nil {
		return err
	}
	gained := newGains()
	if o.Shares != nil {
		o.Shares.OnGain(gained.add)
	}
	if err := r.watchEnds(context.Background(), mgr.GetCache()); err != nil {
		return err
	}
	if err := errors.Join(mgr.Add(jobWatch{r, mgr.GetCache()}), mgr.Add(r.Events.series)); err != nil {
		return err
	}
	if o.CheckStored != nil {
		if err := mgr.Add(storedRules{r, mgr.GetCache()}); err != nil {
			return err
		}
	}
	if err := newDefinitions(r).setupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the controller of JobDefinitions: %w", err)
	}
	return builder.TypedControllerManagedBy[Request](mgr).
		Named(controllerName).
		Watches(&v1alpha1.JobRun{}, r.handler()).
		Watches(&v1alpha1.RunKey{}, r.handler()).
		Watches(&v1alpha1.JobDefinition{}, r.handler()).
		Watches(&batchv1.Job{}, r.handler()).
		Watches(&corev1.Pod{}, r.handler()).
		Watches(&coordinationv1.Lease{}, r.renewals()).
		Watches(&corev1.ResourceQuota{}, r.quotas()).
		WatchesRawSource(r.sweeps(mgr.GetCache())).
		WatchesRawSource(r.takeovers(mgr.GetCache(), gained)).
		WithOptions(controller.TypedOptions[Request]{
			MaxConcurrentReconciles: o.Concurrency, NeedLeaderElection: &o.LeaderElection, LogConstructor: newLogger(mgr.GetLogger()),
		}).
		Complete(r)
}

// queue is the work queue of the controller.
type queue = workqueue.TypedRateLimitingInterface[Request]

// handler returns the event handler of JobRuns, RunKeys, JobDefinitions, Jobs and Pods. It enqueues the requests that an event may affect,
// if this process owns them.
func (r *Reconciler) handler() handler.TypedEventHandler[client.Object, Request] {
	return handler.TypedFuncs[client.Object, Request]{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if e.IsInInitialList {
				r.enqueue(ctx, q, r.RequestsForExisting(ctx, e.Object))
				return
			}
			requests := r.RequestsForChange(ctx, nil, e.Object)
			if run, ok := e.Object.(*v1alpha1.JobRun); ok && run.ClaimableUnannounced() {
				r.enqueueAfter(ctx, q, requests, announceDelay)
				return
			}
			r.enqueue(ctx, q, requests)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() { // a periodic resync of the cache
				r.enqueue(ctx, q, r.RequestsForExisting(ctx, e.ObjectNew))
				return
			}
			r.reportClaim(ctx, e.ObjectOld, e.ObjectNew)
			r.enqueue(ctx, q, r.RequestsForChange(ctx, e.ObjectOld, e.ObjectNew))
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			r.enqueue(ctx, q, r.RequestsForChange(ctx, e.Object, nil))
		},
	}
}

// renewals returns the event handler of Leases. It records when workers renew and enqueues nothing. When the duration
// of a lease is over, idle reads the record.
func (r *Reconciler) renewals() handler.TypedEventHandler[client.Object, Request] {
	note := func(object client.Object) {
		if lease, ok := object.(*coordinationv1.Lease); ok {
			r.sightings.noteRenewal(lease)
		}
	}
	return handler.TypedFuncs[client.Object, Request]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { note(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) { note(e.ObjectNew) },
	}
}

// reportClaim emits the event and the metric of a claim by a worker. A worker writes its claim itself, so no plan
// reports it. All replicas see the claim, and the owner of the run's home reports it.
func (r *Reconciler) reportClaim(ctx context.Context, before, after client.Object) {
	old, wasRun := before.(*v1alpha1.JobRun)
	run, isRun := after.(*v1alpha1.JobRun)
	if !wasRun || !isRun || run.RunsAsJob() || run.Status.Phase != v1alpha1.PhaseLeased ||
		!run.IsHeld() || old.LeaseGeneration() == run.LeaseGeneration() || !r.ownsRun(run) {
		return
	}
	if old.Status.RunRef == nil { // The claim came before the announcement, which would tell this.
		r.Events.emit(decision.TriggeredEvent(run))
	}
	r.Events.emit(decision.ClaimedEvent(run))
	log.FromContext(ctx).Info("A worker claimed a run", "namespace", run.Namespace, "run", run.Name, "jobName", run.Spec.JobName,
		"key", run.Spec.ConcurrencyKey, "holder", run.Status.Lease.HolderIdentity, "generation", run.LeaseGeneration())
	if old.LeaseGeneration() == 0 {
		record(decision.FirstLeaseOf(run, metav1.NewTime(r.Clock.Now())))
	}
}

// RequestsForExisting returns what to enqueue for an object of the initial list or of a resync. The controller reconciles
// these requests after the cache has synced, so it sees the objects of all initial lists.
func (r *Reconciler) RequestsForExisting(ctx context.Context, object client.Object) []Request {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		if cache.IsSlim(object) {
			return r.requestsForEnded(object)
		}
	case *v1alpha1.RunKey:
		if left, remembers := r.forgets(object); remembers && left > r.SweepPeriod {
			return nil // A later sweep finds it in time.
		}
	case *batchv1.Job:
		if executor.ResultOf(object) != nil {
			return nil // If the run has not recorded this end, the list of JobRuns enqueues the run.
		}
	case *corev1.Pod, *v1alpha1.JobDefinition:
		return nil // The list of JobRuns enqueues the runs that have no outcome.
	}
	return r.RequestsForChange(ctx, nil, object)
}

// RequestsForChange returns what to enqueue for a change. before is nil for a new object, and after is nil for a deleted
// one. The UIDs differ if the cache missed the deletion of an object and the creation of another one of the same name.
func (r *Reconciler) RequestsForChange(ctx context.Context, before, after client.Object) []Request {
	var requests []Request
	r.noteChange(ctx, before, after)
	r.writes.shown(before, after)
	r.forgetRow(before, after)
	if changesNoDecision(before, after) {
		return nil
	}
	if before != nil && (after == nil || after.GetUID() != before.GetUID()) {
		r.deleted(before)
		requests = r.requests(ctx, before)
	} else if lost := formerOwner(before, after); lost != "" {
		requests = append(requests, runRequest(after.GetNamespace(), lost))
	}
	if after != nil {
		requests = append(requests, r.requests(ctx, after)...)
	}
	return requests
}

// formerOwner returns the owner of an idempotency key that another run owns now; empty if there is none. Its retention may have
// waited for the key.
func formerOwner(before, after client.Object) string {
	old, wasKey := before.(*v1alpha1.RunKey)
	key, isKey := after.(*v1alpha1.RunKey)
	if !wasKey || !isKey || runkey.Owner(&old.Spec) == runkey.Owner(&key.Spec) {
		return ""
	}
	return runkey.Owner(&old.Spec).RunName
}

// deleted records the deletion of a JobRun or a Job. The grace period waits for a JobRun's create, which is over here. So a
// reservation for this JobRun may lapse at once.
func (r *Reconciler) deleted(object client.Object) {
	switch object := object.(type) {
	case *batchv1.Job:
		r.sightings.forget(unlockSubject(object.UID))
	case *v1alpha1.JobRun:
		r.noteEnd(object)
		r.sightings.noteDeleted(runkey.IdentityOf(object).Token)
		r.sightings.forget(subjects(object.UID)...)
		r.sightings.accepted(object.UID)
		r.jobs.forget(object.UID)
	}
}

// Reconcile makes at most one transition of a home, an idempotency key or a run. It drops a request whose home another
// process owns by now.
func (r *Reconciler) Reconcile(ctx context.Context, req Request) (reconcile.Result, error) {
	if r.Shares != nil {
		defer r.Shares.Enter()()
	}
	if !r.owns(ctx, req) {
		return reconcile.Result{}, nil
	}
	after, err := r.reconcile(ctx, req)
	switch {
	case errors.Is(err, errStale):
		log.FromContext(ctx).V(1).Info("Observing again", "reason", err.Error())
		return reconcile.Result{RequeueAfter: staleRetry}, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // The deletion of the namespace removes everything in it.
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	default:
		return reconcile.Result{RequeueAfter: after}, nil
	}
}

func (r *Reconciler) reconcile(ctx context.Context, req Request) (time.Duration, error) {
	switch {
	case v1alpha1.RunKeyKindOf(req.RunKey) == v1alpha1.RunKeyIdempotency:
		return r.reconcileIdempotencyKey(ctx, req)
	case req.RunKey != "":
		return r.reconcileHome(ctx, req)
	case req.Job != "":
		return r.reconcileJob(ctx, req)
	}
	run := &v1alpha1.JobRun{}
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.Run}, run); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	if err := r.awaitOwnWrite(run); err != nil {
		return 0, err
	}
	if run.LeadsBatch() && run.AwaitsBatch() {
		decided, err := r.reconcileBatch(ctx, req, run)
		if err != nil || run.Spec.ConcurrencyKey != "" {
			return decided, err
		}
		after, err := r.reconcileHome(ctx, req)
		return decision.Sooner(decided, after), err
	}
	if plan := decision.DecideReport(run, metav1.NewTime(r.Clock.Now())); len(plan.Ops) > 0 {
		return 0, r.carryOut(ctx, req, plan)
	}
	kept, failed := r.reconcileRetention(ctx, req, run)
	if run.Spec.ConcurrencyKey != "" {
		return kept, failed
	}
	switch {
	case errors.Is(failed, errStale):
		kept = decision.Sooner(kept, staleRetry)
	case failed != nil: // A failed deletion does not stop the other work on the run.
		log.FromContext(ctx).Error(failed, "Could not delete the JobRuns that were kept long enough")
		kept = decision.Sooner(kept, leftRetry)
	}
	after, err := r.reconcileHome(ctx, req)
	return decision.Sooner(kept, after), err
}

// reconcileHome observes, decides and acts. If a plan cannot make its first transition, reconcileHome decides again.
func (r *Reconciler) reconcileHome(ctx context.Context, req Request) (time.Duration, error) {
	o, err := r.observeHome(ctx, req)
	if err != nil {
		return 0, err
	}
	for range maxDecisions {
		s := decision.NewSnapshot(o)
		plan := decision.Decide(s)
		next, err := r.perform(ctx, req, s, plan)
		if next == nil {
			return plan.After, err
		}
		o = *next
	}
	return decision.NewSnapshot(o).LookAgain(), nil
}

// perform executes a plan. next is the observation for another decision in the same reconcile. It is set if the plan
// waits for Jobs or Pods to end, or if the API server refused its Job or the status of a receipt. Otherwise it is nil.
func (r *Reconciler) perform(ctx context.Context, req Request, s *decision.Snapshot, plan decision.Plan) (next *decision.Observation, err error) {
	a := r.newAction(req, s)
	err = a.act(ctx, plan)
	o := a.observation()
	var refused *refusedError
	var waiting *waitingError
	switch {
	case errors.As(err, &refused):
		o.Refuse(refused.run, refused.refusal, refused.holdOff)
	case errors.As(err, &waiting):
		o.Block(plan.Step, waiting.poll)
	case len(a.unwritable) > 0:
		log.FromContext(ctx).Error(err, "Could not write the status of some receipts")
		o.LeaveOut(a.unwritable, leftRetry)
	default:
		return nil, err
	}
	return &o, nil
}

func (r *Reconciler) reconcileIdempotencyKey(ctx context.Context, req Request) (time.Duration, error) {
	o, err := r.observeIdempotencyKey(ctx, req)
	if err != nil {
		return 0, err
	}
	s := decision.NewSnapshot(o)
	plan := decision.DecideIdempotencyKey(s)
	return plan.After, r.newAction(req, s).act(ctx, plan)
}

func (r *Reconciler) reconcileRetention(ctx context.Context, req Request, run *v1alpha1.JobRun) (time.Duration, error) {
	now := metav1.NewTime(r.Clock.Now())
	t := decision.Retention{
		Now: now, Run: run, Seen: r.seenEnded(run, now), History: r.ReceiptHistory, TTL: r.RunTTL, Sweep: r.SweepPeriod,
	}
	awaited := false
	if left, kept := t.TimeToLive(); kept && left <= 0 {
		var err error
		if awaited, err = r.isAwaited(ctx, run); err != nil {
			return 0, err
		}
	}
	var err error
	if t.Unbound, t.Bound, err = r.observeReceipts(ctx, run); err != nil { // After isAwaited: a delivery that is bound in between is one of them (P9).
		return 0, err
	}
	excess, _ := decision.BeyondReceiptHistory(t.Bound, r.ReceiptHistory, now)
	if t.Held, err = r.findHeld(ctx, run, excess); err != nil {
		return 0, err
	}
	t.Held[run.UID] = t.Held[run.UID] || awaited
	plan := decision.DecideRetention(t)
	return plan.After, r.carryOut(ctx, req, plan)
}

// seenEnded returns how long ago this process first saw the completionTime of a run. It returns 0 unless completionTime
// was then in the future. Such a completionTime comes from a clock that is ahead, so the TTL counts from the sighting.
func (r *Reconciler) seenEnded(run *v1alpha1.JobRun, now metav1.Time) time.Duration {
	end := run.Status.CompletionTime
	switch {
	case end == nil:
		return 0
	case end.After(now.Time):
		return r.sightings.unchangedFor(endSubject(run.UID), end.Unix())
	default:
		return r.sightings.seenFor(endSubject(run.UID))
	}
}

// findHeld returns which of a run and its excess receipts must be kept. The leader of a batch is kept until each member
// has recorded the batch's decision. A receipt that was a run before may have receipts of its own. It is kept until they
// have an outcome.
func (r *Reconciler) findHeld(ctx context.Context, run *v1alpha1.JobRun, excess []*v1alpha1.JobRun) (map[types.UID]bool, error) {
	held := map[types.UID]bool{run.UID: len(r.undecidedMembers(ctx, run)) > 0}
	for _, receipt := range excess {
		unbound, bound, err := r.observeReceipts(ctx, receipt)
		if err != nil {
			return nil, err
		}
		awaited, err := r.awaitsSchedule(ctx, receipt)
		if err != nil {
			return nil, err
		}
		held[receipt.UID] = awaited || len(unbound) > 0 || !decision.AllHaveOutcome(bound) || len(r.undecidedMembers(ctx, receipt)) > 0
	}
	return held, nil
}

// isAwaited reports whether a JobRun must be kept until an idempotency key remembers how it ended, until a delivery is bound to
// it, or until its definition has the time that triggered it.
func (r *Reconciler) isAwaited(ctx context.Context, run *v1alpha1.JobRun) (bool, error) {
	for _, awaits := range []func(context.Context, *v1alpha1.JobRun) (bool, error){r.awaitsMemory, r.awaitsDelivery, r.awaitsSchedule} {
		if awaited, err := awaits(ctx, run); err != nil || awaited {
			return awaited, err
		}
	}
	return false, nil
}
