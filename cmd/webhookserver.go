// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

const (
	// clientIdleTime is how long the API server keeps a connection that it does not use.
	clientIdleTime = 90 * time.Second
	// serverIdleTime is how long the webhook keeps one. It is longer, so that the API server closes it: see webhookServer.drain.
	serverIdleTime = 2 * clientIdleTime
	// shutdownTime bounds the time in which the last requests end.
	shutdownTime = 20 * time.Second
	// selfCheckTime bounds the time in which the webhook answers its own check.
	selfCheckTime = 10 * time.Second
)

// getCertificate returns the certificate to serve. It is for tls.Config.
type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// webhookServer serves the webhooks as the server of controller-runtime does, and drains.
type webhookServer struct {
	webhook.Server // registers the hooks on mux, with metrics
	mux            *http.ServeMux
	address        string
	certificate    getCertificate // nil for the files in certDir
	certDir        string
	drainTimeout   time.Duration
	clock          clock.WithTicker

	started, draining atomic.Bool
	connections       atomic.Int64
}

// newWebhookServer returns a server with the certificate of a function, or else of --webhook-cert-path.
func newWebhookServer(o options, certificate getCertificate) *webhookServer {
	mux := http.NewServeMux()
	return &webhookServer{
		Server: webhook.NewServer(webhook.Options{WebhookMux: mux}), mux: mux,
		address:     net.JoinHostPort(o.webhookHost, strconv.Itoa(o.webhookPort)),
		certificate: certificate, certDir: o.webhookCertPath,
		drainTimeout: o.drainTimeout, clock: operatorClock,
	}
}

// Start serves until ctx ends. Drain before.
func (s *webhookServer) Start(ctx context.Context) error {
	// With HTTP/2 the API server would send every trigger over one connection to one replica.
	config := &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: s.certificate}
	if config.GetCertificate == nil {
		files, err := certwatcher.New(filepath.Join(s.certDir, corev1.TLSCertKey), filepath.Join(s.certDir, corev1.TLSPrivateKeyKey))
		if err != nil {
			return fmt.Errorf("read the webhook's certificate: %w", err)
		}
		config.GetCertificate = files.GetCertificate
		go func() {
			if err := files.Start(ctx); err != nil {
				ctrl.Log.Error(err, "Cannot watch the webhook's certificate")
			}
		}()
	}
	listener, err := tls.Listen("tcp", s.address, config)
	if err != nil {
		return fmt.Errorf("listen for the webhook: %w", err)
	}
	return s.serve(ctx, listener)
}

// serve answers requests until ctx ends, and those that have begun until they end.
func (s *webhookServer) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(s.answer),
		ConnState:         s.count,
		IdleTimeout:       serverIdleTime,
		ReadHeaderTimeout: headerTimeout,
	}
	shutDown := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		shutDown <- server.Shutdown(ctx)
	})
	s.started.Store(true)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-shutDown
}

// StartedChecker returns a check that the webhook is served over TLS.
func (s *webhookServer) StartedChecker() healthz.Checker {
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it sends nothing
	return func(r *http.Request) error {
		if !s.started.Load() {
			return errors.New("the webhook has not been started yet")
		}
		ctx, cancel := context.WithTimeout(r.Context(), selfCheckTime)
		defer cancel()
		connection, err := dialer.DialContext(ctx, "tcp", s.address)
		if err != nil {
			return fmt.Errorf("the webhook is not reachable: %w", err)
		}
		return connection.Close()
	}
}
