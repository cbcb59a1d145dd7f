// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/worker"
)

const (
	workerCount = 10
	workerRuns  = 1000
	// workerLease is the default lease duration. A worker renews three times in it.
	workerLease    = v1alpha1.DefaultLeaseDurationSeconds * time.Second
	renewalsALease = 3
)

// measureWorkers counts the calls that keep many leases alive: those of the workers that hold them, and the additional
// calls of the manager.
func measureWorkers(ctx context.Context, w *world, o Options) ([]Result, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.quiet(ctx); err != nil {
		return nil, err
	}
	_, anyway, err := w.callsOfALease(ctx, &fleet{})
	if err != nil {
		return nil, err
	}
	runs := o.size(workerRuns)
	f, err := w.startFleet(ctx, ns, workerCount, (runs+workerCount-1)/workerCount, (*fleet).hold)
	if err != nil {
		return nil, err
	}
	if err := w.lease(ctx, ns, f, runs); err != nil {
		return nil, f.stop(err)
	}
	var workers, manager []float64
	for range o.Rounds {
		ofWorkers, ofManager, err := w.callsOfALease(ctx, f)
		if err != nil {
			return nil, f.stop(err)
		}
		workers = append(workers, ofWorkers/renewalsALease)
		manager = append(manager, (ofManager-anyway)/renewalsALease)
	}
	if held := f.held.Load(); held != int64(runs) {
		return nil, f.stop(fmt.Errorf("%d of %d runs are leased after all", held, runs))
	}
	if err := f.stop(w.wipe(ctx, ns)); err != nil {
		return nil, err
	}
	return []Result{
		alone(Result{
			Row: "renewals", What: fmt.Sprintf("API calls of %d workers per renewal period, %d leased runs", workerCount, runs), Unit: "calls",
			Goal: Goal{Kind: Count, AtMost: workerCount, Promised: true},
		}, workers),
		alone(Result{
			Row: "renewals-manager", What: "... those of the manager that come on top", Unit: "calls", Goal: Goal{Kind: Stated},
		}, manager),
	}, nil
}

// runsOfOne and runsOfTwo are JobRuns that one worker of pkg/worker executes, and two. Two workers may claim the same run.
var runsOfOne, runsOfTwo = worked(1), worked(2)

func worked(workers int) workload {
	load := claimed(fmt.Sprintf("worked-%d", workers), func(ns, name string) *v1alpha1.JobRun { return keyed(workerRun(ns, name), "") })
	load.times = 4 // They are much faster than Jobs.
	load.beside = func(ctx context.Context, w *world, ns string) (stop func() error, err error) {
		f, err := w.startFleet(ctx, ns, workers, throughputPlaces/workers, (*fleet).complete)
		if err != nil {
			return nil, err
		}
		return func() error { return f.stop(nil) }, nil
	}
	return load
}

// callsOfALease counts the calls of the workers and of the manager during one lease duration.
func (w *world) callsOfALease(ctx context.Context, f *fleet) (workers, manager float64, err error) {
	before, err := w.effort(ctx)
	if err != nil {
		return 0, 0, err
	}
	calls := f.calls.Load()
	if err := pause(ctx, workerLease); err != nil {
		return 0, 0, err
	}
	after, err := w.effort(ctx)
	return float64(f.calls.Load() - calls), after.calls - before.calls, err
}

// fleet is a number of workers.
type fleet struct {
	calls, held atomic.Int64
	quit        context.CancelFunc
	group       *errgroup.Group
}

// startFleet starts workers that execute so many runs each at once.
func (w *world) startFleet(
	ctx context.Context, ns string, workers, runs int, handle func(*fleet, context.Context, *worker.Run) (any, error),
) (*fleet, error) {
	f := &fleet{}
	ctx, f.quit = context.WithCancel(ctx)
	f.group, ctx = errgroup.WithContext(ctx)
	for range workers {
		config := rest.CopyConfig(w.callers)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counted{next, &f.calls} })
		one, err := worker.NewForConfig(config, worker.Options{
			Namespace: ns, Concurrency: runs, ShutdownGrace: -1, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return nil, f.stop(err)
		}
		one.Handle(workerJob, func(ctx context.Context, run *worker.Run) (any, error) { return handle(f, ctx, run) })
		f.group.Go(func() error { return one.Run(ctx) })
	}
	return f, nil
}

// hold is a handler that returns only when the worker ends.
func (f *fleet) hold(ctx context.Context, _ *worker.Run) (any, error) {
	f.held.Add(1)
	defer f.held.Add(-1)
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// complete is a handler that does nothing.
func (f *fleet) complete(context.Context, *worker.Run) (any, error) { return nil, nil }

// stop ends the workers. It returns err or, if that is nil, the error of a worker.
func (f *fleet) stop(err error) error {
	f.quit()
	if failed := f.group.Wait(); err == nil {
		err = failed
	}
	return err
}

// lease creates runs and waits until the workers hold all of them.
func (w *world) lease(ctx context.Context, ns string, f *fleet, runs int) error {
	_, err := storm{
		api: w.jobruns, callers: workerCount, creates: runs, expect: answered(v1alpha1.DispositionCreated),
		trigger: func(i int) *v1alpha1.JobRun { return workerRun(ns, fmt.Sprintf("run-%d", i)) },
	}.rate(ctx)
	if err != nil {
		return err
	}
	if err := await(ctx, "the workers to lease all runs", func() (bool, error) {
		return f.held.Load() == int64(runs), nil
	}); err != nil {
		return err
	}
	return w.settled(ctx)
}

// counted counts requests.
type counted struct {
	next  http.RoundTripper
	calls *atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return c.next.RoundTrip(r)
}
