// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// The manager runs the webhook and the controller. Its replicas share the keys out. "manager gateway" runs the gateway instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/controller"
	"github.com/jobrun-dev/jobrun/internal/decoding"
	"github.com/jobrun-dev/jobrun/internal/health"
	"github.com/jobrun-dev/jobrun/internal/keystore"
	"github.com/jobrun-dev/jobrun/internal/membership"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

var version = "dev" // set by the linker

// serviceAccount is the operator's, in the namespace of --namespace. config/policy names it, too.
const serviceAccount = "jobrun-controller-manager"

// gatewayServiceAccount is the gateway's, in the same namespace.
const gatewayServiceAccount = "jobrun-gateway"

// operatorClock is the clock of the controller, of the RunKey store and of the membership.
var operatorClock clock.WithTicker = clock.RealClock{}

func main() {
	start, logOptions, err := parseCommand(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n(--help lists the flags)\n", err)
		os.Exit(2)
	}
	logger := zap.New(zap.UseFlagOptions(logOptions))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	// The process must end after start, because the manager gives the Leases back.
	if err := start(ctrl.SetupSignalHandler()); err != nil {
		logger.Error(err, "The manager failed")
		os.Exit(1)
	}
}

// parseCommand returns what the arguments start: the gateway if the first one is "gateway", else the manager.
func parseCommand(args []string, output io.Writer) (start func(context.Context) error, logOptions *zap.Options, err error) {
	if len(args) > 0 && args[0] == gatewayCommand {
		o, err := parseGatewayOptions(args[1:], output)
		return func(ctx context.Context) error { return runGateway(ctx, o) }, &o.log, err
	}
	o, err := parseOptions(args, output)
	return func(ctx context.Context) error { return run(ctx, o) }, &o.log, err
}

func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster (KUBECONFIG, or a Pod's ServiceAccount): %w", err)
	}
	config.UserAgent = "jobrun/" + version
	config.QPS = -1 // no client-side limit, because the API server has a priority level for the operator

	rotator := newRotator(o)
	var certificate getCertificate
	if rotator != nil {
		certificate = rotator.GetCertificate
	}
	webhookServer := newWebhookServer(o, certificate)
	ctx = webhookServer.drained(ctx)
	find, err := decoding.JobRuns(config, o.namespaces...)
	if err != nil {
		return err
	}
	checks := checks{decoding: decoding.NewHealth(find), watches: health.NewWatches(operatorClock)}
	identity := membership.NewIdentity()
	lock, err := leaderLock(config, o, identity)
	if err != nil {
		return fmt.Errorf("set up the leader election: %w", err)
	}
	mgr, err := ctrl.NewManager(config, managerOptions(o, webhookServer, checks, lock))
	if err != nil {
		return err
	}
	if err := cacheOnEveryReplica(ctx, mgr.GetCache()); err != nil {
		return err
	}
	if err := cache.SetupFields(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("set up the field indexes: %w", err)
	}
	members, err := addMembership(ctx, mgr, o, identity, checks.decoding)
	if err != nil {
		return fmt.Errorf("set up the membership: %w", err)
	}
	keys := keystore.New(keystore.Options{
		Cached: mgr.GetClient(), Live: mgr.GetAPIReader(), Writer: mgr.GetClient(), Clock: operatorClock,
	})
	if err := addControllerAndWebhook(mgr, o, members, keys); err != nil {
		return err
	}
	if err := addProbes(mgr, o, checks, parts{webhookServer, rotator, keys, members}); err != nil {
		return err
	}
	if rotator != nil {
		if err := rotator.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up the rotation of certificates: %w", err)
		}
	}
	if issuer := newIssuer(o); issuer != nil {
		if err := issuer.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up the gateway's certificate: %w", err)
		}
	}
	ctrl.Log.Info("Starting", "version", version)
	return mgr.Start(ctx)
}

func addControllerAndWebhook(mgr manager.Manager, o options, members *membership.Membership, keys *keystore.Store) error {
	notes := func() bool { return members.Level() >= membership.NotesLevel }
	memory := func() bool { return members.Level() >= membership.MemoryLevel }
	defines := func() bool { return members.Level() >= membership.DefinitionsLevel }
	represents := func() bool { return members.Level() >= membership.RepresentsLevel }
	err := controller.SetupWithManager(mgr, controller.Options{
		Keys:             keys,
		ReceiptHistory:   o.receiptHistory,
		RunTTL:           time.Duration(o.runTTL),
		JobTTL:           time.Duration(o.jobTTL),
		ReservationGrace: o.reservationGrace,
		IdempotencyGrace: o.idempotencyGrace,
		BatchTimeout:     v1alpha1.BatchTimeoutSeconds * time.Second,
		SweepPeriod:      time.Minute,
		JobSeries:        o.metricsJobs,
		Clock:            operatorClock,
		Concurrency:      o.concurrency,
		Shares:           members,
		LeaderElection:   o.leaderElect,
		Notes:            notes,
		Memory:           memory,
		Defines:          defines,
		CheckDefinition:  webhookv1alpha1.CheckDefinition,
		CheckStored:      webhookv1alpha1.CheckStored,
	})
	if err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	authorizer, err := webhookv1alpha1.NewAuthorizer(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("set up the webhook: %w", err)
	}
	err = webhookv1alpha1.SetupWithManager(mgr, webhookv1alpha1.Options{
		Keys:             keys,
		Cached:           mgr.GetClient(),
		Live:             mgr.GetAPIReader(),
		Definitions:      mgr.GetClient(),
		DenyUndefined:    o.undefinedJobs == undefinedDeny,
		Quotas:           mgr.GetClient(),
		ReservationGrace: o.reservationGrace,
		Notes:            notes,
		Memory:           memory,
		Defines:          defines,
		Represents:       represents,
		Authorizer:       authorizer,
		Operator:         serviceaccount.MakeUsername(o.namespace, serviceAccount),
		Gateway:          o.gatewayUser,
		Namespaces:       o.namespaces,
	})
	if err != nil {
		return fmt.Errorf("set up the webhook: %w", err)
	}
	return nil
}
