// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// retryPause is how long to leave an API server alone that ended a watch.
const retryPause = time.Second

// changes tells that something of a list may have changed since it was read.
// What has changed is not said: whoever waits reads again. So a watch that ends,
// and events that nobody saw, cost nothing but a read.
type changes struct {
	api client.WithWatch
	may chan struct{}
}

func newChanges(c *cluster) *changes {
	return &changes{api: c.api, may: make(chan struct{}, 1)}
}

// of follows a list until ctx ends. Several may be followed.
func (c *changes) of(ctx context.Context, list client.ObjectList, options ...client.ListOption) {
	go func() {
		for ctx.Err() == nil {
			c.watch(ctx, list, options)
			c.retry(ctx)
		}
	}()
}

func (c *changes) watch(ctx context.Context, list client.ObjectList, options []client.ListOption) {
	w, err := c.api.Watch(ctx, list, options...)
	if err != nil {
		return // the next read tells what is wrong
	}
	defer w.Stop()
	c.tell()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-w.ResultChan():
			if !open || event.Type == watch.Error {
				return
			}
			c.tell()
		}
	}
}

// retry tells of a change after a pause, because no watch shows when a request can succeed.
func (c *changes) retry(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(retryPause):
	}
	c.tell()
}

func (c *changes) tell() {
	select {
	case c.may <- struct{}{}:
	default: // it has been told, and nobody has read since
	}
}
