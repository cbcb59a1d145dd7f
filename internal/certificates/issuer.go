// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// IssuerOptions name the objects of an Issuer.
type IssuerOptions struct {
	// Namespace is that of all objects.
	Namespace string
	// Secret gets the certificate and its CA.
	Secret string
	// ConfigMap gets the roots that clients are to trust, as ca.crt.
	ConfigMap string
	// Service is the name of the Service whose DNS names the certificate has.
	Service string
	Clock   clock.PassiveClock
}

// dnsNames returns the names by which a client in the cluster may call the Service.
func (o IssuerOptions) dnsNames() []string {
	name := o.Service + "." + o.Namespace
	return []string{name + ".svc", name + ".svc.cluster.local", name}
}

// Issuer keeps the certificate of a Service in a Secret, which the Pods of the Service mount. Use NewIssuer.
type Issuer struct {
	options IssuerOptions
	reader  client.Reader // set by SetupWithManager, as the writer
	writer  client.Writer
}

// NewIssuer returns an Issuer. It begins to work by SetupWithManager.
func NewIssuer(o IssuerOptions) *Issuer { return &Issuer{options: o} }

// Reconcile observes, decides and acts. It writes the ConfigMap after the Secret, so that clients read the roots of what is stored.
func (i *Issuer) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	o, published, err := i.observe(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	decision, err := DecideIssue(o)
	if err != nil {
		return reconcile.Result{}, err
	}
	data, err := decision.make(o, i.options.Service)
	if err != nil {
		return reconcile.Result{}, err
	}
	if data != nil {
		if err := i.store(ctx, o.Secret, data); err != nil {
			return unlessOutrun(err)
		}
		log.FromContext(ctx).Info("Stored a certificate", "secret", i.options.Secret, "newCertificate", decision.Leaf, "newCA", decision.Authority)
		decision.Roots = data[rootKey]
		decision.Again = o.Now.Add(conflictDelay)
	}
	if err := i.publish(ctx, published, string(decision.Roots)); err != nil {
		return unlessOutrun(err)
	}
	return reconcile.Result{RequeueAfter: max(decision.Again.Sub(o.Now), time.Millisecond)}, nil
}

// unlessOutrun returns an error unless another client wrote first.
func unlessOutrun(err error) (reconcile.Result, error) {
	if outrun(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	return reconcile.Result{}, err
}

// observe reads the Secret, and the ConfigMap or nil.
func (i *Issuer) observe(ctx context.Context) (IssueObservation, *corev1.ConfigMap, error) {
	o := IssueObservation{Now: i.options.Clock.Now(), DNSNames: i.options.dnsNames()}
	secret, published := &corev1.Secret{}, &corev1.ConfigMap{}
	err := i.reader.Get(ctx, i.key(i.options.Secret), secret)
	if err == nil {
		o.Secret = secret
	} else if client.IgnoreNotFound(err) != nil {
		return o, nil, err
	}
	err = i.reader.Get(ctx, i.key(i.options.ConfigMap), published)
	if err != nil {
		return o, nil, client.IgnoreNotFound(err)
	}
	o.Published = []byte(published.Data[rootKey])
	return o, published, nil
}

func (i *Issuer) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: i.options.Namespace, Name: name}
}

func (i *Issuer) store(ctx context.Context, observed *corev1.Secret, data map[string][]byte) (err error) {
	if observed == nil {
		err = i.writer.Create(ctx, &corev1.Secret{ObjectMeta: i.meta(i.options.Secret), Data: data}, client.FieldOwner(fieldOwner))
	} else {
		secret := observed.DeepCopy()
		secret.Data = data
		err = i.writer.Update(ctx, secret, client.FieldOwner(fieldOwner))
	}
	if err != nil {
		return fmt.Errorf("store the certificate in Secret %s: %w", i.options.Secret, err)
	}
	return nil
}

func (i *Issuer) publish(ctx context.Context, observed *corev1.ConfigMap, roots string) (err error) {
	data := map[string]string{rootKey: roots}
	switch {
	case observed == nil:
		err = i.writer.Create(ctx, &corev1.ConfigMap{ObjectMeta: i.meta(i.options.ConfigMap), Data: data}, client.FieldOwner(fieldOwner))
	case observed.Data[rootKey] != roots:
		changed := observed.DeepCopy()
		changed.Data = data
		err = i.writer.Update(ctx, changed, client.FieldOwner(fieldOwner))
	}
	if err != nil {
		return fmt.Errorf("write the CA to ConfigMap %s: %w", i.options.ConfigMap, err)
	}
	return nil
}

func (i *Issuer) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: i.options.Namespace, Name: name,
		Labels: map[string]string{"app.kubernetes.io/name": "jobrun", "app.kubernetes.io/part-of": "jobrun"},
	}
}

// ownCache is a cache that the manager starts as it starts its own, on each replica.
type ownCache struct{ cache.Cache }

// GetCache returns the cache.
func (c ownCache) GetCache() cache.Cache { return c.Cache }

// SetupWithManager lets a manager run the Issuer, on each replica. The Issuer reads its two objects through a cache of its own,
// because a cache can be limited to one name of a kind, so that RBAC can name it.
func (i *Issuer) SetupWithManager(mgr manager.Manager) error {
	named := func(name string) cache.ByObject {
		return cache.ByObject{Namespaces: map[string]cache.Config{
			i.options.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", name)},
		}}
	}
	objects, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: named(i.options.Secret), &corev1.ConfigMap{}: named(i.options.ConfigMap)},
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(ownCache{objects}); err != nil {
		return err
	}
	i.reader, i.writer = objects, mgr.GetClient()
	request := reconcile.Request{NamespacedName: i.key(i.options.Secret)}
	start := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(request) // because there may be no object
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("gateway-certificate").
		WatchesRawSource(source.Kind(objects, &corev1.Secret{}, enqueue[*corev1.Secret](request))).
		WatchesRawSource(source.Kind(objects, &corev1.ConfigMap{}, enqueue[*corev1.ConfigMap](request))).
		WatchesRawSource(start).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1,
			NeedLeaderElection:      ptr.To(false),
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(i)
}

func enqueue[T client.Object](request reconcile.Request) handler.TypedEventHandler[T, reconcile.Request] {
	return handler.TypedEnqueueRequestsFromMapFunc(func(context.Context, T) []reconcile.Request { return []reconcile.Request{request} })
}
