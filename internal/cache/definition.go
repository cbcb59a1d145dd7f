// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// FindDefinition returns a JobDefinition, or nil if there is none. A definition may be newer than the cache. So FindDefinition reads
// it live if the cache does not show it, or if suffices does not accept what the cache shows. suffices may be nil. The caller must
// not change the definition.
func FindDefinition(
	ctx context.Context, cached, live client.Reader, name types.NamespacedName, suffices func(*v1alpha1.JobDefinition) bool,
) (*v1alpha1.JobDefinition, error) {
	found, err := ReadDefinition(ctx, cached, name)
	if err != nil || found != nil && (suffices == nil || suffices(found)) {
		return found, err
	}
	return ReadDefinition(ctx, live, name)
}

// ReadDefinition returns a JobDefinition as one reader shows it, or nil if it shows none. The caller must not change it.
func ReadDefinition(ctx context.Context, from client.Reader, name types.NamespacedName) (*v1alpha1.JobDefinition, error) {
	found := &v1alpha1.JobDefinition{}
	switch err := from.Get(ctx, name, found, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read JobDefinition %s: %w", name, err)
	default:
		return found, nil
	}
}
