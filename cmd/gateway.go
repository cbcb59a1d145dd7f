// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/jobrun-dev/jobrun/internal/gateway"
	webhookv1alpha1 "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

// gatewayShutdown is longer than the gateway takes to answer what it has accepted.
const gatewayShutdown = gateway.StopTime + 8*time.Second

// runGateway serves the gateway until ctx ends.
func runGateway(ctx context.Context, o gatewayOptions) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster (KUBECONFIG, or a Pod's ServiceAccount): %w", err)
	}
	config.UserAgent = "jobrun-gateway/" + version
	config.QPS = -1 // no client-side limit, because the API server has a priority level for the gateway
	config.WarningHandlerWithContext = gateway.Warnings{}

	shutdown := gatewayShutdown
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Metrics: metricsserver.Options{
			BindAddress: o.metricsAddress, CertDir: o.metricsCertPath, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:  "0", // the gateway answers /healthz and /readyz itself
		PprofBindAddress:        o.pprofAddress,
		GracefulShutdownTimeout: &shutdown,
	})
	if err != nil {
		return err
	}
	server, err := newGateway(ctx, mgr, config, o)
	if err != nil {
		return fmt.Errorf("set up the gateway: %w", err)
	}
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return fmt.Errorf("listen on --gateway-bind-address: %w", err)
	}
	tlsConfig, err := gatewayTLS(mgr, o, listener.Addr())
	if err != nil {
		return err
	}
	if err := mgr.Add(&gateway.Endpoint{Server: server, Listener: listener, TLS: tlsConfig, Connections: o.connections}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newGateway(ctx context.Context, mgr manager.Manager, config *rest.Config, o gatewayOptions) (*gateway.Server, error) {
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, err
	}
	authenticator, err := gateway.NewAuthenticator(config, mgr.GetHTTPClient(), o.audiences...)
	if err != nil {
		return nil, err
	}
	authorizer, err := webhookv1alpha1.NewAuthorizer(config, mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	var openLog gateway.LogOpener
	if o.logs {
		if openLog, err = gateway.NewLogOpener(config, mgr.GetHTTPClient()); err != nil {
			return nil, err
		}
	}
	var receivers *gateway.Receivers
	if o.receivers {
		if receivers, err = gateway.NewReceivers(ctx, config, mgr.GetHTTPClient(), scheme, o.receiversIn); err != nil {
			return nil, err
		}
		if err := mgr.Add(receivers); err != nil {
			return nil, err
		}
	}
	return gateway.NewServer(gateway.Options{
		API:               api,
		Authenticator:     authenticator,
		Authorizer:        authorizer,
		CallerInFlight:    o.callerInFlight,
		NamespaceInFlight: o.namespaceInFlight,
		Streams:           o.streams,
		OpenLog:           openLog,
		Receivers:         receivers,
		AllowedOrigins:    o.allowedOrigins,
		Metrics:           metrics.Registry,
		Clock:             operatorClock,
		Log:               ctrl.Log.WithName("gateway"),
		Audit:             newAuditLog(o.log),
	}), nil
}

// newAuditLog returns the log of who changed what. It has every line: controller-runtime leaves out most lines of the same
// message beyond 100 a second, but at no level below -1.
func newAuditLog(o zap.Options) logr.Logger {
	o.Level = zapcore.Level(-2)
	return zap.New(zap.UseFlagOptions(&o)).WithName("gateway").WithName("audit")
}

// gatewayTLS returns the certificate of --gateway-cert-path, or one that is made now.
func gatewayTLS(mgr manager.Manager, o gatewayOptions, address net.Addr) (*tls.Config, error) {
	if o.certPath == "" {
		return gateway.SelfSigned(address)
	}
	files, err := certwatcher.New(o.certPath+"/tls.crt", o.certPath+"/tls.key")
	if err != nil {
		return nil, fmt.Errorf("read the certificate in --gateway-cert-path: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.GetCertificate}, mgr.Add(files)
}
