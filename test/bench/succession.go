// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const successionPairs = 24

// succession is two executions, one after the other. job returns the name of the execution that a Job belongs to.
type succession struct {
	job    func(client.Object) string
	create func(ns, pair string, second bool) client.Object
	// waits means that the second one is created at once, and waits for the end of the first.
	waits bool
}

// jobAfterJob is what a client does that has no JobRun: it creates the second Job when it sees the end of the first.
func jobAfterJob() succession {
	return succession{
		job:    func(object client.Object) string { return object.GetName() },
		create: func(ns, pair string, second bool) client.Object { return plainJob(ns, member(pair, second)) },
	}
}

func runAfterRun() succession {
	return succession{
		job: label(v1alpha1.LabelRun),
		create: func(ns, pair string, second bool) client.Object {
			return keyed(jobRun(ns, member(pair, second)), pair)
		},
		waits: true,
	}
}

func member(pair string, second bool) string {
	if second {
		return pair + "-second"
	}
	return pair + "-first"
}

// measureSuccession measures the time from the end of one run's Job to the Job of the next run of the same key.
func measureSuccession(ctx context.Context, w *world, o Options) ([]Result, error) {
	var ours, theirs []float64
	for round := range o.Rounds + 1 {
		side := func(s succession, all *[]float64) func() error {
			return func() error {
				median, err := w.succeed(ctx, s, o.size(successionPairs))
				*all = append(*all, median)
				return err
			}
		}
		if err := alternate(round, side(runAfterRun(), &ours), side(jobAfterJob(), &theirs)); err != nil {
			return nil, err
		}
	}
	row := Result{
		Row: "succession", What: "end of a run's Job to the next one's Job, same key, 4 keys at once, p50", Unit: "ms",
		Against: "two batch/v1 Jobs, created by hand", Goal: Goal{Kind: Ratio, AtMost: 3},
	}
	return []Result{compared(row, ours[1:], theirs[1:], ratios)}, nil // The first round warms up.
}

// succeed returns the median time from the end of the first to the begin of the second, in milliseconds.
func (w *world) succeed(ctx context.Context, s succession, pairs int) (float64, error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return 0, err
	}
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := func() client.ObjectList { return &batchv1.JobList{} }
	begun, err := follow(following, w.jobruns, ns, sign{jobs, s.job})
	if err != nil {
		return 0, err
	}
	ended, err := follow(following, w.jobruns, ns, sign{jobs, func(object client.Object) string {
		if completedJob(object) == "" {
			return ""
		}
		return s.job(object)
	}})
	if err != nil {
		return 0, err
	}
	runtime.GC() // So that earlier garbage does not slow the measurement.
	gaps := make([]float64, pairs)
	group, limited := errgroup.WithContext(following)
	group.SetLimit(latencyPlaces)
	for i := range pairs {
		group.Go(func() (err error) {
			gaps[i], err = s.gap(limited, w.jobruns, ns, fmt.Sprintf("pair-%d", i), begun, ended)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return milliseconds(quantile(gaps, 0.5)), w.wipe(ctx, ns)
}

// gap executes one pair. It returns the time between its Jobs, in seconds.
func (s succession) gap(ctx context.Context, api client.Client, ns, pair string, begun, ended *follower) (float64, error) {
	second := s.create(ns, pair, true)
	if err := api.Create(ctx, s.create(ns, pair, false)); err != nil {
		return 0, err
	}
	if s.waits {
		if _, err := begun.await(ctx, member(pair, false)); err != nil { // Before that, the second would be refused.
			return 0, err
		}
		if err := api.Create(ctx, second); err != nil {
			return 0, err
		}
	}
	end, err := ended.await(ctx, member(pair, false))
	if err != nil {
		return 0, err
	}
	if !s.waits {
		if err := api.Create(ctx, second); err != nil {
			return 0, err
		}
	}
	next, err := begun.await(ctx, second.GetName())
	return next.Sub(end).Seconds(), err
}
