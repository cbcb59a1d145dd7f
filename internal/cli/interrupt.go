// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// interruptPatience bounds the requests of an interrupted command. A second interrupt ends it at once.
const interruptPatience = 10 * time.Second

// cancelOwn cancels the JobRun that an interrupted command created, and returns the error that tells so. standing is the run
// that was last seen to stand for it, or "".
func (p *plugin) cancelOwn(ctx context.Context, created *v1alpha1.JobRun, standing string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptPatience)
	defer cancel()
	err := p.runs.CancelFor(ctx, created)
	switch {
	case errors.Is(err, jobrun.ErrNotFound):
		return fmt.Errorf("%w; JobRun %s is gone already", errInterrupted, created.Name)
	case err != nil:
		return &hinted{
			fmt.Errorf("%w; JobRun %s could not be cancelled, and goes on: %w", errInterrupted, created.Name, err),
			fmt.Sprintf("To cancel it: `%s cancel %s`", display, created.Name),
		}
	}
	if other := standsFor(created, standing); other != "" {
		return fmt.Errorf("%w; receipt %s is being cancelled. Run %s, which stood for it, goes on", errInterrupted, created.Name, other)
	}
	return fmt.Errorf("%w; run %s is being cancelled", errInterrupted, created.Name)
}

// standsFor returns the other run that stands for a receipt, or "".
func standsFor(created *v1alpha1.JobRun, standing string) string {
	if a := created.Spec.Admission; standing == "" && a != nil {
		standing = a.RunName
	}
	if standing == created.Name {
		return ""
	}
	return standing
}

// unanswered completes the error of a trigger. If the command was interrupted before the answer came, and is to cancel what it
// created, it cancels the JobRun of this trigger if that exists.
func (o *answerOptions) unanswered(ctx context.Context, p *plugin, err error) error {
	stoppedErr := unlessStopped(ctx, err)
	var open *jobrun.UnansweredError
	if !o.cancels || !errors.Is(stoppedErr, errInterrupted) || !errors.As(err, &open) {
		return stoppedErr
	}
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptPatience)
	defer cancel()
	created, failed := p.runs.Get(reading, open.Name)
	if failed == nil && created.Annotations[v1alpha1.AnnotationTrigger] == open.Trigger {
		return p.cancelOwn(ctx, created, "")
	}
	return &hinted{stoppedErr, fmt.Sprintf("If it is created after all, `%s cancel %s` cancels it.", display, open.Name)}
}
