// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// watchDuration is the shortest duration of a watch. The longest is twice as long.
const watchDuration = 5 * time.Minute

// change is a list of all JobRuns, one JobRun that changed or was deleted, or an event that a gateway told.
type change struct {
	listed  bool
	all     []v1alpha1.JobRun
	run     *v1alpha1.JobRun
	deleted bool
	event   *Event
}

// feed lists JobRuns and then watches them. When a watch ends, the next one begins at the last version seen. If that is
// not possible, the feed lists again.
type feed struct {
	api   client.WithWatch
	scope []client.ListOption
	// version is the last resourceVersion seen. If it is empty, the next turn lists.
	version string
	pace    *pace
}

func (c *Client) newFeed(scope ...client.ListOption) *feed {
	return &feed{api: c.api, scope: append([]client.ListOption{client.InNamespace(c.namespace)}, scope...), pace: newPace()}
}

// follow implements follower.
func (f *feed) follow(ctx context.Context, tell func(change) bool) error {
	return f.pace.repeat(ctx, func() (bool, error) { return f.turn(ctx, tell) })
}

// turn lists if the version is not known, and watches until the watch ends.
func (f *feed) turn(ctx context.Context, tell func(change) bool) (more bool, err error) {
	if f.version == "" {
		all, err := f.list(ctx)
		if err != nil {
			return true, err
		}
		if !tell(change{listed: true, all: all}) {
			return false, nil
		}
	}
	return f.watch(ctx, tell)
}

func (f *feed) list(ctx context.Context) ([]v1alpha1.JobRun, error) {
	var list v1alpha1.JobRunList
	if err := f.api.List(ctx, &list, f.scope...); err != nil {
		return nil, err
	}
	f.pace.reached()
	f.version = list.ResourceVersion
	return list.Items, nil
}

func (f *feed) watch(ctx context.Context, tell func(change) bool) (more bool, err error) {
	seconds := int64(wait.Jitter(watchDuration, 1).Seconds())
	from := &client.ListOptions{Raw: &metav1.ListOptions{
		ResourceVersion:     f.version,
		AllowWatchBookmarks: true,
		TimeoutSeconds:      &seconds,
	}}
	w, err := f.api.Watch(ctx, &v1alpha1.JobRunList{}, slices.Concat(f.scope, []client.ListOption{from})...)
	if err != nil {
		if !transport(err) {
			f.version = ""
		}
		return true, err
	}
	defer w.Stop()
	f.pace.reached()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				return true, nil
			}
			if more, err := f.take(event, tell); !more || err != nil {
				return more, err
			}
		}
	}
}

// take passes one event to tell. After an error the version is not known and the next turn lists.
func (f *feed) take(event watch.Event, tell func(change) bool) (more bool, err error) {
	if event.Type == watch.Error {
		f.version = ""
		return true, apierrors.FromObject(event.Object)
	}
	run, ok := event.Object.(*v1alpha1.JobRun)
	if !ok {
		f.version = ""
		return true, fmt.Errorf("the watch of JobRuns brought a %T", event.Object)
	}
	f.pace.lively()
	f.version = run.ResourceVersion
	if event.Type == watch.Bookmark {
		return true, nil
	}
	return tell(change{run: run, deleted: event.Type == watch.Deleted}), nil
}
