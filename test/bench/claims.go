// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/holder"
)

// claimedRuns and keyedClaimedRuns are JobRuns that a claimer executes. Their execution begins when the claim is stored.
var (
	claimedRuns      = claimed("claimed", func(ns, name string) *v1alpha1.JobRun { return keyed(workerRun(ns, name), "") })
	keyedClaimedRuns = claimed("keyed-claimed", workerRun)
)

func claimed(name string, create func(ns, name string) *v1alpha1.JobRun) workload {
	load := runs(name, create)
	load.begun = sign{func() client.ObjectList { return &v1alpha1.JobRunList{} }, leasedRun}
	load.beside = startClaimer
	return load
}

func leasedRun(object client.Object) string {
	if run, ok := object.(*v1alpha1.JobRun); ok && run.Status.Phase == v1alpha1.PhaseLeased {
		return run.Name
	}
	return ""
}

// measureClaims measures the time from a trigger until a worker's claim is stored. Its worker claims a run as soon as it
// sees it. pkg/worker would first pause for a random time, so that not all workers claim the same run.
func measureClaims(ctx context.Context, w *world, o Options) ([]Result, error) {
	done, err := w.executions(ctx, o.Rounds, latencyPlaces, o.size(latencyTotal), plain, claimedRuns, keyedClaimedRuns)
	if err != nil {
		return nil, err
	}
	toClaim := func(load workload) []float64 {
		return each(done[load.name], func(e execution) float64 { return e.toBegin })
	}
	const what = "trigger to a worker's claim stored, 4 in flight, p50"
	results := []Result{
		compared(Result{
			Row: "claim", What: what, Against: "batch/v1 Job to Pod created", Unit: "ms", Goal: Goal{Kind: Ratio, AtMost: 1.15},
		}, toClaim(claimedRuns), toClaim(plain), ratios),
		compared(Result{
			Row: "claim-keyed", What: what + ", with a key", Against: "without a key", Unit: "ms", Goal: Goal{Kind: Ratio, AtMost: 1.5},
		}, toClaim(keyedClaimedRuns), toClaim(claimedRuns), ratios),
	}
	for _, row := range []struct {
		row, what string
		load      workload
		atMost    float64
	}{
		{"claim-writes", "... etcd writes until then, one after the other", claimedRuns, 2},
		{"claim-writes-keyed", "... etcd writes until then, with a key", keyedClaimedRuns, 5},
	} {
		writes, err := w.writesToClaim(ctx, row.load)
		if err != nil {
			return nil, err
		}
		goal := Goal{Kind: Count, AtMost: row.atMost, Promised: true}
		results = append(results, alone(Result{Row: row.row, What: row.what, Unit: "writes", Goal: goal}, []float64{writes}))
	}
	return results, nil
}

// writesToClaim counts the writes to a run and its key until a claim of the run is stored.
func (w *world) writesToClaim(ctx context.Context, load workload) (float64, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return 0, err
	}
	run, ok := load.create(ns, "counted").(*v1alpha1.JobRun)
	if !ok {
		return 0, fmt.Errorf("workload %s creates no JobRuns", load.name)
	}
	if err := w.jobruns.Create(ctx, run); err != nil {
		return 0, err
	}
	if !holder.Claimable(run) {
		if err := w.inPhase(ctx, run, v1alpha1.PhasePending); err != nil {
			return 0, err
		}
		if err := w.quiet(ctx); err != nil { // So that no write of the controller is still under way.
			return 0, err
		}
	}
	if _, err := w.claim(ctx, run); err != nil {
		return 0, err
	}
	writes := 0.0
	for _, resource := range []string{"jobruns", "runkeys"} {
		made, err := w.versionsUnder(ctx, registry+"batch.jobrun.dev/"+resource+"/"+ns+"/")
		if err != nil {
			return 0, err
		}
		writes += made
	}
	return writes, w.wipe(ctx, ns)
}

// startClaimer claims each run of a namespace as soon as it can be claimed, and completes it.
func startClaimer(ctx context.Context, w *world, ns string) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := w.jobruns.Watch(ctx, &v1alpha1.JobRunList{}, client.InNamespace(ns))
	if err != nil {
		cancel()
		return nil, err
	}
	group, executing := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer events.Stop()
		for event := range events.ResultChan() {
			run, ok := event.Object.(*v1alpha1.JobRun)
			if ok && event.Type != watch.Deleted && holder.Claimable(run) {
				group.Go(func() error { return w.executeAsWorker(executing, run) })
			}
		}
		return nil
	})
	return func() error {
		cancel()
		return group.Wait()
	}, nil
}

func (w *world) executeAsWorker(ctx context.Context, run *v1alpha1.JobRun) error {
	claimed, err := w.claim(ctx, run)
	if err == nil {
		_, err = holder.Complete(claimed.LeaseGeneration(), nil).Send(ctx, w.jobruns, claimed)
	}
	return ignoreChanged(err)
}

// ignoreChanged returns nil if the run has changed, because the watch shows how, and if the measurement is over.
func ignoreChanged(err error) error {
	if apierrors.IsConflict(err) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (w *world) claim(ctx context.Context, run *v1alpha1.JobRun) (*v1alpha1.JobRun, error) {
	return holder.Claim(ctx, w.jobruns, clock.RealClock{}, holder.ClaimOf(run, "bench", workerLease, time.Now()))
}
