// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// plain is a batch/v1 Job without a JobRun.
var plain = workload{
	name:   "plain",
	create: func(ns, name string) client.Object { return plainJob(ns, name) },
	begun:  sign{func() client.ObjectList { return &corev1.PodList{} }, label(batchv1.JobNameLabel)},
	done:   sign{func() client.ObjectList { return &batchv1.JobList{} }, completedJob},
}

// unkeyedRuns and keyedRuns are JobRuns with that Job. Each of the keyedRuns has its own key.
var (
	unkeyedRuns = runs("run", jobRun)
	keyedRuns   = runs("keyed", func(ns, name string) *v1alpha1.JobRun { return keyed(jobRun(ns, name), name) })
)

func runs(name string, create func(ns, name string) *v1alpha1.JobRun) workload {
	return workload{
		name:   name,
		create: func(ns, name string) client.Object { return create(ns, name) },
		begun:  sign{func() client.ObjectList { return &batchv1.JobList{} }, label(v1alpha1.LabelRun)},
		done:   sign{func() client.ObjectList { return &v1alpha1.JobRunList{} }, completedRun},
	}
}

func label(name string) func(client.Object) string {
	return func(object client.Object) string { return object.GetLabels()[name] }
}

func completedJob(object client.Object) string {
	job, ok := object.(*batchv1.Job)
	if !ok || !slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	}) {
		return ""
	}
	return job.Name
}

func completedRun(object client.Object) string {
	run, ok := object.(*v1alpha1.JobRun)
	if !ok || run.Status.Phase != v1alpha1.PhaseCompleted {
		return ""
	}
	return run.Name
}

// execution is the result of a closed loop.
type execution struct {
	perSecond float64
	// toBegin is the median time from a create to the first sign of execution, in milliseconds.
	toBegin float64
	// writes is the number of writes to etcd per run, without Events.
	writes float64
	// manager is the manager's effort per run.
	manager effort
}

// execute runs a closed loop in a new namespace, and empties the namespace.
func (w *world) execute(ctx context.Context, load workload, places, total int) (e execution, err error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return execution{}, err
	}
	if load.beside != nil {
		stop, startErr := load.beside(ctx, w, ns)
		if startErr != nil {
			return execution{}, startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if err := w.quiet(ctx); err != nil {
		return execution{}, err
	}
	counter, err := w.cp.NewWriteCounter(ctx)
	if err != nil {
		return execution{}, err
	}
	defer counter.Close()
	before, err := w.effort(ctx)
	if err != nil {
		return execution{}, err
	}
	result, err := loop{load, places, total}.run(ctx, w.jobruns, ns)
	if err != nil {
		return execution{}, err
	}
	if err := w.quiet(ctx); err != nil {
		return execution{}, err
	}
	after, err := w.effort(ctx)
	if err != nil {
		return execution{}, err
	}
	writes, err := counter.InNamespace(ctx, ns)
	if err != nil {
		return execution{}, err
	}
	e = newExecution(result, writes, total)
	e.manager = perRun(before, after, total)
	return e, w.wipe(ctx, ns)
}

func newExecution(result loopResult, writes map[string]controlplane.Writes, total int) execution {
	e := execution{perSecond: float64(total) / result.took.Seconds()}
	e.toBegin = milliseconds(quantile(seconds(result.starts), 0.5))
	for resource, written := range writes {
		if resource != "events" {
			e.writes += float64(written.Total()) / float64(total)
		}
	}
	return e
}

// executions runs the same loop for several workloads, in turn.
func (w *world) executions(ctx context.Context, rounds, places, total int, loads ...workload) (map[string][]execution, error) {
	all := map[string][]execution{}
	for round := range rounds + 1 {
		var sides []func() error
		for _, load := range loads {
			sides = append(sides, func() error {
				e, err := w.execute(ctx, load, places, total*max(load.times, 1))
				all[load.name] = append(all[load.name], e)
				return err
			})
		}
		if err := alternate(round, sides...); err != nil {
			return nil, err
		}
	}
	for name := range all {
		all[name] = all[name][1:] // The first round warms up.
	}
	return all, nil
}

// each returns one figure of each round.
func each[T any](rounds []T, figure func(T) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, round := range rounds {
		values[i] = figure(round)
	}
	return values
}
