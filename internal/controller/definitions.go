// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	definitionsName = "jobdefinition"
	// definitionsAtOnce is how many definitions are reconciled at once: many schedules fire on the same minute.
	definitionsAtOnce = 16
	// definitionTimeout bounds one reconcile, so that an API server that does not answer does not cost the membership.
	definitionTimeout = 20 * time.Second
	// tickBackoffBase and tickBackoffMax bound the backoff after a trigger that failed for now.
	tickBackoffBase = 500 * time.Millisecond
	tickBackoffMax  = 15 * time.Second
	// definitionRecheck is the longest time between two looks at a definition. The clock may be set meanwhile.
	definitionRecheck = 10 * time.Minute
)

// definitions reconciles JobDefinitions: their schedules, their status and the history of their runs.
type definitions struct {
	*Reconciler
	notes *definitionNotes
	// statuses are the latest statuses that this process wrote and its cache does not show yet.
	statuses *ownWrites
}

func newDefinitions(r *Reconciler) *definitions {
	return &definitions{Reconciler: r, notes: newDefinitionNotes(), statuses: newOwnWrites(r.Clock)}
}

// definitionQueue is the work queue of the controller.
type definitionQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (d *definitions) setupWithManager(mgr ctrl.Manager) error {
	gained := newGains()
	if d.Shares != nil {
		d.Shares.OnGain(gained.add)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named(definitionsName).
		Watches(&v1alpha1.JobDefinition{}, d.changes()).
		Watches(&v1alpha1.JobRun{}, d.runChanges()).
		WatchesRawSource(d.takeovers(mgr.GetCache(), gained)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: definitionsAtOnce, NeedLeaderElection: &d.LeaderElection, ReconciliationTimeout: definitionTimeout,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](tickBackoffBase, tickBackoffMax),
		}).
		Complete(d)
}

// definitionHome is the home of a JobDefinition. It is no RunKey and no runkey.RunHome.
func definitionHome(name string) string { return "definition/" + name }

func (d *definitions) owns(name types.NamespacedName) bool {
	return d.Shares == nil || d.Shares.Owns(name.Namespace, definitionHome(name.Name))
}

// changes returns the event handler of JobDefinitions. It leaves out changes of the status: this process has made most of
// them, and Reconcile has a time for what follows.
func (d *definitions) changes() handler.EventHandler {
	enqueue := func(object client.Object, q definitionQueue) {
		name := client.ObjectKeyFromObject(object)
		d.notes.add(name)
		if d.owns(name) {
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q definitionQueue) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q definitionQueue) {
			old, changed := e.ObjectOld, e.ObjectNew
			if old.GetUID() != changed.GetUID() || old.GetGeneration() != changed.GetGeneration() ||
				old.GetResourceVersion() == changed.GetResourceVersion() {
				enqueue(changed, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ definitionQueue) {
			d.notes.remove(client.ObjectKeyFromObject(e.Object))
		},
	}
}

// runChanges returns the event handler of JobRuns. It enqueues their definition, so that a definition counts its runs at most
// once per countPeriod because of them.
func (d *definitions) runChanges() handler.EventHandler {
	enqueue := func(object client.Object, q definitionQueue) {
		run, ok := object.(*v1alpha1.JobRun)
		if !ok {
			return
		}
		name := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.JobName}
		if after, known := d.notes.noteRun(name, run, d.Clock.Now()); known && d.owns(name) {
			q.AddAfter(reconcile.Request{NamespacedName: name}, after)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q definitionQueue) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q definitionQueue) {
			if changesItsJob(e.ObjectOld, e.ObjectNew) {
				enqueue(e.ObjectNew, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q definitionQueue) { enqueue(e.Object, q) },
	}
}

// changesItsJob reports whether a change of a JobRun may change the status of its definition, or what its history keeps.
func changesItsJob(before, after client.Object) bool {
	old, wasRun := before.(*v1alpha1.JobRun)
	run, isRun := after.(*v1alpha1.JobRun)
	return wasRun && isRun && (old.UID != run.UID || old.Status.Phase != run.Status.Phase || old.HasOutcome() != run.HasOutcome())
}

// takeovers returns a source that enqueues the definitions that this process has gained.
func (d *definitions) takeovers(informers cache.Informers, g *gains) source.Source {
	return source.Func(func(ctx context.Context, q definitionQueue) error {
		store, err := storeOf(ctx, d.Client, informers, &v1alpha1.JobDefinition{})
		if err != nil {
			return err
		}
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-g.wake:
					d.takeOver(store.List(), g.take(), q)
				}
			}
		}()
		return nil
	})
}

func (d *definitions) takeOver(all []any, gained func(namespace, home string) bool, q definitionQueue) {
	for _, item := range all {
		definition, ok := item.(*v1alpha1.JobDefinition)
		if !ok || !gained(definition.Namespace, definitionHome(definition.Name)) {
			continue
		}
		if name := client.ObjectKeyFromObject(definition); d.owns(name) {
			q.Add(reconcile.Request{NamespacedName: name})
		}
	}
}
