// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// idleTriggers is the number of triggers whose latency is measured, per round and side.
	idleTriggers = 1000
	// stormEvery paces the storm of another key: 1,000 triggers a second.
	stormEvery   = time.Millisecond
	stormCallers = 128
	// stormLead is how long the storm blows before anything is measured.
	stormLead = time.Second
	// besideTriggers is the number of triggers of the other key, one after the other.
	besideTriggers = 300
)

// sameTrigger is the JobRun that the gateway makes of triggerBody.
func sameTrigger(ns, name, key string) *v1alpha1.JobRun {
	run := skipping(keyed(workerRun(ns, name), key))
	run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(callerInput)}
	return run
}

// measureGatewayKeys compares the triggers of distinct keys at the gateway and at the API server.
func measureGatewayKeys(ctx context.Context, w *world, o Options) ([]Result, error) {
	g, err := w.startGateway(ctx)
	if err != nil {
		return nil, err
	}
	var ours, theirs []float64
	for round := range o.Rounds + 1 {
		creates := o.size(admissionCreates)
		if err := alternate(round,
			w.keysSide(ctx, creates, &ours, func(ns string) (time.Duration, error) {
				took, _, err := rush{
					gateway: g, callers: admissionCallers, requests: creates, triggers: 1, want: v1alpha1.DispositionCreated,
					request: func(i int) []byte { return g.trigger(ns, fmt.Sprintf("key-%d", i)) },
				}.send(ctx)
				return took, err
			}),
			w.keysSide(ctx, creates, &theirs, func(ns string) (time.Duration, error) {
				took, _, err := storm{
					api: g.api, callers: admissionCallers, creates: creates, expect: answered(v1alpha1.DispositionCreated),
					trigger: func(i int) *v1alpha1.JobRun {
						return sameTrigger(ns, fmt.Sprintf("%s-%d", workerJob, i), fmt.Sprintf("key-%d", i))
					},
				}.send(ctx)
				return took, err
			}),
		); err != nil {
			return nil, err
		}
	}
	return []Result{compared(Result{
		Row: "gateway-keys", What: "triggers of distinct keys, 32 callers, by the gateway", Against: "creates at the API server", Unit: "/s",
		Goal: Goal{Kind: Ratio, AtLeast: 0.95},
	}, ours[1:], theirs[1:], ratios)}, nil // The first round warms up.
}

// keysSide returns one side of a round: it sends creates in a namespace of its own, and adds the rate.
func (w *world) keysSide(ctx context.Context, creates int, rates *[]float64, send func(ns string) (time.Duration, error)) func() error {
	return func() error {
		ns, err := w.namespace(ctx)
		if err != nil {
			return err
		}
		if err := w.quiet(ctx); err != nil {
			return err
		}
		took, err := send(ns)
		if err != nil {
			return err
		}
		*rates = append(*rates, float64(creates)/took.Seconds())
		return w.wipe(ctx, ns)
	}
}

// measureGatewayLatency compares single triggers at the gateway with creates of the same triggers at the API server. They
// alternate, so that other work of the machine hits both.
func measureGatewayLatency(ctx context.Context, w *world, o Options) ([]Result, error) {
	if _, err := w.startGateway(ctx); err != nil {
		return nil, err
	}
	var p99, p50 struct{ ours, theirs []float64 }
	for range o.Rounds {
		ours, theirs, err := w.idleLatencies(ctx, o.size(idleTriggers))
		if err != nil {
			return nil, err
		}
		p99.ours, p99.theirs = append(p99.ours, quantile(ours, 0.99)), append(p99.theirs, quantile(theirs, 0.99))
		p50.ours, p50.theirs = append(p50.ours, quantile(ours, 0.5)), append(p50.theirs, quantile(theirs, 0.5))
	}
	const against = "create at the API server"
	return []Result{
		compared(Result{
			Row: "gateway-p99", What: "p99 of a single trigger of an idle gateway, each with its own key", Against: against, Unit: "ms",
			Goal: Goal{Kind: Ratio, AtMost: 1.3},
		}, p99.ours, p99.theirs, ratios),
		compared(Result{
			Row: "gateway-p50", What: "... p50", Against: against, Unit: "ms", Goal: Goal{Kind: Stated},
		}, p50.ours, p50.theirs, ratios),
	}, nil
}

// idleLatencies returns the latencies of triggers at the gateway, and of creates at the API server, in milliseconds.
func (w *world) idleLatencies(ctx context.Context, triggers int) (ours, theirs []float64, err error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := dial(ctx, w.gateway.Address)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	if err := w.quiet(ctx); err != nil {
		return nil, nil, err
	}
	for i := range triggers + p99WarmUp {
		request := w.gateway.trigger(ns, fmt.Sprintf("ours-%d", i))
		begin := time.Now()
		if err := c.send(request, v1alpha1.DispositionCreated, 1); err != nil {
			return nil, nil, err
		}
		ours = append(ours, inMilliseconds(time.Since(begin)))
		run := sameTrigger(ns, fmt.Sprintf("theirs-%d", i), fmt.Sprintf("theirs-%d", i))
		begin = time.Now()
		if err := answered(v1alpha1.DispositionCreated)(run, w.gateway.api.Create(ctx, run)); err != nil {
			return nil, nil, err
		}
		theirs = append(theirs, inMilliseconds(time.Since(begin)))
	}
	return ours[p99WarmUp:], theirs[p99WarmUp:], w.wipe(ctx, ns)
}

// measureGatewayOtherKey compares the triggers of a key during a storm of another key with those without it.
func measureGatewayOtherKey(ctx context.Context, w *world, o Options) ([]Result, error) {
	if _, err := w.startGateway(ctx); err != nil {
		return nil, err
	}
	if err := w.awaitGroups(ctx); err != nil {
		return nil, err
	}
	var p99, p50 struct{ with, without []float64 }
	for range o.Rounds {
		without, with, err := w.besideAStorm(ctx, o.size(besideTriggers))
		if err != nil {
			return nil, err
		}
		p99.with, p99.without = append(p99.with, quantile(with, 0.99)), append(p99.without, quantile(without, 0.99))
		p50.with, p50.without = append(p50.with, quantile(with, 0.5)), append(p50.without, quantile(without, 0.5))
	}
	const against = "without the storm"
	return []Result{
		compared(Result{
			Row: "gateway-other-key", What: "p50 of a duplicate of one key during a storm of another key, 1,000 a second", Against: against, Unit: "ms",
			Goal: Goal{Kind: Ratio, AtMost: 2},
		}, p50.with, p50.without, ratios),
		compared(Result{
			Row: "gateway-other-key-p99", What: "... p99", Against: against, Unit: "ms", Goal: Goal{Kind: Stated},
		}, p99.with, p99.without, ratios),
	}, nil
}

// besideAStorm returns the latencies of one caller's triggers, without and with a storm of another key, in milliseconds.
func (w *world) besideAStorm(ctx context.Context, triggers int) (without, with []float64, err error) {
	ns, err := w.namespace(ctx)
	if err != nil {
		return nil, nil, err
	}
	const other = "other"
	for _, key := range []string{hotKey, other} {
		if err := w.occupyByGateway(ctx, ns, key); err != nil {
			return nil, nil, err
		}
	}
	request := w.gateway.trigger(ns, other)
	beside := rush{
		gateway: w.gateway, callers: 1, requests: triggers, triggers: 1, want: v1alpha1.DispositionCoalesced, request: func(int) []byte { return request },
	}
	if err := w.quiet(ctx); err != nil {
		return nil, nil, err
	}
	_, alone, err := beside.send(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := w.startStorm(ctx, ns)
	if err := pause(ctx, stormLead); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	_, crowded, err := beside.send(ctx)
	if stormErr := stop(); err == nil {
		err = stormErr
	}
	if err != nil {
		return nil, nil, err
	}
	// What was under way when the storm ended is answered.
	if err := w.quiet(ctx); err != nil {
		return nil, nil, err
	}
	return each(alone, inMilliseconds), each(crowded, inMilliseconds), w.wipe(ctx, ns)
}

func inMilliseconds(d time.Duration) float64 { return milliseconds(d.Seconds()) }

// startStorm begins a storm of hotKey. stop ends it, and returns its error.
func (w *world) startStorm(ctx context.Context, ns string) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	request := w.gateway.trigger(ns, hotKey)
	ended := make(chan error, 1)
	go func() {
		_, _, err := rush{
			gateway: w.gateway, callers: stormCallers, requests: math.MaxInt32, triggers: 1, want: v1alpha1.DispositionCoalesced,
			request: func(int) []byte { return request }, every: stormEvery,
		}.send(ctx)
		ended <- err
	}()
	return func() error {
		cancel()
		return ignoreChanged(<-ended)
	}
}
