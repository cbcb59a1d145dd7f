// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// lease is the worker's Lease. It keeps every run alive that the worker holds.
type lease struct {
	w *Worker
	// holder is unique to this process, even if two processes have the same identity.
	holder string
	kick   chan struct{}

	calls sync.Mutex // serialises the calls to the API server
	// stored is the Lease as it was last written, or nil before the first write.
	stored *coordinationv1.Lease

	mu sync.Mutex
	// renewed is when the last successful renewal was sent.
	renewed time.Time
}

func newLease(w *Worker) *lease {
	return &lease{w: w, holder: w.o.Identity + "_" + randomSuffix(), kick: make(chan struct{}, 1)}
}

func (l *lease) wake() { offer(l.kick, struct{}{}) }

// keep renews the Lease while the worker holds runs, at a third of the shortest duration, until ctx is done.
func (l *lease) keep(ctx context.Context) {
	var retry time.Time
	for ctx.Err() == nil {
		now := l.w.clock.Now()
		due, period := l.due(now)
		if retry.After(due) {
			due = retry
		}
		if wait := due.Sub(now); wait > 0 {
			l.wait(ctx, wait)
			continue
		}
		retry = time.Time{}
		if err := l.renew(ctx, max(period, minRefusal)); err != nil && ctx.Err() == nil {
			l.w.log.Warn("Cannot renew the worker's Lease, will try again", "error", err)
			retry = l.w.clock.Now().Add(min(period/4, 5*time.Second))
		}
	}
}

func (l *lease) wait(ctx context.Context, d time.Duration) {
	timer := l.w.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.kick:
	case <-timer.C():
	}
}

// due returns when the next renewal is due, and a third of the shortest duration.
func (l *lease) due(now time.Time) (due time.Time, period time.Duration) {
	due, period = now.Add(idleRecheck), idleRecheck
	l.mu.Lock()
	renewed := l.renewed
	l.mu.Unlock()
	for _, h := range l.w.held() {
		if h.life.Err() != nil {
			continue // The lease is lost, and the handler has not returned yet.
		}
		alive := h.claimedAt
		if renewed.After(alive) {
			alive = renewed
		}
		if next := alive.Add(h.duration / 3); next.Before(due) {
			due = next
		}
		period = min(period, h.duration/3)
	}
	return due, period
}

// acquire creates the Lease or takes it over, before the worker claims anything. An earlier process of the same identity
// that still lives notices at its next renewal.
func (l *lease) acquire(ctx context.Context) error {
	l.calls.Lock()
	defer l.calls.Unlock()
	ctx, cancel := context.WithTimeout(ctx, holder.CallTimeout)
	defer cancel()
	return l.write(ctx)
}

// renew renews the Lease and moves the deadline of every hold.
func (l *lease) renew(ctx context.Context, timeout time.Duration) error {
	l.calls.Lock()
	defer l.calls.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sent := l.w.clock.Now()
	if err := l.write(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	l.renewed = sent
	l.mu.Unlock()
	for _, h := range l.w.held() {
		h.renewed(sent)
	}
	return nil
}

// write stores the Lease with the current time.
func (l *lease) write(ctx context.Context) error {
	if l.stored == nil {
		return l.create(ctx)
	}
	next := l.fill(l.stored.DeepCopy())
	err := l.w.api.Update(ctx, next)
	switch {
	case err == nil:
		l.stored = next
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err): // The update has the uid, so a deleted Lease may be a conflict.
		return l.takeOver(ctx, false)
	default:
		return err
	}
}

func (l *lease) create(ctx context.Context) error {
	fresh := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.w.o.Namespace, Name: l.w.o.Identity}}
	err := l.w.api.Create(ctx, l.fill(fresh))
	switch {
	case err == nil:
		l.stored = fresh
		return nil
	case apierrors.IsAlreadyExists(err) && l.stored == nil:
		return l.takeOver(ctx, true)
	default:
		return err
	}
}

// takeOver updates the Lease that is stored, or creates it again if it was deleted. At first the Lease may be an earlier
// process's. Later, another holder means that another process has taken the identity.
func (l *lease) takeOver(ctx context.Context, first bool) error {
	found := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: l.w.o.Namespace, Name: l.w.o.Identity}
	switch err := l.w.api.Get(ctx, key, found); {
	case apierrors.IsNotFound(err) && !first:
		return l.create(ctx)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("lease %s was deleted while it was taken over", l.w.o.Identity) // by an earlier process that ended
	case err != nil:
		return err
	}
	holder := found.Spec.HolderIdentity
	if !first && (holder == nil || *holder != l.holder) {
		err := fmt.Errorf("%w: Lease %s", ErrIdentityTaken, l.w.o.Identity)
		l.w.die(err)
		return err
	}
	if err := l.w.api.Update(ctx, l.fill(found)); err != nil {
		return err
	}
	l.stored = found
	return nil
}

func (l *lease) fill(lease *coordinationv1.Lease) *coordinationv1.Lease {
	now := metav1.NewMicroTime(l.w.clock.Now())
	seconds := int32(max(l.w.o.LeaseDuration, time.Second) / time.Second)
	lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &l.holder, &now, &seconds
	if lease.Spec.AcquireTime == nil {
		lease.Spec.AcquireTime = &now
	}
	return lease
}

// remove deletes the Lease when the worker ends. If the worker has no right to delete it, the Lease stays.
func (l *lease) remove(ctx context.Context) {
	l.calls.Lock()
	defer l.calls.Unlock()
	if l.stored == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, holder.CallTimeout)
	defer cancel()
	uid, version := l.stored.UID, l.stored.ResourceVersion // Another process may have taken it over.
	err := l.w.api.Delete(ctx, l.stored, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		l.w.log.Debug("Cannot delete the worker's Lease", "error", err)
	}
}
