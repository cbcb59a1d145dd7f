// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// fieldOwner owns the fields that the manager writes, so that a manifest can be applied again without a conflict.
const fieldOwner = "jobrun-cert-rotation"

// configuration is a webhook configuration that the API server stores.
type configuration struct {
	name   string
	object client.Object
}

// clientsOf returns how the API server calls each webhook of a webhook configuration.
func clientsOf(object client.Object) []*admissionregistrationv1.WebhookClientConfig {
	var clients []*admissionregistrationv1.WebhookClientConfig
	switch object := object.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range object.Webhooks {
			clients = append(clients, &object.Webhooks[i].ClientConfig)
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range object.Webhooks {
			clients = append(clients, &object.Webhooks[i].ClientConfig)
		}
	}
	return clients
}

// writeBundles writes the caBundles that differ from the stored ones. bundles has one for each webhook, in their order.
func (r *Rotator) writeBundles(ctx context.Context, configurations []configuration, bundles [][]byte) (errs []error) {
	for _, c := range configurations {
		webhooks := len(clientsOf(c.object))
		errs = append(errs, r.writeBundle(ctx, c, bundles[:webhooks]))
		bundles = bundles[webhooks:]
	}
	return errs
}

// writeBundle patches nothing but caBundles: a strategic merge finds each webhook by its name.
func (r *Rotator) writeBundle(ctx context.Context, c configuration, bundles [][]byte) error {
	changed := c.object.DeepCopyObject().(client.Object)
	differs := false
	for i, config := range clientsOf(changed) {
		differs = differs || !bytes.Equal(config.CABundle, bundles[i])
		config.CABundle = bundles[i]
	}
	if !differs {
		return nil
	}
	patch := client.StrategicMergeFrom(c.object, client.MergeFromWithOptimisticLock{})
	if err := r.client.Patch(ctx, changed, patch, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("write the caBundles of %s: %w", c.name, err)
	}
	log.FromContext(ctx).Info("Wrote the caBundles of a webhook configuration", "name", c.name)
	return nil
}
