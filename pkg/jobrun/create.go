// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"cmp"
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// createPatience is how long create tries to learn the result of a request whose answer was lost, if the caller does not say.
const createPatience = 30 * time.Second

var createBackoff = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 8, Cap: 10 * time.Second}

// reservedBackoff has the pauses, of 0.75 seconds in all, between the attempts to create a JobRun whose key is reserved.
// Most reservations last for some milliseconds, until the JobRun that they are for is stored.
var reservedBackoff = wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 4}

// creation is the creation of one JobRun, in one or more attempts.
type creation struct {
	api     client.WithWatch
	sent    *v1alpha1.JobRun
	options []client.CreateOption
	// patience is how long run tries to learn the result after an answer was lost.
	patience time.Duration
	// lost means that the API server may have accepted an attempt whose answer was lost.
	lost bool
}

// create creates run and returns the stored JobRun. After a lost answer it tries again under the same name: either that
// attempt is accepted, or the name is taken, by this trigger or by another one. It tries again for less than a second, too,
// while the key is reserved.
func (c *Client) create(ctx context.Context, run *v1alpha1.JobRun, o options) (*v1alpha1.JobRun, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	run.Annotations = merge(run.Annotations, map[string]string{v1alpha1.AnnotationTrigger: string(uuid.NewUUID())})
	var options []client.CreateOption
	if o.dryRun {
		options = []client.CreateOption{client.DryRunAll}
	}
	for backoff := reservedBackoff; ; {
		creation := creation{api: c.api, sent: run, options: options, patience: cmp.Or(o.patience, createPatience)}
		stored, err := creation.run(ctx)
		if creation.lost || !errors.Is(err, ErrReserved) || backoff.Steps == 0 || !pause(ctx, backoff.Step()) {
			return stored, err
		}
	}
}

func (c *creation) run(ctx context.Context) (*v1alpha1.JobRun, error) {
	run, err := c.attempt(ctx)
	if err == nil || !c.lost || !transient(err) {
		return run, err
	}
	patient, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for backoff := createBackoff; pause(patient, backoff.Step()); {
		run, next := c.attempt(patient)
		switch {
		case next == nil || !transient(next):
			return run, next
		case patient.Err() == nil:
			err = next
		}
	}
	return nil, c.unanswered(errors.Join(err, ctx.Err()))
}

// attempt sends the request once. It looks the name up if an earlier answer was lost, if the name is taken, or if the
// API server failed and may have stored the JobRun.
func (c *creation) attempt(ctx context.Context) (*v1alpha1.JobRun, error) {
	run := c.sent.DeepCopy()
	err := c.api.Create(ctx, run, c.options...)
	switch {
	case err == nil:
		return run, nil
	case len(c.options) > 0:
		return nil, Classify(err) // A dry run stores nothing to look up.
	case !answered(err):
		c.lost = c.lost || !unsent(err)
		if c.lost && !transient(err) {
			return nil, c.unanswered(err)
		}
		return nil, err
	case !c.lost && !apierrors.IsAlreadyExists(err) && !serverFailed(err):
		return nil, Classify(err)
	}
	return c.lookUp(ctx, err)
}

// lookUp returns the JobRun if this attempt or an earlier one has created it, else an error.
func (c *creation) lookUp(ctx context.Context, refused error) (*v1alpha1.JobRun, error) {
	stored := &v1alpha1.JobRun{}
	err := c.api.Get(ctx, client.ObjectKeyFromObject(c.sent), stored)
	switch {
	case err == nil && sameTrigger(stored, c.sent):
		return stored, nil
	case err == nil && (apierrors.IsAlreadyExists(refused) || !c.lost), // The name belongs to another trigger.
		c.lost && transient(refused): // run tries again.
		return nil, refused
	case c.lost || serverFailed(refused) || err != nil && !apierrors.IsNotFound(err):
		// An attempt may be stored later, or the name could not be read.
		return nil, c.unanswered(Classify(refused))
	default:
		return nil, refused
	}
}

func (c *creation) unanswered(err error) error {
	return &UnansweredError{Name: c.sent.Name, Trigger: c.sent.Annotations[v1alpha1.AnnotationTrigger], err: err}
}

// sameTrigger reports whether stored was created from sent.
func sameTrigger(stored, sent *v1alpha1.JobRun) bool {
	return stored.Annotations[v1alpha1.AnnotationTrigger] == sent.Annotations[v1alpha1.AnnotationTrigger]
}
