// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway/signature"
)

// maxSecretBytes bounds a value of a Secret that is kept. A secret to sign with has some 40 bytes.
const maxSecretBytes = 4 << 10

// Receivers has the receivers of all JobDefinitions, and the Secrets with the label that receivers need, in memory. So a flood of
// deliveries, whether or not their receivers exist, asks the API server nothing.
type Receivers struct {
	// Reader reads JobDefinitions and Secrets from the cache.
	client.Reader
	// Synced is closed once the cache has read all of them.
	Synced <-chan struct{}

	// namespaces are those whose receivers take deliveries. If there are none, all do.
	namespaces []string

	cache ctrlcache.Cache
	sync  func()
}

// NewReceivers returns a Receivers for the namespaces, or for all namespaces if there are none. It reads nothing until Start is
// called.
func NewReceivers(ctx context.Context, config *rest.Config, httpClient *http.Client, scheme *runtime.Scheme, namespaces []string) (*Receivers, error) {
	var in map[string]ctrlcache.Config
	for _, namespace := range namespaces {
		if in == nil {
			in = map[string]ctrlcache.Config{}
		}
		in[namespace] = ctrlcache.Config{}
	}
	secret, definition := &corev1.Secret{}, &v1alpha1.JobDefinition{}
	noCopies := true
	cache, err := ctrlcache.New(config, ctrlcache.Options{
		HTTPClient: httpClient, Scheme: scheme, ReaderFailOnMissingInformer: true, DefaultUnsafeDisableDeepCopy: &noCopies,
		ByObject: map[client.Object]ctrlcache.ByObject{
			definition: {Namespaces: in, Transform: keepReceivers},
			secret: {
				Namespaces: in, Transform: keepSecrets,
				Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelReceiver: v1alpha1.ReceiverSecret}),
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of receivers: %w", err)
	}
	for _, object := range []client.Object{definition, secret} {
		if _, err := cache.GetInformer(ctx, object, ctrlcache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("make the cache of receivers: %w", err)
		}
	}
	synced := make(chan struct{})
	return &Receivers{Reader: cache, Synced: synced, namespaces: namespaces, cache: cache, sync: func() { close(synced) }}, nil
}

// NeedLeaderElection says that every replica takes deliveries.
func (r *Receivers) NeedLeaderElection() bool { return false }

// Start keeps the cache up to date until ctx ends. It implements manager.Runnable.
func (r *Receivers) Start(ctx context.Context) error {
	go func() {
		if r.cache.WaitForCacheSync(ctx) {
			r.sync()
		}
	}()
	return r.cache.Start(ctx)
}

// keepReceivers drops what is not needed of a JobDefinition.
func keepReceivers(object any) (any, error) {
	if d, ok := object.(*v1alpha1.JobDefinition); ok {
		d.ObjectMeta = kept(&d.ObjectMeta)
		d.Spec, d.Status = v1alpha1.JobDefinitionSpec{Receivers: d.Spec.Receivers}, v1alpha1.JobDefinitionStatus{}
	}
	return object, nil
}

// keepSecrets drops what is not needed of a Secret.
func keepSecrets(object any) (any, error) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	slim := &corev1.Secret{TypeMeta: secret.TypeMeta, ObjectMeta: kept(&secret.ObjectMeta), Data: map[string][]byte{}}
	slim.Labels = map[string]string{v1alpha1.LabelReceiver: secret.Labels[v1alpha1.LabelReceiver]}
	for key, value := range secret.Data {
		if len(value) <= maxSecretBytes {
			slim.Data[key] = value
		}
	}
	return slim, nil
}

func kept(of *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: of.Namespace, Name: of.Name, UID: of.UID, ResourceVersion: of.ResourceVersion, Generation: of.Generation,
		DeletionTimestamp: of.DeletionTimestamp,
	}
}

// receiver is a receiver of a JobDefinition, with its secrets.
type receiver struct {
	*v1alpha1.JobReceiver

	namespace string
	of        *v1alpha1.JobDefinition
	secrets   []signature.Secret
}

// user returns the name of the user who triggers.
func (r *receiver) user() string { return v1alpha1.ReceiverUser(r.namespace, r.of.Name, r.Name) }

// find returns the receiver of an address, or nil. The receiver has no secrets if problem says why. An error means that it is not
// known.
func (r *Receivers) find(ctx context.Context, namespace, definition, name string) (found *receiver, problem string, err error) {
	if len(r.namespaces) > 0 && !slices.Contains(r.namespaces, namespace) { // The cache would return an error.
		return nil, "", nil
	}
	d := &v1alpha1.JobDefinition{}
	err = r.Get(ctx, types.NamespacedName{Namespace: namespace, Name: definition}, d)
	switch {
	case apierrors.IsNotFound(err):
		return nil, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("read JobDefinition %s: %w", definition, err)
	case d.DeletionTimestamp != nil || d.Receiver(name) == nil:
		return nil, "", nil
	}
	found = &receiver{JobReceiver: d.Receiver(name), namespace: namespace, of: d}
	found.secrets, problem, err = r.secretsOf(ctx, found)
	return found, problem, err
}

// secretsOf returns the secrets of a receiver, or why it has none.
func (r *Receivers) secretsOf(ctx context.Context, of *receiver) (secrets []signature.Secret, problem string, err error) {
	ref, secret := of.SecretRef, &corev1.Secret{}
	err = r.Get(ctx, types.NamespacedName{Namespace: of.namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err) || err == nil && secret.Labels[v1alpha1.LabelReceiver] != v1alpha1.ReceiverSecret:
		return nil, fmt.Sprintf("there is no Secret %s with the label %s=%s", ref.Name, v1alpha1.LabelReceiver, v1alpha1.ReceiverSecret), nil
	case err != nil:
		return nil, "", fmt.Errorf("read Secret %s: %w", ref.Name, err)
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return nil, fmt.Sprintf("Secret %s has no key %s of at most %d bytes", ref.Name, ref.Key, maxSecretBytes), nil
	}
	secrets, invalid := signature.ParseSecrets(of.Type, value)
	return secrets, secretProblem(ref, invalid), nil
}

// secretProblem says what is wrong with a value of a Secret; empty if nothing is.
func secretProblem(ref v1alpha1.ReceiverSecretReference, invalid error) string {
	if invalid == nil {
		return ""
	}
	return fmt.Sprintf("key %s of Secret %s: %v", ref.Key, ref.Name, invalid)
}
