// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	admissionCallers = 32
	admissionCreates = 1000 // per round and side
	hotKey           = "hot"
)

// admissionCase is a kind of trigger. Its throughput is measured.
type admissionCase struct {
	name, what, against string
	goal                Goal
	// hot means that a run waits for hotKey.
	hot     bool
	trigger func(ns string, i int) *v1alpha1.JobRun
	// expect checks an answer of the operator.
	expect func(*v1alpha1.JobRun, error) error
	// expectNoop checks an answer of the no-op webhook.
	expectNoop func(*v1alpha1.JobRun, error) error
}

func admissionCases() []admissionCase {
	return []admissionCase{
		{
			name: "create", what: "create throughput, 32 callers, run without keys", against: "no-op webhook",
			goal:    Goal{Kind: Ratio, AtLeast: 0.95},
			trigger: func(ns string, i int) *v1alpha1.JobRun { return jobRun(ns, fmt.Sprintf("run-%d", i)) },
			expect:  answered(v1alpha1.DispositionCreated), expectNoop: accepted,
		},
		{
			name: "create-keyed", what: "create throughput, 32 callers, distinct concurrencyKeys", against: "no-op webhook",
			goal: Goal{Kind: Ratio, AtLeast: 0.65},
			trigger: func(ns string, i int) *v1alpha1.JobRun {
				return keyed(jobRun(ns, fmt.Sprintf("run-%d", i)), fmt.Sprintf("key-%d", i))
			},
			expect: answered(v1alpha1.DispositionCreated), expectNoop: accepted,
		},
		{
			name: "absorb", what: "duplicates absorbed, 32 callers, one hot key", against: "no-op webhook",
			goal: Goal{Kind: Ratio, AtLeast: 0.90}, hot: true,
			trigger: func(ns string, i int) *v1alpha1.JobRun {
				return skipping(keyed(jobRun(ns, fmt.Sprintf("run-%d", i)), hotKey))
			},
			expect: answered(v1alpha1.DispositionCoalesced), expectNoop: accepted,
		},
		{
			name: "refuse", what: "duplicates refused, 32 callers, one hot key", against: "no-op webhook that refuses",
			goal: Goal{Kind: Ratio, AtLeast: 0.90}, hot: true,
			trigger: func(ns string, i int) *v1alpha1.JobRun {
				run := keyed(jobRun(ns, fmt.Sprintf("run-%d", i)), hotKey)
				run.Labels[refuseLabel] = "" // for the no-op webhook
				return run
			},
			expect: refusedWith409, expectNoop: refusedWith409,
		},
	}
}

func answered(want v1alpha1.Disposition) func(*v1alpha1.JobRun, error) error {
	return func(run *v1alpha1.JobRun, err error) error {
		if err != nil {
			return err
		}
		if run.Spec.Admission == nil || run.Spec.Admission.Disposition != want {
			return fmt.Errorf("JobRun %s was answered with %+v, not %s", run.Name, run.Spec.Admission, want)
		}
		return nil
	}
}

func accepted(_ *v1alpha1.JobRun, err error) error { return err }

func refusedWith409(run *v1alpha1.JobRun, err error) error {
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("JobRun %s was answered with %w, not with a conflict", run.Name, err)
	}
	return nil
}

// admissionMeasures returns the measures of the cases in a state of the controller. Only the idle state has goals.
func admissionMeasures(s state) []measure {
	var all []measure
	for _, c := range admissionCases() {
		if s != idle && c.hot {
			continue // A controller has little to do for these, and the rows of a storm count that.
		}
		if s != idle {
			c.name += "-" + string(s)
			c.what += ", controller " + string(s)
			c.goal = Goal{Kind: Stated}
		}
		all = append(all, measure{c.name, s, c.measure})
	}
	return all
}

// admitted are the figures of one side of a round.
type admitted struct {
	perSecond float64
	spent     // per trigger
}

// spent is what has been spent on triggers so far.
type spent struct {
	// server is the CPU time of the API server and etcd. webhook is that of the webhook's process. Both are in seconds.
	server, webhook float64
	// calls is the number of requests that the webhook's process sent to the API server.
	calls float64
}

// spent reads what was spent by the control plane and by the webhook that answers to api.
func (w *world) spent(ctx context.Context, api client.Client) (s spent, err error) {
	if api == w.noops {
		s.webhook, err = w.noop.cpu(ctx)
	} else {
		var manager effort
		manager, err = w.effort(ctx)
		s.webhook, s.calls = manager.cpu, manager.calls
	}
	if err != nil {
		return s, err
	}
	s.server, err = w.controlPlaneCPU(ctx)
	return s, err
}

func (s spent) perTrigger(before spent, triggers int) spent {
	n := float64(triggers)
	return spent{server: (s.server - before.server) / n, webhook: (s.webhook - before.webhook) / n, calls: (s.calls - before.calls) / n}
}

func (c admissionCase) measure(ctx context.Context, w *world, o Options) ([]Result, error) {
	var ours, theirs, before []admitted
	for round := range o.Rounds + 1 {
		ns, err := w.namespace(ctx)
		if err != nil {
			return nil, err
		}
		creates := o.size(admissionCreates)
		sides := []func() error{
			func() error { return c.manager(ctx, w, ns, o, "", &ours) },
			func() error { return c.side(ctx, w, ns, w.noops, creates, &theirs) },
		}
		if o.Before != "" {
			sides = append(sides, func() error { return c.manager(ctx, w, ns, o, o.Before, &before) })
		}
		if err := alternate(round, sides...); err != nil {
			return nil, err
		}
	}
	ours, theirs = ours[1:], theirs[1:] // The first round warms up.
	results := c.results(c.name, c.against, c.goal, ours, theirs)
	results = append(results, alone(Result{
		Row: c.name + "-calls", What: "... API calls of the webhook's process per trigger", Goal: Goal{Kind: Stated},
	}, each(ours, func(a admitted) float64 { return a.calls })))
	if len(before) > 0 {
		results = append(results, c.results(c.name+"-before", "by the manager before", Goal{Kind: Stated}, ours, before[1:])...)
	}
	return results, nil
}

func (c admissionCase) results(name, against string, goal Goal, ours, theirs []admitted) []Result {
	row := func(suffix, what, unit string, goal Goal, figure func(admitted) float64) Result {
		return compared(Result{Row: name + suffix, What: what, Against: against, Unit: unit, Goal: goal},
			each(ours, figure), each(theirs, figure), ratios)
	}
	stated := Goal{Kind: Stated}
	return []Result{
		row("", c.what, "/s", goal, func(a admitted) float64 { return a.perSecond }),
		row("-cpu", "... CPU time of API server and etcd per trigger", "ms", stated, func(a admitted) float64 { return milliseconds(a.server) }),
		row("-cpu-webhook", "... CPU time of the webhook's process per trigger", "ms", stated, func(a admitted) float64 { return milliseconds(a.webhook) }),
	}
}

// manager measures a binary of the manager. If there are two, it starts the one that it measures.
func (c admissionCase) manager(ctx context.Context, w *world, ns string, o Options, binary string, all *[]admitted) error {
	if o.Before != "" {
		if err := w.restartManager(ctx, nothing, binary); err != nil {
			return err
		}
	}
	return c.side(ctx, w, ns, w.jobruns, o.size(admissionCreates), all)
}

func (c admissionCase) side(ctx context.Context, w *world, ns string, api client.Client, creates int, all *[]admitted) error {
	expect := c.expectNoop
	if api == w.jobruns {
		expect = c.expect
		if c.hot {
			if err := w.occupy(ctx, ns); err != nil {
				return err
			}
		}
	}
	if err := w.quiet(ctx); err != nil {
		return err
	}
	before, err := w.spent(ctx, api)
	if err != nil {
		return err
	}
	rate, err := storm{
		api: api, callers: admissionCallers, creates: creates, expect: expect,
		trigger: func(i int) *v1alpha1.JobRun { return c.trigger(ns, i) },
	}.rate(ctx)
	if err != nil {
		return err
	}
	after, err := w.spent(ctx, api)
	if err != nil {
		return err
	}
	*all = append(*all, admitted{rate, after.perTrigger(before, creates)})
	return w.wipe(ctx, ns)
}

// occupy makes a run wait for hotKey. While the controller works, the run waits behind one that executes.
func (w *world) occupy(ctx context.Context, ns string) error {
	if w.state == working {
		leased := held(keyed(jobRun(ns, "leased"), hotKey))
		if err := w.jobruns.Create(ctx, leased); err != nil {
			return err
		}
		if err := w.inPhase(ctx, leased, v1alpha1.PhaseLeased); err != nil {
			return err
		}
	}
	return w.jobruns.Create(ctx, held(keyed(jobRun(ns, "waiting"), hotKey)))
}

// inPhase waits until a JobRun is in a phase.
func (w *world) inPhase(ctx context.Context, run *v1alpha1.JobRun, phase v1alpha1.Phase) error {
	return await(ctx, fmt.Sprintf("JobRun %s to be %s", run.Name, phase), func() (bool, error) {
		err := w.jobruns.Get(ctx, client.ObjectKeyFromObject(run), run)
		return run.Status.Phase == phase, err
	})
}
