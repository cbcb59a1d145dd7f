// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cache"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// ErrChanged says that the key is not at the version that was decided on:
// observe again and decide again.
var ErrChanged = errors.New("the RunKey changed")

// Store reads and writes RunKeys.
type Store struct {
	cached client.Reader
	live   client.Reader
	writer client.Writer
	clock  clock.PassiveClock
	shared *sharedReads
}

// Options of a Store.
type Options struct {
	// Cached reads may lag behind.
	Cached client.Reader
	// Live reads go to the API server.
	Live client.Reader
	// Writer writes RunKeys.
	Writer client.Writer
	// Clock stamps reservations.
	Clock clock.PassiveClock
}

// New makes a Store.
func New(o Options) *Store {
	s := &Store{cached: o.Cached, live: o.Live, writer: o.Writer, clock: o.Clock}
	s.shared = newSharedReads(s.read)
	return s
}

// Cached is the key as the cache knows it; nil if the cache knows none.
func (s *Store) Cached(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	return get(ctx, s.cached, name)
}

// Live is the key as stored at some time after the call; nil if there is none.
// The answer is shared: it must not be changed.
func (s *Store) Live(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	return s.shared.get(ctx, name)
}

// OwnedBy are the idempotency keys that a run owns, as the cache knows them.
// They are the cache's own and must not be changed.
func (s *Store) OwnedBy(ctx context.Context, namespace string, owner runkey.Identity) ([]v1alpha1.RunKey, error) {
	var keys v1alpha1.RunKeyList
	err := s.cached.List(ctx, &keys, client.InNamespace(namespace),
		client.MatchingFields{cache.FieldOwner: owner.Token}, client.UnsafeDisableDeepCopy)
	return keys.Items, err
}

func (s *Store) read(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	return get(ctx, s.live, name)
}

func get(ctx context.Context, reader client.Reader, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	key := &v1alpha1.RunKey{}
	switch err := reader.Get(ctx, name, key); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read RunKey %s: %w", name, err)
	}
	return key, nil
}

// CompareAndSwap makes next of current and returns what was stored. A nil
// current is created, a nil next deleted. ErrChanged says that current was not
// what is stored; after any other error the write may or may not have happened.
func (s *Store) CompareAndSwap(
	ctx context.Context, name types.NamespacedName, current *v1alpha1.RunKey, next *v1alpha1.RunKeySpec,
) (*v1alpha1.RunKey, error) {
	switch {
	case current == nil && next == nil:
		return nil, nil
	case current == nil:
		return s.create(ctx, name, next)
	case next == nil:
		return nil, s.delete(ctx, current)
	default:
		return s.update(ctx, current, next)
	}
}

func (s *Store) create(ctx context.Context, name types.NamespacedName, spec *v1alpha1.RunKeySpec) (*v1alpha1.RunKey, error) {
	key := &v1alpha1.RunKey{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Spec: *spec}
	if err := s.writer.Create(ctx, key); err != nil {
		return nil, changed(name, err)
	}
	return key, nil
}

func (s *Store) update(ctx context.Context, current *v1alpha1.RunKey, spec *v1alpha1.RunKeySpec) (*v1alpha1.RunKey, error) {
	key := current.DeepCopy()
	key.Spec = *spec
	if err := s.writer.Update(ctx, key); err != nil {
		return nil, changed(client.ObjectKeyFromObject(current), err)
	}
	return key, nil
}

func (s *Store) delete(ctx context.Context, current *v1alpha1.RunKey) error {
	preconditions := client.Preconditions{UID: &current.UID, ResourceVersion: &current.ResourceVersion}
	if err := s.writer.Delete(ctx, current.DeepCopy(), preconditions); err != nil {
		return changed(client.ObjectKeyFromObject(current), err)
	}
	return nil
}

// changed tells a lost race from an error.
func changed(name types.NamespacedName, err error) error {
	// A terminating namespace and the operator's own policy answer Forbidden,
	// so that is an error; the three below mean that somebody else was first.
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		retries.Inc()
		return fmt.Errorf("%w: %s: %w", ErrChanged, name, err)
	}
	return fmt.Errorf("write RunKey %s: %w", name, err)
}
