// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/internal/certificates"
)

// newRotator returns what makes and serves the webhook's certificate. It returns nil without --cert-rotation.
func newRotator(o options) *certificates.Rotator {
	if !o.certRotation {
		return nil
	}
	return certificates.New(certificateOptions(o))
}

// newIssuer returns what issues the gateway's certificate. It returns nil without --gateway-cert-secret-name.
func newIssuer(o options) *certificates.Issuer {
	if o.gatewayCertSecretName == "" {
		return nil
	}
	return certificates.NewIssuer(certificates.IssuerOptions{
		Namespace: o.namespace,
		Secret:    o.gatewayCertSecretName,
		ConfigMap: o.gatewayCAConfigMapName,
		Service:   o.gatewayServiceName,
		Clock:     operatorClock,
	})
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
