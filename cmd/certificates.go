// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/jobrun-dev/jobrun/internal/certificates"
)

// newRotator returns what makes and serves the webhook's certificate. It returns nil without --cert-rotation.
func newRotator(o options) *certificates.Rotator {
	if !o.certRotation {
		return nil
	}
	return certificates.New(certificateOptions(o))
}

func certificateOptions(o options) certificates.Options {
	return certificates.Options{
		Secret:     types.NamespacedName{Namespace: o.namespace, Name: o.certSecretName},
		Service:    o.certServiceName,
		Mutating:   o.certWebhookName,
		Validating: o.certValidatingWebhookName,
		Clock:      operatorClock,
	}
}

// newWebhookServer returns a server with the certificate of the rotator, or else of --webhook-cert-path.
func newWebhookServer(o options, rotator *certificates.Rotator) webhook.Server {
	tlsOptions := []func(*tls.Config){http1}
	if rotator != nil {
		tlsOptions = append(tlsOptions, func(c *tls.Config) { c.GetCertificate = rotator.GetCertificate })
	}
	return &drainingServer{clock: operatorClock, Server: webhook.NewServer(webhook.Options{
		Host: o.webhookHost, Port: o.webhookPort, CertDir: o.webhookCertPath, TLSOpts: tlsOptions,
	})}
}

// http1 turns HTTP/2 off. With HTTP/2 the API server would send every trigger over one connection to one replica.
func http1(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }
