// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// NameTakenError means that a JobRun of the trigger's name exists.
type NameTakenError struct{ Name string }

func (e *NameTakenError) Error() string { return fmt.Sprintf("jobrun %q already exists", e.Name) }

// CheckName returns a *NameTakenError if the name of a new JobRun is taken. The webhook calls it before it
// reserves a key for the JobRun. Most names are free, so CheckName reads live only if the cache shows a
// JobRun of that name. If the cache does not show it yet, the API server refuses the create.
func (s *Store) CheckName(ctx context.Context, name types.NamespacedName) error {
	return checkName(ctx, name, s.cached, s.live)
}

// checkName returns a *NameTakenError if every reader shows a JobRun of that name. It returns nil at the
// first reader that shows none. Only the live reader may decide whether a reservation under the trigger's own
// name is taken over (SameName): a cache may not show the run that holds it yet.
func checkName(ctx context.Context, name types.NamespacedName, readers ...client.Reader) error {
	for _, reader := range readers {
		switch err := reader.Get(ctx, name, &v1alpha1.JobRun{}); {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return fmt.Errorf("read JobRun %s: %w", name, err)
		}
	}
	return &NameTakenError{Name: name.Name}
}

// Exists reports whether the JobRun of a run that a key names exists. If the cache does not show it, a live read decides,
// which triggers that are refused at the same time share. A JobRun of that name with another token is another run (P1).
func (s *Store) Exists(ctx context.Context, namespace string, id runkey.Identity) (bool, error) {
	name := types.NamespacedName{Namespace: namespace, Name: id.RunName}
	cached, err := identityAt(ctx, s.cached, name)
	if err != nil || cached == id {
		return err == nil, err
	}
	stored, err := s.runs.Get(ctx, name)
	return stored == id, err
}

// identityAt returns the identity of the JobRun of a name, the zero Identity if there is none.
func identityAt(ctx context.Context, reader client.Reader, name types.NamespacedName) (runkey.Identity, error) {
	run := &v1alpha1.JobRun{}
	switch err := reader.Get(ctx, name, run); {
	case apierrors.IsNotFound(err):
		return runkey.Identity{}, nil
	case err != nil:
		return runkey.Identity{}, fmt.Errorf("read JobRun %s: %w", name, err)
	}
	return runkey.IdentityOf(run), nil
}
