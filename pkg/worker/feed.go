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

// watchDuration is the shortest duration of a watch. The longest is twice as long.
const watchDuration = 5 * time.Minute

// feed lists a job's runs without outcome and then watches them. When a watch ends, the next one begins at the last
// version seen. If that is not possible, the feed lists again.
type feed struct {
	w        *Worker
	job      string
	selector fields.Selector
	// version is the last resourceVersion seen. If it is empty, the next turn lists.
	version string
	contact bool
	backoff wait.Backoff
}

// follow tells the worker of every change of a job's runs until ctx is done.
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

// turn lists if the version is not known, and watches until the watch ends.
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
		if errors.As(err, new(apierrors.APIStatus)) { // The API server answered: the version may be too old.
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

func (w *Worker) pause(ctx context.Context, d time.Duration) bool {
	return holder.Pause(ctx, w.clock, d)
}
