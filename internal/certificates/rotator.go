// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// conflictDelay is when to look again after another replica was faster, if the watch shows nothing before.
const conflictDelay = time.Second

// Options name the objects of an installation.
type Options struct {
	// Secret holds the certificate.
	Secret types.NamespacedName
	// Service is the name of the webhook's Service, in the namespace of the Secret.
	Service string
	// Mutating and Validating are the names of the webhook configurations. One that does not exist is left out.
	Mutating, Validating string
	Clock                clock.PassiveClock
}

// dnsName is the name by which the API server calls the webhook.
func (o Options) dnsName() string { return fmt.Sprintf("%s.%s.svc", o.Service, o.Secret.Namespace) }

// Rotator keeps the webhook's certificate, and serves it. Its zero value is not usable.
type Rotator struct {
	options Options
	client  client.Client // set by SetupWithManager

	mu     sync.RWMutex
	memory Memory
}

var (
	_ healthz.Checker      = (&Rotator{}).Check
	_ reconcile.Reconciler = &Rotator{}
)

// New returns a Rotator. It begins to work by SetupWithManager.
func New(o Options) *Rotator { return &Rotator{options: o} }

// GetCertificate returns the certificate to serve. It is for tls.Config.
func (r *Rotator) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	served := r.remembered().Served
	if served == nil {
		return nil, errors.New("the webhook has no certificate yet")
	}
	return &served.certificate, nil
}

// Check returns an error until this replica serves a certificate that the API server trusts. It is a healthz.Checker.
func (r *Rotator) Check(*http.Request) error {
	if !r.remembered().Ready {
		return fmt.Errorf("the API server does not trust the webhook's certificate yet, or there is none: see Secret %s and the log",
			r.options.Secret)
	}
	return nil
}

func (r *Rotator) remembered() Memory {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.memory
}

func (r *Rotator) remember(m Memory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory = m
}

// Reconcile observes, decides and acts.
func (r *Rotator) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	webhooks, err := r.webhooks(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	o, err := r.observe(ctx, webhooks)
	if err != nil {
		return reconcile.Result{}, err
	}
	decision, err := Decide(o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !decision.Memory.Served.same(o.Memory.Served) {
		log.FromContext(ctx).Info("Serving a certificate", "notAfter", decision.Memory.Served.certificate.Leaf.NotAfter)
	}
	r.remember(decision.Memory)
	errs := append(r.writeBundles(ctx, webhooks, decision.Bundles), r.store(ctx, o.Secret, decision.Make))
	if slices.ContainsFunc(errs, outrun) {
		decision.again(o.Now.Add(conflictDelay))
	}
	if err := errors.Join(slices.DeleteFunc(errs, outrun)...); err != nil || decision.Again.IsZero() {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: max(decision.Again.Sub(o.Now), time.Millisecond)}, nil
}

// outrun reports whether a write failed because another client wrote first. The watch shows what it wrote.
func outrun(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (r *Rotator) observe(ctx context.Context, webhooks []configuration) (Observation, error) {
	o := Observation{
		Now:     r.options.Clock.Now(),
		DNSName: r.options.dnsName(),
		Memory:  r.remembered(),
	}
	for _, w := range webhooks {
		for _, c := range clientsOf(w.object) {
			o.Bundles = append(o.Bundles, c.CABundle)
		}
	}
	secret := &corev1.Secret{}
	err := r.client.Get(ctx, r.options.Secret, secret)
	if err == nil {
		o.Secret = secret
	}
	return o, client.IgnoreNotFound(err)
}

// store makes a new certificate, and stores it in the Secret that was observed. It does nothing without a reason.
func (r *Rotator) store(ctx context.Context, observed *corev1.Secret, reason string) error {
	if reason == "" {
		return nil
	}
	data, err := newPair(r.options.dnsName())
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	if observed == nil {
		// The type is Opaque, so that a manifest with an empty Secret can be applied over it.
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: r.options.Secret.Namespace, Name: r.options.Secret.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "jobrun", "app.kubernetes.io/part-of": "jobrun"},
		}, Data: data}
		err = r.client.Create(ctx, secret, client.FieldOwner(fieldOwner))
	} else {
		secret := observed.DeepCopy()
		secret.Data = data
		err = r.client.Update(ctx, secret, client.FieldOwner(fieldOwner))
	}
	if err != nil {
		return fmt.Errorf("store a new certificate, because %s: %w", reason, err)
	}
	log.FromContext(ctx).Info("Stored a new certificate", "secret", r.options.Secret, "because", reason)
	return nil
}

// webhooks returns the webhook configurations that exist.
func (r *Rotator) webhooks(ctx context.Context) ([]configuration, error) {
	var found []configuration
	for _, c := range []configuration{
		{name: r.options.Mutating, object: &admissionregistrationv1.MutatingWebhookConfiguration{}},
		{name: r.options.Validating, object: &admissionregistrationv1.ValidatingWebhookConfiguration{}},
	} {
		err := r.client.Get(ctx, types.NamespacedName{Name: c.name}, c.object)
		if err == nil {
			found = append(found, c)
		} else if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return found, nil
}
