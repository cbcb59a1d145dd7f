// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/jobrun-dev/jobrun/internal/certificates"
	"github.com/jobrun-dev/jobrun/internal/decoding"
	"github.com/jobrun-dev/jobrun/internal/health"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/membership"
)

const (
	// syncPatience is the time that one readiness probe waits for the caches.
	syncPatience = time.Second
	// headerTimeout bounds the time in which a probe must send its headers.
	headerTimeout = 10 * time.Second
)

// checks know whether the caches follow the cluster.
type checks struct {
	decoding *decoding.Health
	watches  *health.Watches
}

// handleWatchError records that the list or the watch of a cache failed.
func (c checks) handleWatchError(ctx context.Context, r *toolscache.Reflector, err error) {
	c.decoding.HandleWatchError(ctx, r, err)
	if !decoding.Undecodable(err) {
		c.watches.HandleWatchError(ctx, r, err)
	}
}

// parts are what the checks of readiness are about.
type parts struct {
	webhook webhook.Server
	rotator *certificates.Rotator // nil without --cert-rotation
	keys    *keystore.Store
	members *membership.Membership
}

// addProbes serves /healthz and /readyz. /readyz passes while this replica answers triggers, and while runs can start.
// The Deployment's probe excludes the second half, because to take replicas out of the Service does not help there:
// docs/operations.md names the checks.
func addProbes(mgr manager.Manager, o options, c checks, p parts) error {
	if o.probeAddress == "" || o.probeAddress == "0" {
		return nil
	}
	ready := []health.Check{
		{Name: "caches", Run: cachesSynced(mgr.GetCache(), p.members.Listed)},
		{Name: "webhook", Run: p.webhook.StartedChecker()},
	}
	if p.rotator != nil {
		ready = append(ready, health.Check{Name: "certificate", Run: p.rotator.Check})
	}
	ready = append(ready,
		health.Check{Name: "decoding", Run: c.decoding.Check},
		health.Check{Name: "watches", Run: c.watches.Check},
		health.Check{Name: "runkeys", Run: p.keys.CheckWrites},
		health.Check{Name: "members", Run: p.members.Check},
	)
	mux := http.NewServeMux()
	health.NewHandler("/healthz", ctrl.Log, health.Check{Name: "ping", Run: healthz.Ping}).Register(mux)
	health.NewHandler("/readyz", ctrl.Log, ready...).Register(mux)
	listener, err := net.Listen("tcp", o.probeAddress)
	if err != nil {
		return fmt.Errorf("listen on --health-probe-bind-address: %w", err)
	}
	return mgr.Add(&manager.Server{
		Name: "probes", Listener: listener, Server: &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout},
	})
}

// cachesSynced passes once the caches are filled. listed reports whether the membership has seen all replicas: until then, the
// webhook refuses the triggers of defined jobs.
func cachesSynced(c ctrlcache.Cache, listed func() bool) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), syncPatience)
		defer cancel()
		if !c.WaitForCacheSync(ctx) || !listed() {
			return errors.New("the caches are not synced yet")
		}
		return nil
	}
}
