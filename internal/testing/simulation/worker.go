// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/model"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// Way is how a worker treats the runs that it claims.
type Way int

// The ways of workers.
const (
	// Works completes every run.
	Works Way = iota
	// Dies lets the leases of the first runs expire, and completes the later ones.
	Dies
	// GivesBack gives the first runs back, and completes the later ones.
	GivesBack
)

// patience is the number of first runs that a worker does not complete, if it Dies or GivesBack.
const patience = 2

// pause is how long a worker waits after a claim whose answer was lost.
const pause = time.Second

// startWorker starts a worker that claims every waiting run that it sees.
func (s *system) startWorker(p *model.Process, way Way) (model.Source, error) {
	left := patience
	c := model.NewController(p, 2, func(ctx context.Context, name string) (reconcile.Result, error) {
		run, err := s.claim(ctx, p, name)
		switch {
		case err != nil && !apierrors.IsConflict(err):
			return reconcile.Result{RequeueAfter: pause}, nil
		case run == nil:
		case way == Works || left <= 0:
			s.report(ctx, run, func(status *v1alpha1.JobRunStatus) {
				status.Phase, status.FinishedGeneration = v1alpha1.PhaseCompleted, status.Lease.Generation
			})
		case way == GivesBack:
			left--
			s.report(ctx, run, func(status *v1alpha1.JobRunStatus) {
				status.Lease = &v1alpha1.RunLease{Generation: status.Lease.Generation + 1, KeyVersion: status.Lease.KeyVersion}
			})
		default:
			left--
		}
		return reconcile.Result{}, nil
	})
	return c, watch(p, func(_, current client.Object, _ bool) {
		switch object := current.(type) {
		case *v1alpha1.JobRun:
			if holder.Claimable(object) {
				c.Queue.Add(object.Name)
			}
		case *v1alpha1.RunKey:
			// A refused claim can succeed once the key leases no run. Real workers try again after a while instead,
			// because they may not read RunKeys.
			if waiting := runkey.Pending(&object.Spec); waiting != (runkey.Identity{}) && object.Spec.Leased == nil {
				c.Queue.Add(waiting.RunName)
			}
		}
	}, &v1alpha1.JobRun{}, &v1alpha1.RunKey{})
}

// claim leases a run by one update of its status. It returns nil if the run does not wait for a worker.
func (s *system) claim(ctx context.Context, p *model.Process, name string) (*v1alpha1.JobRun, error) {
	old := &v1alpha1.JobRun{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, old)
	if apierrors.IsNotFound(err) || (err == nil && !holder.Claimable(old)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	next := old.DeepCopy()
	generation := int64(1)
	if old.Status.Lease != nil {
		generation = old.Status.Lease.Generation + 1
	}
	next.Status.Phase = v1alpha1.PhaseLeased
	next.Status.Lease = &v1alpha1.RunLease{HolderIdentity: p.Name, Generation: generation, DurationSeconds: 30}
	answer := s.gateway.UpdateStatus(ctx, next, old)
	return answer.Run, answer.Err
}

func (s *system) report(ctx context.Context, run *v1alpha1.JobRun, change func(*v1alpha1.JobRunStatus)) {
	next := run.DeepCopy()
	change(&next.Status)
	s.gateway.UpdateStatus(ctx, next, run)
}
