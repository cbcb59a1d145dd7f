// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"context"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// ListerWatcher lists and watches the JobRuns of all namespaces. api must not read from a cache.
func ListerWatcher(api client.WithWatch) toolscache.ListerWatcher {
	jobRuns := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list := &v1alpha1.JobRunList{}
			return list, api.List(ctx, list, &client.ListOptions{Raw: &options, Limit: options.Limit, Continue: options.Continue})
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return api.Watch(ctx, &v1alpha1.JobRunList{}, &client.ListOptions{Raw: &options})
		},
	}
	return toolscache.ToListWatcherWithWatchListSemantics(jobRuns, api)
}

// Follow keeps the Hub up to date until ctx ends.
func (h *Hub) Follow(ctx context.Context, jobRuns toolscache.ListerWatcher) {
	logger := h.log
	toolscache.NewReflectorWithOptions(jobRuns, &v1alpha1.JobRun{}, store{h}, toolscache.ReflectorOptions{
		Name: "jobruns", Logger: &logger,
	}).RunWithContext(ctx)
}

// store takes what a reflector reads. It calls the Hub from one goroutine.
type store struct{ hub *Hub }

var (
	_ toolscache.TransformingStore      = store{}
	_ toolscache.ReflectorBookmarkStore = store{}
)

// Transformer returns what is done to each JobRun of a list as soon as it is read.
func (store) Transformer() toolscache.TransformFunc {
	return func(object any) (any, error) {
		if run, ok := object.(*v1alpha1.JobRun); ok {
			trim(run)
		}
		return object, nil
	}
}

// Replace takes a list.
func (s store) Replace(objects []any, resourceVersion string) error {
	version, err := parseVersion(resourceVersion)
	if err != nil {
		return err
	}
	all := make([]v1alpha1.JobRun, 0, len(objects))
	for _, object := range objects {
		run, ok := object.(*v1alpha1.JobRun)
		if !ok {
			return fmt.Errorf("the list of JobRuns has a %T", object)
		}
		all = append(all, *run)
	}
	s.hub.listed(all, version)
	return nil
}

// Add takes a JobRun that was created.
func (s store) Add(object any) error { return s.take(object, false) }

// Update takes a JobRun that was changed.
func (s store) Update(object any) error { return s.take(object, false) }

// Delete takes the last state of a JobRun.
func (s store) Delete(object any) error { return s.take(object, true) }

// Resync does nothing: the Hub has no handlers to call again.
func (store) Resync() error { return nil }

// Bookmark takes a version up to which nothing more happened.
func (s store) Bookmark(resourceVersion string) error {
	version, err := parseVersion(resourceVersion)
	if err == nil {
		s.hub.bookmark(version)
	}
	return err
}

func (s store) take(object any, deleted bool) error {
	run, ok := object.(*v1alpha1.JobRun)
	if !ok {
		return fmt.Errorf("the watch of JobRuns brought a %T", object)
	}
	version, err := parseVersion(run.ResourceVersion)
	if err == nil {
		trim(run)
		s.hub.changed(run, version, deleted)
	}
	return err
}

func parseVersion(resourceVersion string) (uint64, error) {
	return strconv.ParseUint(resourceVersion, 10, 64)
}
