// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// watchDuration is how long a watch is asked for, up to twice as long.
const watchDuration = 5 * time.Minute

// feed is a list of a job's runs without outcome that a watch keeps up to date.
// Where the watch ends it goes on from the last version seen; where that cannot
// be, it lists again.
type feed struct {
	w        *Worker
	job      string
	selector fields.Selector
	// version was seen last; empty to list first.
	version string
	contact bool
	backoff wait.Backoff
}

// follow keeps the worker informed of a job's runs until the context is done.
func (w *Worker) follow(ctx context.Context, job string) {
	f := &feed{w: w, job: job, selector: holder.WithoutOutcome(job), backoff: holder.NewBackoff()}
	for ctx.Err() == nil {
		err := f.turn(ctx)
		if err != nil && ctx.Err() == nil {
			if !f.contact && holder.RefusedForGood(err) {
				w.die(fmt.Errorf("follow the runs of job %s: %w", job, err))
				return
			}
			w.log.Warn("Cannot follow the runs of a job, will try again", "job", job, "error", err)
		}
		w.pause(ctx, f.backoff.Step())
	}
}

// turn lists if need be and watches until the watch ends.
func (f *feed) turn(ctx context.Context) error {
	scope := []client.ListOption{client.InNamespace(f.w.o.Namespace), client.MatchingFieldsSelector{Selector: f.selector}}
	if f.version == "" {
		var list v1alpha1.JobRunList
		listed, cancel := context.WithTimeout(ctx, 3*holder.CallTimeout)
		defer cancel()
		if err := f.w.api.List(listed, &list, scope...); err != nil {
			return err
		}
		f.reached(list.ResourceVersion)
		f.w.listed(ctx, f.job, list.Items)
	}
	seconds := int64(wait.Jitter(watchDuration, 1).Seconds())
	from := &client.ListOptions{Raw: &metav1.ListOptions{
		ResourceVersion: f.version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	}}
	events, err := f.w.api.Watch(ctx, &v1alpha1.JobRunList{}, append(scope, from)...)
	if err != nil {
		if answered(err) {
			f.version = ""
		}
		return err
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-events.ResultChan():
			if !open {
				return nil
			}
			if err := f.take(ctx, event); err != nil {
				f.version = ""
				return err
			}
		}
	}
}

func (f *feed) reached(version string) {
	f.contact, f.version, f.backoff = true, version, holder.NewBackoff()
}

func (f *feed) take(ctx context.Context, event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	run, ok := event.Object.(*v1alpha1.JobRun)
	if !ok {
		return fmt.Errorf("the watch of JobRuns brought a %T", event.Object)
	}
	f.reached(run.ResourceVersion)
	switch event.Type {
	case watch.Bookmark:
	case watch.Deleted:
		f.w.gone(run)
	default:
		f.w.seen(ctx, run)
	}
	return nil
}

// answered reports whether the API server answered at all.
func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// pause waits; it reports false when the context ended first.
func (w *Worker) pause(ctx context.Context, d time.Duration) bool {
	return holder.Pause(ctx, w.clock, d)
}
