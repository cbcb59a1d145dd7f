// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inprocess runs the operator in the process of a test suite. The suite needs only an API server. The operator has
// an administrator's rights, so such a suite does not test the operator's role.
package inprocess

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

const (
	startTimeout = time.Minute
	pollInterval = 100 * time.Millisecond
)

// manifests are the files under config/ that the operator needs on an API server.
var manifests = []string{
	"crd/bases/batch.jobrun.dev_jobruns.yaml", "crd/bases/batch.jobrun.dev_runkeys.yaml", "crd/bases/batch.jobrun.dev_jobdefinitions.yaml",
	"webhook/manifests.yaml",
}

// Options are the options of the operator. A zero value means the value in production.
type Options struct {
	// Root is the directory of the repository.
	Root string
	// Scheme has v1alpha1 and the types that the suite uses.
	Scheme           *runtime.Scheme
	ReceiptHistory   int
	ReservationGrace time.Duration
	IdempotencyGrace time.Duration
}

// Start installs the operator and runs it until stop is called. stop returns the operator's error.
func Start(ctx context.Context, cp *controlplane.ControlPlane, o Options) (stop func() error, err error) {
	server, err := install(ctx, cp, o.Root)
	if err != nil {
		return nil, fmt.Errorf("install the operator: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	mgr, err := newManager(ctx, cp, o, server)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("set up the operator: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	mgr.GetCache().WaitForCacheSync(ctx)
	return stop, poll(ctx, func() error { return server.StartedChecker()(nil) })
}

// install applies the manifests, and returns the server for the webhooks.
func install(ctx context.Context, cp *controlplane.ControlPlane, root string) (webhook.Server, error) {
	address, err := controlplane.FreeAddress()
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(cp.Dir(), "webhook-certs")
	ca, err := controlplane.NewServingCert(certs)
	if err != nil {
		return nil, err
	}
	for _, name := range manifests {
		yaml, err := os.ReadFile(filepath.Join(root, "config", name))
		if err != nil {
			return nil, err
		}
		if _, err := cp.InstallManifests(ctx, yaml, controlplane.WebhooksAt(address, ca)); err != nil {
			return nil, err
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	return webhook.NewServer(webhook.Options{Host: host, Port: number, CertDir: certs}), err
}

func newManager(ctx context.Context, cp *controlplane.ControlPlane, o Options, server webhook.Server) (ctrl.Manager, error) {
	var mgr ctrl.Manager
	err := poll(ctx, func() (err error) { // The API server serves new types after a moment.
		mgr, err = ctrl.NewManager(controlplane.AsOperator(cp.AdminConfig()), ctrl.Options{
			Scheme:        o.Scheme,
			Cache:         ctrlcache.Options{DefaultTransform: cache.Slim, ByObject: map[client.Object]ctrlcache.ByObject{&batchv1.Job{}: {}}},
			Client:        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&coordinationv1.Lease{}}}},
			WebhookServer: server,
			Metrics:       metricsserver.Options{BindAddress: "0"},
		})
		if err != nil {
			return err
		}
		return cache.SetupFields(ctx, mgr.GetFieldIndexer())
	})
	if err != nil {
		return nil, err
	}
	keys := keystore.New(keystore.Options{Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: clock.RealClock{}})
	authorizer, err := webhookv1alpha1.NewAuthorizer(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	grace := cmp.Or(o.ReservationGrace, 5*time.Second)
	err = webhookv1alpha1.SetupWithManager(mgr, webhookv1alpha1.Options{
		Keys: keys, Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Definitions: mgr.GetClient(), Quotas: mgr.GetClient(), ReservationGrace: grace,
		Authorizer: authorizer, Operator: controlplane.OperatorUser, Gateway: controlplane.GatewayUser,
	})
	if err != nil {
		return nil, err
	}
	return mgr, controller.SetupWithManager(mgr, controller.Options{
		Keys:             keys,
		ReceiptHistory:   cmp.Or(o.ReceiptHistory, 100),
		CheckDefinition:  webhookv1alpha1.CheckDefinition,
		ReservationGrace: grace,
		IdempotencyGrace: cmp.Or(o.IdempotencyGrace, 90*time.Second),
		BatchTimeout:     v1alpha1.BatchTimeoutSeconds * time.Second,
		RunTTL:           168 * time.Hour,
		JobTTL:           24 * time.Hour,
		SweepPeriod:      time.Second,
		JobSeries:        200,
		Clock:            clock.RealClock{},
		Concurrency:      4,
	})
}

// poll calls do until it succeeds. When it gives up, it returns the last error of do.
func poll(ctx context.Context, do func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(context.Context) (bool, error) {
		last = do()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}
