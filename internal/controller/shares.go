// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// Shares says which homes this process owns while several replicas reconcile: see package membership.
type Shares interface {
	// Owns reports whether this process owns a home.
	Owns(namespace, home string) bool
	// Active reports whether this process reconciles at all.
	Active() bool
	// OnGain registers what to call after this process has gained homes.
	OnGain(func(gained func(namespace, home string) bool))
	// Enter records that a reconcile begins, and end that it ends.
	Enter() (end func())
}

// owns reports whether this process owns the home of a request. Any number of replicas may reconcile a home: sharing
// the homes out saves work, and is not needed for correctness.
func (r *Reconciler) owns(ctx context.Context, req Request) bool {
	return r.Shares == nil || r.Shares.Owns(req.Namespace, r.homeOf(ctx, req))
}

// ownsRun reports whether this process owns the home of a run.
func (r *Reconciler) ownsRun(run *v1alpha1.JobRun) bool {
	return r.Shares == nil || r.Shares.Owns(run.Namespace, runkey.Home(run))
}

// ownsKey reports whether this process owns a RunKey.
func (r *Reconciler) ownsKey(key *v1alpha1.RunKey) bool {
	return r.Shares == nil || r.Shares.Owns(key.Namespace, key.Name)
}

// homeOf returns the home that decides who reconciles a request. The requests for a run and for its key have the same
// one. A run that the cache does not show has no work yet.
func (r *Reconciler) homeOf(ctx context.Context, req Request) string {
	if req.RunKey != "" {
		return req.RunKey
	}
	run := &v1alpha1.JobRun{}
	name := types.NamespacedName{Namespace: req.Namespace, Name: req.Run}
	if err := r.Client.Get(ctx, name, run, client.UnsafeDisableDeepCopy); err != nil {
		return req.home()
	}
	return runkey.Home(run)
}

// enqueue adds the requests whose homes this process owns.
func (r *Reconciler) enqueue(ctx context.Context, q queue, requests []Request) {
	r.enqueueAfter(ctx, q, requests, 0)
}

// enqueueAfter adds the requests whose homes this process owns, after a delay.
func (r *Reconciler) enqueueAfter(ctx context.Context, q queue, requests []Request, delay time.Duration) {
	for _, request := range requests {
		if r.owns(ctx, request) {
			q.AddAfter(request, delay)
		}
	}
}

// gains are the homes that this process has gained and not looked at yet.
type gains struct {
	wake chan struct{}

	mu     sync.Mutex
	gained []func(namespace, home string) bool
}

func newGains() *gains { return &gains{wake: make(chan struct{}, 1)} }

func (g *gains) add(gained func(namespace, home string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gained = append(g.gained, gained)
	select {
	case g.wake <- struct{}{}:
	default: // The last call has not been noticed yet.
	}
}

// take returns which homes were gained since the last call.
func (g *gains) take() func(namespace, home string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.gained
	g.gained = nil
	return func(namespace, home string) bool {
		for _, gained := range taken {
			if gained(namespace, home) {
				return true
			}
		}
		return false
	}
}

// takeovers returns a source that enqueues the homes that this process has gained. All processes may have dropped events of
// such a home while no process owned it. This process owns the home before the source looks, so it drops no later event.
func (r *Reconciler) takeovers(informers cache.Informers, g *gains) source.TypedSource[Request] {
	return source.TypedFunc[Request](func(ctx context.Context, q queue) error {
		var stores []store
		for _, object := range []client.Object{&v1alpha1.JobRun{}, &v1alpha1.RunKey{}, &batchv1.Job{}} {
			all, err := storeOf(ctx, r.Client, informers, object)
			if err != nil {
				return fmt.Errorf("look at the homes that this replica gains: %w", err)
			}
			stores = append(stores, all)
		}
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-g.wake:
					r.takeOver(ctx, stores, g.take(), q)
				}
			}
		}()
		return nil
	})
}

// takeOver forgets what this process saw of the gained homes when it owned them before, and enqueues them like the objects of
// the initial list.
func (r *Reconciler) takeOver(ctx context.Context, stores []store, gained func(namespace, home string) bool, q queue) {
	for _, store := range stores {
		for _, object := range store.List() {
			r.forgetGained(object, gained)
		}
	}
	enqueued := 0
	for _, store := range stores {
		for _, item := range store.List() {
			object, ok := item.(client.Object)
			if !ok {
				continue
			}
			for _, request := range r.RequestsForExisting(ctx, object) {
				if gained(request.Namespace, r.homeOf(ctx, request)) && r.owns(ctx, request) {
					q.Add(request)
					enqueued++
				}
			}
		}
	}
	log.FromContext(ctx).Info("Took homes over", "requests", enqueued)
}

// forgetGained drops the sightings of an object whose home was gained. Another replica may have changed it since.
func (r *Reconciler) forgetGained(object any, gained func(namespace, home string) bool) {
	switch object := object.(type) {
	case *v1alpha1.JobRun:
		if gained(object.Namespace, runkey.Home(object)) {
			r.sightings.forget(subjects(object.UID)...)
			r.sightings.accepted(object.UID)
		}
	case *batchv1.Job: // Of a home that this process kept, the time begins anew, too.
		r.sightings.forget(unlockSubject(object.UID))
	case *v1alpha1.RunKey:
		if gained(object.Namespace, object.Name) {
			r.sightings.forget(reservationSubject(object.Namespace, object.Name))
			for _, note := range object.Spec.Unconfirmed {
				r.sightings.forget(noteSubject(object.Namespace, note))
			}
		}
	}
}
