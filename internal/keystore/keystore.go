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

// ErrChanged means that the RunKey is not at the version that the caller decided on. The caller must read and
// decide again.
var ErrChanged = errors.New("the RunKey changed")

// Store reads and writes RunKeys.
type Store struct {
	cached client.Reader
	live   client.Reader
	writer client.Writer
	clock  clock.PassiveClock
	shared *cache.SharedReads[*v1alpha1.RunKey]
	writes writes
	// runs are the live reads of Exists. The value is the run of the name, the zero Identity if there is none.
	runs *cache.SharedReads[runkey.Identity]
}

// Options of a Store.
type Options struct {
	// Cached reads from a cache, which may lag.
	Cached client.Reader
	// Live reads from the API server.
	Live   client.Reader
	Writer client.Writer
	// Clock gives the time of reservations.
	Clock clock.PassiveClock
}

// New returns a Store.
func New(o Options) *Store {
	s := &Store{cached: o.Cached, live: o.Live, writer: o.Writer, clock: o.Clock}
	s.shared = cache.NewSharedReads(func(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
		return get(ctx, s.live, name)
	}, countShared)
	s.runs = cache.NewSharedReads(func(ctx context.Context, name types.NamespacedName) (runkey.Identity, error) {
		return identityAt(ctx, s.live, name)
	}, nil)
	return s
}

// Cached returns the key that the cache shows; nil if it shows none.
func (s *Store) Cached(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	return get(ctx, s.cached, name)
}

// Live returns the key as stored at some time after the call; nil if there is none. Callers share the answer
// and must not change it.
func (s *Store) Live(ctx context.Context, name types.NamespacedName) (*v1alpha1.RunKey, error) {
	return s.shared.Get(ctx, name)
}

// OwnedBy returns the idempotency keys that a run owns, as the cache shows them. Callers must not change them,
// because the cache shares them.
func (s *Store) OwnedBy(ctx context.Context, namespace string, owner runkey.Identity) ([]v1alpha1.RunKey, error) {
	var keys v1alpha1.RunKeyList
	err := s.cached.List(ctx, &keys, client.InNamespace(namespace),
		client.MatchingFields{cache.FieldOwner: owner.Token}, client.UnsafeDisableDeepCopy)
	return keys.Items, err
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

// CompareAndSwap replaces current with next and returns the stored key. If current is nil, it creates the key. If
// next is nil, it deletes the key. ErrChanged means that another version than current is stored. After any other
// error the write may have happened.
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
	if err := s.writer.Create(ctx, key); s.writes.note(s.clock.Now(), err) != nil {
		return nil, changed(name, err)
	}
	return key, nil
}

func (s *Store) update(ctx context.Context, current *v1alpha1.RunKey, spec *v1alpha1.RunKeySpec) (*v1alpha1.RunKey, error) {
	key := current.DeepCopy()
	key.Spec = *spec
	if err := s.writer.Update(ctx, key); s.writes.note(s.clock.Now(), err) != nil {
		return nil, changed(client.ObjectKeyFromObject(current), err)
	}
	return key, nil
}

func (s *Store) delete(ctx context.Context, current *v1alpha1.RunKey) error {
	preconditions := client.Preconditions{UID: &current.UID, ResourceVersion: &current.ResourceVersion}
	if err := s.writer.Delete(ctx, current.DeepCopy(), preconditions); s.writes.note(s.clock.Now(), err) != nil {
		return changed(client.ObjectKeyFromObject(current), err)
	}
	return nil
}

// changed wraps an error of a write. AlreadyExists, Conflict and NotFound mean that another writer was first, so
// they become ErrChanged. Forbidden does not: it comes from a terminating namespace or the policy on RunKeys.
func changed(name types.NamespacedName, err error) error {
	if outrun(err) {
		retries.Inc()
		return fmt.Errorf("%w: %s: %w", ErrChanged, name, err)
	}
	return fmt.Errorf("write RunKey %s: %w", name, err)
}

func outrun(err error) bool {
	return apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}
