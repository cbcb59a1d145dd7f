// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// staleRetry is when to look again after a lost race, should no watch event come.
	staleRetry = 500 * time.Millisecond
	// leftRetry is when to try again what others do not wait for.
	leftRetry = time.Minute
	// maxDecisions bounds the decisions of one reconcile. Only a decision that
	// was kept from its first transition is followed by another.
	maxDecisions = 8
)

// Options of the controller.
type Options struct {
	// Keys holds the RunKeys.
	Keys *keystore.Store
	// ReceiptHistory is how many bound receipts are kept per run.
	ReceiptHistory int
	// ReservationGrace is how long a reservation is kept for a run that is not
	// there. It must exceed the API server's request timeout.
	ReservationGrace time.Duration
	// BatchTimeout is how long the members of a batch may take to come into being.
	BatchTimeout time.Duration
	// SweepPeriod is how often runs are looked for whose TTL is over before the next time.
	SweepPeriod time.Duration
	// Clock tells the time.
	Clock clock.Clock
	// Concurrency is how many keys are reconciled at once.
	Concurrency int
}

// Reconciler reconciles keys and runs.
type Reconciler struct {
	Options
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Events tells people.
	Events Recorder

	sightings *sightings
}

// Recorder records events; events.EventRecorder in production.
type Recorder struct{ events.EventRecorder }

func (r Recorder) emit(e decision.Event) {
	if e.Related == nil {
		r.Eventf(e.Run, nil, e.Type(), e.Reason, e.Action, "%s", e.Note)
		return
	}
	r.Eventf(e.Run, e.Related, e.Type(), e.Reason, e.Action, "%s", e.Note)
}

// NewReconciler makes a Reconciler.
func NewReconciler(c client.Client, live client.Reader, recorder events.EventRecorder, o Options) *Reconciler {
	return &Reconciler{Options: o, Client: c, Live: live, Events: Recorder{recorder}, sightings: newSightings(o.Clock)}
}

// SetupWithManager registers the controller. The field indexes must be there.
func SetupWithManager(mgr ctrl.Manager, o Options) error {
	r := NewReconciler(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(controllerName), o)
	if err := metrics.Registry.Register(activeCollector{mgr.GetClient()}); err != nil {
		return err
	}
	return builder.TypedControllerManagedBy[Request](mgr).
		Named(controllerName).
		Watches(&v1alpha1.JobRun{}, r.handler()).
		Watches(&v1alpha1.RunKey{}, r.handler()).
		Watches(&batchv1.Job{}, r.handler()).
		Watches(&coordinationv1.Lease{}, r.renewals()).
		WatchesRawSource(r.sweeps(mgr.GetCache())).
		WithOptions(controller.TypedOptions[Request]{
			MaxConcurrentReconciles: o.Concurrency, LogConstructor: newLogger(mgr.GetLogger()),
		}).
		Complete(r)
}

// handler maps what changed to requests.
func (r *Reconciler) handler() handler.TypedEventHandler[client.Object, Request] {
	enqueue := func(queue workqueue.TypedRateLimitingInterface[Request], requests []Request) {
		for _, request := range requests {
			queue.Add(request)
		}
	}
	return handler.TypedFuncs[client.Object, Request]{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[Request]) {
			if e.IsInInitialList {
				enqueue(q, r.Found(ctx, e.Object))
				return
			}
			enqueue(q, r.Changed(ctx, nil, e.Object))
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[Request]) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() { // from time to time, all that is cached
				enqueue(q, r.Found(ctx, e.ObjectNew))
				return
			}
			r.tellOfClaim(ctx, e.ObjectOld, e.ObjectNew)
			enqueue(q, r.Changed(ctx, e.ObjectOld, e.ObjectNew))
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[Request]) {
			enqueue(q, r.Changed(ctx, e.Object, nil))
		},
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q workqueue.TypedRateLimitingInterface[Request]) {
			enqueue(q, r.Changed(ctx, nil, e.Object))
		},
	}
}

// renewals notes when workers renew. It calls for nothing: who looks at a lease
// when its time is over finds there what was noted.
func (r *Reconciler) renewals() handler.TypedEventHandler[client.Object, Request] {
	note := func(object client.Object) {
		if lease, ok := object.(*coordinationv1.Lease); ok {
			r.sightings.noteRenewal(lease)
		}
	}
	return handler.TypedFuncs[client.Object, Request]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[Request]) {
			note(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[Request]) {
			note(e.ObjectNew)
		},
	}
}

// tellOfClaim tells of a lease that a worker has taken: no decision has written it.
func (r *Reconciler) tellOfClaim(ctx context.Context, before, after client.Object) {
	old, wasRun := before.(*v1alpha1.JobRun)
	run, isRun := after.(*v1alpha1.JobRun)
	if !wasRun || !isRun || run.RunsAsJob() || run.Status.Phase != v1alpha1.PhaseLeased ||
		!run.IsHeld() || old.LeaseGeneration() == run.LeaseGeneration() {
		return
	}
	r.Events.emit(decision.ClaimedEvent(run))
	log.FromContext(ctx).Info("A worker claimed a run", "namespace", run.Namespace, "run", run.Name, "jobName", run.Spec.JobName,
		"key", run.Spec.ConcurrencyKey, "holder", run.Status.Lease.HolderIdentity, "generation", run.LeaseGeneration())
	if old.LeaseGeneration() == 0 {
		record(decision.FirstLeaseOf(run, metav1.NewTime(r.Clock.Now())))
	}
}

// Found are the requests that an object calls for which was there when this
// process began to look. They are handled once everything that was there is known.
func (r *Reconciler) Found(ctx context.Context, object client.Object) []Request {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		if cache.IsSlim(object) {
			return r.requestsForEnded(object)
		}
	case *batchv1.Job:
		if executor.ResultOf(object) != nil {
			return nil // The run whose lease it was calls for itself, if it does not know.
		}
	}
	return r.Changed(ctx, nil, object)
}

// Changed are the requests that a change calls for; before is nil if the object
// is new, after if it is gone. A cache that has missed a deletion tells of
// another object of the same name as if the one before had changed.
func (r *Reconciler) Changed(ctx context.Context, before, after client.Object) []Request {
	var requests []Request
	if immaterial(before, after) {
		return nil
	}
	if before != nil && (after == nil || after.GetUID() != before.GetUID()) {
		r.deleted(before)
		requests = r.requests(ctx, before)
	}
	if after != nil {
		requests = append(requests, r.requests(ctx, after)...)
	}
	return requests
}

// deleted remembers what was seen deleted: its create is not under way any more.
func (r *Reconciler) deleted(object client.Object) {
	if run, ok := object.(*v1alpha1.JobRun); ok {
		r.sightings.buried(runkey.IdentityOf(run).Token)
		r.sightings.forget(subjects(run.UID)...)
		r.sightings.accepted(run.UID)
	}
}

// Reconcile brings one home, idempotency key or run forward by at most one
// transition.
func (r *Reconciler) Reconcile(ctx context.Context, req Request) (reconcile.Result, error) {
	after, err := r.reconcile(ctx, req)
	switch {
	case errors.Is(err, errStale):
		log.FromContext(ctx).V(1).Info("Observing again", "reason", err.Error())
		return reconcile.Result{RequeueAfter: staleRetry}, nil
	case isTerminating(err):
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	default:
		return reconcile.Result{RequeueAfter: after}, nil
	}
}

// isTerminating reports whether a write failed because its namespace is being
// deleted, which ends everything in it.
func isTerminating(err error) bool {
	return err != nil && apierrors.HasStatusCause(err, "NamespaceTerminating")
}

func (r *Reconciler) reconcile(ctx context.Context, req Request) (time.Duration, error) {
	switch {
	case v1alpha1.RunKeyKindOf(req.RunKey) == v1alpha1.RunKeyIdempotency:
		return r.reconcileIdempotencyKey(ctx, req)
	case req.RunKey != "":
		return r.reconcileHome(ctx, req)
	}
	run := &v1alpha1.JobRun{}
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: req.Run}, run); err != nil {
		return 0, client.IgnoreNotFound(err)
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
	case failed != nil: // What cannot be deleted keeps the run from nothing.
		log.FromContext(ctx).Error(failed, "JobRuns are kept for longer")
		kept = decision.Sooner(kept, leftRetry)
	}
	after, err := r.reconcileHome(ctx, req)
	return decision.Sooner(kept, after), err
}

// reconcileHome observes, decides and acts. A plan that was kept from its first
// transition is followed by another decision.
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

// perform carries a plan out. If it has to wait for Jobs to end, if its Job was
// refused, or if it met receipts whose status the API server refuses, next is what
// to decide on without another look; it is nil otherwise.
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
		log.FromContext(ctx).Error(err, "Receipts are left without their status")
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
	unbound, bound, err := r.observeReceipts(ctx, run)
	if err != nil {
		return 0, err
	}
	excess := max(len(bound)-r.ReceiptHistory, 0)
	held, err := r.held(ctx, run, bound[:excess])
	if err != nil {
		return 0, err
	}
	now := metav1.NewTime(r.Clock.Now())
	plan := decision.DecideRetention(decision.Retention{
		Now: now, Run: run, Seen: r.seenEnded(run, now), Unbound: unbound, Bound: bound, Held: held, History: r.ReceiptHistory,
		Sweep: r.SweepPeriod,
	})
	return plan.After, r.carryOut(ctx, req, plan)
}

// seenEnded is how long this process has seen a run at an end that was to come by
// its own clock, and so says nothing of how long ago that was.
func (r *Reconciler) seenEnded(run *v1alpha1.JobRun, now metav1.Time) time.Duration {
	end := run.Status.CompletionTime
	switch {
	case run.Spec.TTLSecondsAfterFinished == nil || end == nil:
		return 0
	case end.After(now.Time):
		return r.sightings.unchangedFor(endSubject(run.UID), end.Unix())
	default:
		return r.sightings.seenFor(endSubject(run.UID))
	}
}

// held are those of a run and its excess receipts that somebody needs still: a
// member of the batch they lead, or a receipt of their own, from when the receipt
// was a run itself.
func (r *Reconciler) held(ctx context.Context, run *v1alpha1.JobRun, excess []*v1alpha1.JobRun) (map[types.UID]bool, error) {
	held := map[types.UID]bool{run.UID: len(r.undecidedMembers(ctx, run)) > 0}
	for _, receipt := range excess {
		unbound, bound, err := r.observeReceipts(ctx, receipt)
		if err != nil {
			return nil, err
		}
		held[receipt.UID] = len(unbound) > 0 || !decision.AllHaveOutcome(bound) || len(r.undecidedMembers(ctx, receipt)) > 0
	}
	return held, nil
}
