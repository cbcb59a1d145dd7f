// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// retryPause is the time between two attempts at a watch or a log.
const retryPause = time.Second

// changes tells a command that a list may have changed. The command then reads the list again. So a watch that ends,
// or an event that is missed, costs one read.
type changes struct {
	api client.WithWatch
	may chan struct{}
}

func newChanges(api client.WithWatch) *changes {
	return &changes{api: api, may: make(chan struct{}, 1)}
}

// of watches a list until ctx ends. It may be called for several lists.
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
		return // the command's own read returns the same error
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

// retry waits, then makes the command read again. A read that failed may succeed now, and no watch shows that.
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
	default: // the command has not read since the last change
	}
}
