// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const weightReconcile = 10

// Controller calls a reconciler with the items of a queue, in goroutines of a process. It treats the
// reconciler's results as controller-runtime does.
type Controller[T comparable] struct {
	// Queue holds the items. The process's event handlers add to it.
	Queue *Queue[T]

	process   *Process
	reconcile func(context.Context, T) (reconcile.Result, error)
	workers   int32
	busy      atomic.Int32
	names     map[T]string // see name
}

// NewController returns a controller with an empty queue, which runs up to workers reconciles at once.
func NewController[T comparable](p *Process, workers int, reconcile func(context.Context, T) (reconcile.Result, error)) *Controller[T] {
	return &Controller[T]{Queue: NewQueue[T](p.sim.Clock), process: p, reconcile: reconcile, workers: int32(workers), names: map[T]string{}}
}

// Steps implements Source.
func (c *Controller[T]) Steps() []Step {
	if c.busy.Load() >= c.workers {
		return nil
	}
	var steps []Step
	for _, item := range c.Queue.Ready() {
		name := c.name(item)
		steps = append(steps, Step{Who: c.process.Name, What: name, Weight: weightReconcile, Do: func() { c.work(name, item) }})
	}
	return steps
}

// name returns the name of the work on an item for the trace. It formats each name once.
func (c *Controller[T]) name(item T) string {
	name, ok := c.names[item]
	if !ok {
		name = fmt.Sprintf("reconcile(%v)", item)
		c.names[item] = name
	}
	return name
}

// Wake implements Source.
func (c *Controller[T]) Wake() time.Time { return c.Queue.Wake() }

// work reconciles an item in a goroutine.
func (c *Controller[T]) work(name string, item T) {
	c.Queue.Take(item)
	c.busy.Add(1)
	c.process.Go(name, func(ctx context.Context) {
		defer c.busy.Add(-1)
		defer c.Queue.Done(item)
		result, err := c.reconcile(ctx, item)
		switch {
		case errors.Is(err, reconcile.TerminalError(nil)):
		case err != nil:
			c.Queue.AddRateLimited(item)
		case result.RequeueAfter > 0:
			c.Queue.Forget(item)
			c.Queue.AddAfter(item, result.RequeueAfter)
		default:
			c.Queue.Forget(item)
		}
	})
}
