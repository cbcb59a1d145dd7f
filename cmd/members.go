// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decoding"
	"github.com/jobrun-dev/jobrun/internal/membership"
)

const (
	// leaderLease is the Lease of the leader with --leader-elect. Versions without members elected one, too.
	leaderLease = "jobrun-controller-manager"
	// leaderRenewDeadline bounds the requests of the election. It is the default of the manager.
	leaderRenewDeadline = 10 * time.Second
)

// leaderLock returns the lock of the leader election. It has the identity of the member, so other replicas know that the
// leader is a member. It returns nil without --leader-elect.
func leaderLock(config *rest.Config, o options, identity membership.Identity) (resourcelock.Interface, error) {
	if !o.leaderElect {
		return nil, nil
	}
	return resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.leaderElectionNamespace, leaderLease,
		resourcelock.ResourceLockConfig{Identity: identity.Holder}, config, leaderRenewDeadline)
}

// addMembership lets this replica be a member.
func addMembership(ctx context.Context, mgr manager.Manager, o options, identity membership.Identity, health *decoding.Health) (
	*membership.Membership, error,
) {
	follows, err := cachesFollow(ctx, mgr.GetCache(), health)
	if err != nil {
		return nil, err
	}
	var elected <-chan struct{}
	if o.leaderElect {
		elected = mgr.Elected()
	}
	m := membership.New(membership.Options{
		Client: mgr.GetClient(), Informers: mgr.GetCache(), Namespace: o.leaderElectionNamespace, LeaderLease: leaderLease,
		Elected: elected, Clock: operatorClock, Follows: follows,
	}, identity)
	if err := metrics.Registry.Register(m.Collector()); err != nil {
		return nil, err
	}
	return m, mgr.Add(m)
}

// cachesFollow returns a check that fails while the controller's caches do not follow the cluster.
func cachesFollow(ctx context.Context, informers cache.Informers, health *decoding.Health) (func() error, error) {
	var synced []func() bool
	for _, object := range []client.Object{&v1alpha1.JobRun{}, &v1alpha1.RunKey{}, &v1alpha1.JobDefinition{}, &batchv1.Job{}, &corev1.Pod{}} {
		informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("cache %T: %w", object, err)
		}
		synced = append(synced, informer.HasSynced)
	}
	return func() error {
		for _, done := range synced {
			if !done() {
				return errors.New("the caches are not synced yet")
			}
		}
		return health.Check(nil)
	}, nil
}
