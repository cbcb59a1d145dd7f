// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// absorbedKey is the hot key. It is that which the definition computes.
const absorbedKey = "org_acme"

// absorption is a storm of triggers of one hot key, which a waiting run absorbs.
type absorption struct {
	row, what string
	// callers is the number of requests in flight. Each has so many triggers.
	callers, triggers int
	// total is the number of triggers, at full size.
	total   int
	atLeast float64
	// defined means that the job has a definition, which gives the key. varied means that each trigger of a request has its own input.
	defined, varied bool
}

var (
	absorb64   = absorption{row: "64", what: "64 in flight", callers: 64, triggers: 1, total: 20_000, atLeast: 4000}
	absorb1024 = absorption{row: "1024", what: "1,024 in flight", callers: 1024, triggers: 1, total: 60_000, atLeast: 15_000}

	absorptions = []absorption{
		absorb64, absorb1024,
		{row: "defined", what: "1,024 in flight, job with a definition that gives the key", callers: 1024, triggers: 1, total: 60_000, defined: true},
		{row: "batch", what: "64 ndjson batches of 100 in flight", callers: 64, triggers: 100, total: 600_000, atLeast: 150_000},
		{row: "inputs", what: "64 ndjson batches of 100 in flight, with inputs of their own", callers: 64, triggers: 100, total: 300_000, varied: true},
	}
)

// absorbed are the figures of one storm.
type absorbed struct {
	perSecond float64
	// cpu is the CPU time of the gateway, in seconds, and writes the writes to etcd without Events. Both are per trigger.
	cpu, writes float64
	// resident is the resident set size of the gateway after the storm, in MiB.
	resident float64
}

// measureGatewayAbsorb measures the triggers of one key that the gateway answers, while the controller works.
func measureGatewayAbsorb(ctx context.Context, w *world, o Options) ([]Result, error) {
	if _, err := w.startGateway(ctx); err != nil {
		return nil, err
	}
	if err := w.awaitGroups(ctx); err != nil {
		return nil, err
	}
	figures := map[string][]absorbed{}
	for round := range o.Rounds + 1 {
		var sides []func() error
		for _, a := range absorptions {
			sides = append(sides, func() error {
				figure, err := a.measure(ctx, w, o)
				figures[a.row] = append(figures[a.row], figure)
				return err
			})
		}
		if err := alternate(round, sides...); err != nil {
			return nil, err
		}
	}
	var results []Result
	for _, a := range absorptions {
		results = append(results, a.results(figures[a.row][1:])...) // The first round warms up.
	}
	return append(results, alone(Result{
		Row: "gateway-writes", What: "writes to etcd per 1,000 duplicates absorbed by the gateway, Events aside, 1,024 in flight", Unit: "writes",
		Goal: Goal{Kind: Count, AtMost: 12},
	}, each(figures[absorb1024.row][1:], func(a absorbed) float64 { return a.writes * 1000 }))), nil
}

func (a absorption) results(rounds []absorbed) []Result {
	goal := Goal{Kind: Ratio, AtLeast: a.atLeast}
	if a.atLeast == 0 {
		goal = Goal{Kind: Stated}
	}
	return []Result{
		alone(Result{
			Row: "gateway-absorb-" + a.row, What: "duplicates absorbed by the gateway, one hot key, " + a.what, Unit: "/s", Goal: goal,
		}, each(rounds, func(f absorbed) float64 { return f.perSecond })),
		alone(Result{
			Row: "gateway-absorb-" + a.row + "-cpu", What: "... CPU time of the gateway per duplicate", Unit: "µs", Goal: Goal{Kind: Stated},
		}, each(rounds, func(f absorbed) float64 { return f.cpu * 1e6 })),
		alone(Result{
			Row: "gateway-absorb-" + a.row + "-memory", What: "... RSS of the gateway after it", Unit: "MiB", Goal: Goal{Kind: Stated},
		}, each(rounds, func(f absorbed) float64 { return f.resident })),
	}
}

func (a absorption) measure(ctx context.Context, w *world, o Options) (figures absorbed, err error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return figures, err
	}
	if a.defined {
		suspended := definition(ns, workerJob)
		suspended.Spec.Suspend = ptr.To(true)
		if err := w.jobruns.Create(ctx, suspended); err != nil {
			return figures, err
		}
	}
	if err := w.occupyByGateway(ctx, ns, absorbedKey); err != nil {
		return figures, err
	}
	if err := w.quiet(ctx); err != nil {
		return figures, err
	}
	counter, err := w.cp.NewWriteCounter(ctx)
	if err != nil {
		return figures, err
	}
	defer counter.Close()
	requests, before := max(o.size(a.total)/a.triggers, 1), 0.0
	rush := a.rush(w.gateway, ns, requests)
	rush.ready = func() (err error) {
		before, _, err = w.gatewayProcess(ctx)
		return err
	}
	took, _, err := rush.send(ctx)
	if err != nil {
		return figures, err
	}
	after, resident, err := w.gatewayProcess(ctx)
	if err != nil {
		return figures, err
	}
	total := requests * a.triggers
	writes, err := w.absorbedWrites(ctx, counter, ns, total)
	if err != nil {
		return figures, err
	}
	n := float64(total)
	return absorbed{perSecond: n / took.Seconds(), cpu: (after - before) / n, writes: writes / n, resident: resident}, w.wipe(ctx, ns)
}

func (a absorption) rush(g *gateway, ns string, requests int) rush {
	request := g.trigger(ns, absorbedKey)
	switch {
	case a.defined:
		request = g.triggerDefined(ns)
	case a.triggers > 1:
		request = g.lines(ns, absorbedKey, a.inputs()...)
	}
	return rush{
		gateway: g, callers: a.callers, requests: requests, triggers: a.triggers, want: v1alpha1.DispositionCoalesced,
		request: func(int) []byte { return request },
	}
}

func (a absorption) inputs() []string {
	inputs := slices.Repeat([]string{callerInput}, a.triggers)
	if a.varied {
		for i := range inputs {
			inputs[i] = fmt.Sprintf(`{"org":"acme","full":false,"since":"2026-01-01T00:%02d:%02dZ"}`, i/60, i%60)
		}
	}
	return inputs
}

// awaitGroups waits until the operator accepts JobRuns that stand for several triggers. The benchmark may have held the Lease of the
// leader without being a member, so for a while it counts as a replica of an older version.
func (w *world) awaitGroups(ctx context.Context) error {
	ns, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	if err := w.occupyByGateway(ctx, ns, absorbedKey); err != nil {
		return err
	}
	probe := absorb64.rush(w.gateway, ns, 4*absorb64.callers)
	err = await(ctx, "the operator to accept groups of triggers", func() (bool, error) {
		if _, _, err := probe.send(ctx); err != nil {
			return false, err
		}
		runs := &v1alpha1.JobRunList{}
		err := w.jobruns.List(ctx, runs, client.InNamespace(ns))
		return slices.ContainsFunc(runs.Items, func(run v1alpha1.JobRun) bool { return run.Spec.Represents != nil }), err
	})
	if err != nil {
		return err
	}
	return w.wipe(ctx, ns)
}

// occupyByGateway makes a run wait for a key. Nobody executes it. This also fills the caches of the gateway.
func (w *world) occupyByGateway(ctx context.Context, ns, key string) error {
	return w.gateway.send(ctx, w.gateway.trigger(ns, key), v1alpha1.DispositionCreated)
}

// absorbedWrites waits until the waiting run of a namespace has counted all triggers and nothing is written any more, and returns
// the writes without Events.
func (w *world) absorbedWrites(ctx context.Context, counter *controlplane.WriteCounter, ns string, triggers int) (float64, error) {
	counted := int64(0)
	err := await(ctx, "the runs to count all triggers", func() (_ bool, err error) {
		counted, err = w.counted(ctx, ns)
		return counted >= int64(triggers), err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %d of %d", err, counted, triggers)
	}
	if err := w.quiet(ctx); err != nil {
		return 0, err
	}
	if counted, err = w.counted(ctx, ns); err != nil {
		return 0, err
	}
	if counted != int64(triggers) {
		return 0, fmt.Errorf("the runs of namespace %s counted %d triggers of %d", ns, counted, triggers)
	}
	written, err := counter.InNamespace(ctx, ns)
	if err != nil {
		return 0, err
	}
	total := 0
	for resource, writes := range written {
		if !strings.HasPrefix(resource, "events") {
			total += writes.Total()
		}
	}
	return float64(total), nil
}

// counted returns how many triggers the runs of a namespace have counted.
func (w *world) counted(ctx context.Context, ns string) (int64, error) {
	runs := &v1alpha1.JobRunList{}
	if err := w.jobruns.List(ctx, runs, client.InNamespace(ns)); err != nil {
		return 0, err
	}
	counted := int64(0)
	for _, run := range runs.Items {
		counted += ptr.Deref(run.Status.Coalesced, v1alpha1.CoalescedTriggers{}).Count
	}
	return counted, nil
}
