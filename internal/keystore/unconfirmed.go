// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
)

// Unfinished reads noted Jobs live, and returns those that execute. A Job of a noted name with another token belongs to
// another run, and proves nothing.
func (s *Store) Unfinished(ctx context.Context, namespace string, noted []v1alpha1.UnconfirmedJob) ([]*batchv1.Job, error) {
	var unfinished []*batchv1.Job
	for _, note := range noted {
		job := &batchv1.Job{}
		err := s.live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: note.Job}, job)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("read Job %s/%s: %w", namespace, note.Job, err)
		}
		if executor.IdentityOf(job).Token == note.Token && executor.ExecutesRun(job) && !executor.IsFinished(job) {
			unfinished = append(unfinished, job)
		}
	}
	return unfinished, nil
}
