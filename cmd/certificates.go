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

// whenCertified sets the webhook up: at once if the certificate is given, or else as soon as this replica has one. The
// webhook's server would not start without.
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
		Webhooks:       []rotator.WebhookInfo{{Type: rotator.Mutating, Name: o.certWebhookName}},
		FieldOwner:     "jobrun-cert-rotation",
		IsReady:        certified,
		// Each replica must learn when it is certified. Those that race to renew are told apart by the Secret's
		// resourceVersion: the losers take what the winner wrote.
		RequireLeaderElection: false,
	}
}

// everyReplica is a runnable that does not wait for the replica to lead.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

func (everyReplica) NeedLeaderElection() bool { return false }
