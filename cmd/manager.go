// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/certificates"
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func managerOptions(o options, webhookServer webhook.Server, checks checks, lock resourcelock.Interface) ctrl.Options {
	return ctrl.Options{
		Scheme:        scheme,
		Cache:         cacheOptions(o, checks),
		WebhookServer: webhookServer,
		Metrics: metricsserver.Options{
			BindAddress:    o.metricsAddress,
			CertDir:        o.metricsCertPath,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:              "0", // see addProbes
		PprofBindAddress:                    o.pprofAddress,
		LeaderElection:                      o.leaderElect,
		LeaderElectionID:                    leaderLease, // its name in the metrics
		LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel:       true,
	}
}

func cacheOptions(o options, checks checks) ctrlcache.Options {
	served := servedNamespaces(o)
	ofRun, err := labels.NewRequirement(v1alpha1.LabelRun, selection.Exists, nil)
	utilruntime.Must(err)
	byObject := map[client.Object]ctrlcache.ByObject{
		&batchv1.Job{}:          {Label: labels.NewSelector().Add(*ofRun)},
		&corev1.Pod{}:           {Label: labels.NewSelector().Add(*ofRun)},
		&coordinationv1.Lease{}: leasesToCache(o),
	}
	if o.certRotation {
		maps.Copy(byObject, certificates.Caches(certificateOptions(o)))
	}
	return ctrlcache.Options{
		DefaultTransform:         cache.Slim,
		DefaultWatchErrorHandler: checks.handleWatchError,
		DefaultNamespaces:        served,
		ByObject:                 byObject,
	}
}

// servedNamespaces returns the namespaces that are cached. It returns nil if those are all.
func servedNamespaces(o options) map[string]ctrlcache.Config {
	if len(o.namespaces) == 0 {
		return nil
	}
	served := map[string]ctrlcache.Config{}
	for _, namespace := range o.namespaces {
		served[namespace] = ctrlcache.Config{}
	}
	return served
}

// leasesToCache returns which Leases are cached: those of workers and of the replicas. Workers may keep them in any namespace that
// is served. The Leases of nodes are many and change all the time.
func leasesToCache(o options) ctrlcache.ByObject {
	served := servedNamespaces(o)
	if served == nil {
		return ctrlcache.ByObject{Field: fields.OneTermNotEqualSelector("metadata.namespace", corev1.NamespaceNodeLease)}
	}
	served[o.leaderElectionNamespace] = ctrlcache.Config{}
	return ctrlcache.ByObject{Namespaces: served}
}

// cacheOnEveryReplica caches on every replica what the webhook reads. With --leader-elect, the watches of the controller start
// only on the leader.
func cacheOnEveryReplica(ctx context.Context, c ctrlcache.Cache) error {
	for _, object := range []client.Object{&v1alpha1.JobRun{}, &v1alpha1.RunKey{}, &v1alpha1.JobDefinition{}, &corev1.ResourceQuota{}} {
		if _, err := c.GetInformer(ctx, object); err != nil {
			return fmt.Errorf("cache %T (are the CRDs installed?): %w", object, err)
		}
	}
	return nil
}
