// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	few, many = 1000, 100_000

	p99Callers, p99Creates, p99WarmUp = 4, 2000, 100
	storedPlaces, storedTotal         = 20, 100
)

// storedFigures are the figures for one number of stored runs, one per round.
type storedFigures struct {
	p99, noop  []float64 // in ms
	memory     []float64 // in MiB
	executions []execution
}

// measureStored measures what many runs that have ended cost the other runs and the manager.
func measureStored(ctx context.Context, w *world, o Options) ([]Result, error) {
	a, err := w.newArchive(ctx)
	if err != nil {
		return nil, err
	}
	figures := map[int]*storedFigures{0: {}, few: {}, many: {}}
	for round := range o.Rounds {
		begin := time.Now()
		if err := w.storedRound(ctx, a, o, figures); err != nil {
			return nil, err
		}
		fmt.Fprintf(w.log, "round %d of %d took %s\n", round+1, o.Rounds, time.Since(begin).Round(time.Second))
	}
	return storedResults(figures), a.keep(ctx, 0)
}

func (w *world) storedRound(ctx context.Context, a *archive, o Options, figures map[int]*storedFigures) error {
	if err := w.enter(ctx, idle); err != nil {
		return err
	}
	for _, stored := range []int{few, many} {
		if err := w.p99(ctx, a, o, stored, figures[stored]); err != nil {
			return err
		}
	}
	if err := w.enter(ctx, working); err != nil {
		return err
	}
	if err := w.memory(ctx, figures[many]); err != nil {
		return err
	}
	if err := w.executeBeside(ctx, o, figures[many]); err != nil {
		return err
	}
	if err := a.keep(ctx, o.size(few)); err != nil {
		return err
	}
	if err := w.executeBeside(ctx, o, figures[few]); err != nil {
		return err
	}
	if err := a.keep(ctx, 0); err != nil {
		return err
	}
	return w.memory(ctx, figures[0])
}

// p99 measures the 99th percentile of the latency of creates, with keys and little load, for the operator and for the
// no-op webhook beside the same store.
func (w *world) p99(ctx context.Context, a *archive, o Options, stored int, figures *storedFigures) error {
	if err := a.keep(ctx, o.size(stored)); err != nil {
		return err
	}
	return alternate(len(figures.p99),
		func() error { return w.p99Side(ctx, o, w.jobruns, answered(v1alpha1.DispositionCreated), &figures.p99) },
		func() error { return w.p99Side(ctx, o, w.noops, accepted, &figures.noop) },
	)
}

func (w *world) p99Side(
	ctx context.Context, o Options, api client.Client, expect func(*v1alpha1.JobRun, error) error, figures *[]float64,
) error {
	ns, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	s := storm{
		api: api, callers: p99Callers, creates: p99WarmUp, expect: expect,
		trigger: func(i int) *v1alpha1.JobRun {
			return keyed(jobRun(ns, fmt.Sprintf("warm-up-%d", i)), fmt.Sprintf("warm-up-%d", i))
		},
	}
	if _, _, err := s.send(ctx); err != nil {
		return err
	}
	s.creates = o.size(p99Creates)
	s.trigger = func(i int) *v1alpha1.JobRun {
		return keyed(jobRun(ns, fmt.Sprintf("run-%d", i)), fmt.Sprintf("key-%d", i))
	}
	_, latencies, err := s.send(ctx)
	if err != nil {
		return err
	}
	*figures = append(*figures, milliseconds(quantile(seconds(latencies), 0.99)))
	return w.wipe(ctx, ns)
}

// memory measures a manager that has started and settled.
func (w *world) memory(ctx context.Context, figures *storedFigures) error {
	if err := w.restartManager(ctx, nothing, ""); err != nil {
		return err
	}
	if err := w.settled(ctx); err != nil {
		return err
	}
	resident, err := w.resident(ctx)
	figures.memory = append(figures.memory, resident)
	return err
}

func nothing(context.Context) error { return nil }

func (w *world) executeBeside(ctx context.Context, o Options, figures *storedFigures) error {
	e, err := w.execute(ctx, unkeyedRuns, storedPlaces, o.size(storedTotal))
	figures.executions = append(figures.executions, e)
	return err
}

func storedResults(figures map[int]*storedFigures) []Result {
	p99 := func(name string, stored int) Result {
		return compared(Result{
			Row: "p99-" + name, What: fmt.Sprintf("p99 of admission, %d runs stored", stored), Against: fmt.Sprintf("%d stored", few),
			Unit: "ms", Goal: Goal{Kind: Ratio, AtMost: 1.2},
		}, figures[stored].p99, figures[few].p99, ratios)
	}
	noop := func(name string, stored int) Result {
		return compared(Result{
			Row: "p99-" + name + "-noop", What: fmt.Sprintf("... that of the no-op webhook, %d runs stored", stored),
			Against: fmt.Sprintf("%d stored", few), Unit: "ms", Goal: Goal{Kind: Stated},
		}, figures[stored].noop, figures[few].noop, ratios)
	}
	flat := func(row, what string, figure func(execution) float64) Result {
		return compared(Result{
			Row: row, What: fmt.Sprintf("%s, %d runs stored", what, many), Against: fmt.Sprintf("%d stored", few),
			Goal: Goal{Kind: Ratio, AtMost: 1.1, Promised: true},
		}, each(figures[many].executions, figure), each(figures[few].executions, figure), ratios)
	}
	return []Result{
		p99("100k", many),
		noop("100k", many),
		compared(Result{
			Row: "memory", What: fmt.Sprintf("manager RSS, %d terminal runs stored", many), Against: "none stored",
			Unit: "MiB", Goal: Goal{Kind: Count, AtMost: 250},
		}, figures[many].memory, figures[0].memory, differences),
		flat("flat-calls", "API calls per run", func(e execution) float64 { return e.manager.calls }),
	}
}
