// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// whenCertified calls setUpWebhook once this replica has a certificate, because the webhook server does not start without
// one. It calls setUpWebhook at once unless the manager makes the certificate itself (--cert-rotation).
func whenCertified(mgr manager.Manager, o options, setUpWebhook func() error) error {
	if !o.certRotation {
		return setUpWebhook()
	}
	certified := make(chan struct{})
	if err := rotator.AddRotator(mgr, certRotator(o, certified)); err != nil {
		return fmt.Errorf("set up the rotation of certificates: %w", err)
	}
	return mgr.Add(everyReplica(func(ctx context.Context) error {
		select {
		case <-certified:
			return setUpWebhook()
		case <-ctx.Done():
			return nil
		}
	}))
}

func certRotator(o options, certified chan struct{}) *rotator.CertRotator {
	return &rotator.CertRotator{
		SecretKey:      types.NamespacedName{Namespace: o.namespace, Name: o.certSecretName},
		CertDir:        o.webhookCertPath,
		CAName:         "jobrun-ca",
		CAOrganization: "jobrun",
		DNSName:        fmt.Sprintf("%s.%s.svc", o.certServiceName, o.namespace),
		Webhooks: []rotator.WebhookInfo{
			{Type: rotator.Mutating, Name: o.certWebhookName},
			{Type: rotator.Validating, Name: o.certValidatingWebhookName},
		},
		FieldOwner: "jobrun-cert-rotation",
		IsReady:    certified,
		// Each replica runs the rotator, because each must learn when the certificate is ready. Replicas that renew it at
		// once conflict on the resourceVersion of the Secret, and the losers use what the winner wrote.
		RequireLeaderElection: false,
	}
}

// everyReplica is a runnable that starts without leader election.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

func (everyReplica) NeedLeaderElection() bool { return false }
