// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// state is a state of the controller. The webhook answers in every state.
type state string

const (
	// idle means that no manager leads, because the benchmark holds the leader's Lease.
	idle state = "idle"
	// working means that the manager leads.
	working state = "working"

	leaderLease   = "jobrun-controller-manager"
	usurper       = "bench"
	usurpersLease = 24 * time.Hour
	stopGrace     = 30 * time.Second
)

// enter changes the controller's state.
func (w *world) enter(ctx context.Context, s state) error {
	if w.state == s {
		return nil
	}
	var err error
	if s == idle {
		err = w.restartManager(ctx, w.usurp, "")
	} else {
		err = w.release(ctx)
	}
	if err != nil {
		return fmt.Errorf("make the controller %s: %w", s, err)
	}
	w.state = s
	return nil
}

// manager returns the manager that runs.
func (w *world) manager() *operator.Manager {
	managers := w.op.Managers()
	return managers[len(managers)-1]
}

// restartManager stops the manager and starts another one. An empty binary means that of the world.
func (w *world) restartManager(ctx context.Context, between func(context.Context) error, binary string) error {
	if err := w.manager().Stop(stopGrace); err != nil {
		return err
	}
	if err := between(ctx); err != nil {
		return err
	}
	m, err := w.op.StartReplica(operator.Replica{Binary: binary})
	if err != nil {
		return err
	}
	return w.op.AwaitReady(ctx, m)
}

// usurp takes the leader's Lease, for a long time.
func (w *world) usurp(ctx context.Context) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: leaderLease}}
	if err := w.admin.Get(ctx, client.ObjectKeyFromObject(lease), lease); err != nil {
		return err
	}
	now := metav1.NewMicroTime(time.Now())
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To(usurper), ptr.To(int32(usurpersLease.Seconds()))
	lease.Spec.AcquireTime, lease.Spec.RenewTime = &now, &now
	return w.admin.Update(ctx, lease)
}

// release lets the manager lead, and waits until it does.
func (w *world) release(ctx context.Context) error {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: operator.Namespace, Name: leaderLease}
	return await(ctx, "the manager to lead", func() (bool, error) {
		if err := w.admin.Get(ctx, key, lease); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		switch ptr.Deref(lease.Spec.HolderIdentity, "") {
		case usurper:
			lease.Spec.HolderIdentity = nil
			return false, w.admin.Update(ctx, lease)
		case "":
			return false, nil
		default:
			return true, nil
		}
	})
}
