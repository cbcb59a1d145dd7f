// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Suite is a cluster that plays one scenario after the other.
type Suite struct {
	config  Config
	cluster *cluster
	played  int
}

// Start starts the cluster of a Suite.
func Start(ctx context.Context, c Config) (*Suite, error) {
	if c.Log == nil {
		c.Log = io.Discard
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Suite{config: c}
	began := time.Now()
	var err error
	if s.cluster, err = startCluster(ctx, c, s.say); err != nil {
		return nil, err
	}
	s.say("the control plane, a node, %d managers and %d gateways are up after %.0fs", managers, gateways, time.Since(began).Seconds())
	return s, nil
}

// Stop stops the cluster.
func (s *Suite) Stop() error { return s.cluster.close() }

func (s *Suite) say(format string, args ...any) {
	fmt.Fprintf(s.config.Log, format+"\n", args...)
}

// Play plays a scenario with the given faults and reports which promises held. It returns an error if the scenario
// could not be played.
func (s *Suite) Play(ctx context.Context, faults []string) (*Report, error) {
	if err := s.cluster.awaitReady(ctx); err != nil {
		return nil, err
	}
	s.played++
	w, err := s.newWorld(faults)
	if err != nil {
		return nil, err
	}
	recording, err := s.record(ctx, w)
	if err != nil {
		return nil, err
	}
	defer recording.close()
	plan := Plan(s.config.Seed, s.config.Duration, planned(faults))
	if err := w.play(ctx, plan, recording.clock); err != nil {
		return nil, err
	}
	ended := recording.clock.now()
	restless := w.awaitQuiet(ctx, recording.clock)
	untilQuiet := recording.clock.now() - ended
	report, err := s.judge(ctx, w, recording, punctual(faults), restless)
	if err != nil {
		return nil, err
	}
	report.Seed, report.Duration, report.Faults, report.Plan = s.config.Seed, s.config.Duration, faults, plan
	report.Effects = w.effects
	report.UntilQuiet = untilQuiet
	return report, nil
}

// judge checks the promises at rest, deletes all JobRuns, and checks that nothing is left.
func (s *Suite) judge(ctx context.Context, w *world, recording *recording, punctual bool, restless error) (*Report, error) {
	h, err := recording.history(ctx, w)
	if err != nil {
		return nil, err
	}
	recording.pulse.close()
	report := check(h, w.namespace, punctual, restless == nil)
	report.put(becomesQuiet, 1)
	if restless != nil {
		report.violate(becomesQuiet, "%v", restless)
	} else {
		undeleted := w.deleteAll(ctx)
		w.dismiss()
		if h, err = recording.history(ctx, w); err != nil {
			return nil, err
		}
		report.checkLeft(h, w, undeleted)
	}
	return report, errors.Join(report.checkProcesses(s.cluster.processes()), h.save(s.config.HistoryFile))
}

// planned returns what a plan injects: the stories, and the faults that do not change the scenario from its start.
func planned(names []string) []string {
	var found []string
	for _, name := range names {
		if faultsByName[name].inject != nil {
			found = append(found, name)
		}
	}
	for _, story := range stories {
		found = append(found, story.name)
	}
	return found
}

func (s *Suite) newWorld(names []string) (*world, error) {
	users, err := clientOf(s.cluster.users)
	if err != nil {
		return nil, err
	}
	w := &world{
		config: s.config, cluster: s.cluster, namespace: fmt.Sprintf("%s%d", namespacePrefix, s.played),
		vandalised: map[types.UID]bool{}, effects: map[string]int{},
	}
	w.crowd = &crowd{
		api: users, log: &requestLog{}, namespace: w.namespace, seed: s.config.Seed, callers: callers,
		hotKeys: 3 + int(s.config.Seed%6), gateways: s.cluster.gateways,
	}
	w.crew = &crew{config: s.cluster.plane.AdminConfig(), namespace: w.namespace, say: s.say, victims: map[string]*victim{}}
	for _, name := range names {
		if begin := faultsByName[name].begin; begin != nil {
			begin(w)
		}
	}
	return w, nil
}

// play lets callers and workers work while the plan is carried out. It returns when all faults are healed. The
// workers go on until w.dismiss is called.
func (w *world) play(ctx context.Context, plan []Injection, clock *stopwatch) error {
	working, dismiss := context.WithCancel(ctx)
	w.working, w.dismiss = working, func() {
		dismiss()
		w.crew.working.Wait()
	}
	if err := errors.Join(w.prepareNamespace(ctx, w.namespace), w.installPolicy(ctx)); err != nil {
		return err
	}
	if err := w.makeAccounts(ctx); err != nil {
		return err
	}
	for range workers {
		if err := w.crew.hire(working); err != nil {
			return err
		}
	}
	faulty, over := context.WithTimeout(ctx, w.config.Duration)
	defer over()
	began := clock.now()
	var playing sync.WaitGroup
	playing.Go(func() { w.crowd.call(faulty) })
	for _, i := range plan {
		playing.Go(func() { w.inject(faulty, i, began, clock) })
	}
	playing.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(w.failed...)
}

// inject waits for the time of an injection and carries it out.
func (w *world) inject(ctx context.Context, i Injection, began time.Duration, clock *stopwatch) {
	pause(ctx, i.At-(clock.now()-began))
	if ctx.Err() != nil {
		return
	}
	w.cluster.say("%6.1fs %s", (clock.now() - began).Seconds(), faultsByName[i.Fault].about)
	switch err := faultsByName[i.Fault].inject(ctx, w, i); {
	case err == nil:
		w.took(i)
	case !errors.Is(err, errNoEffect):
		w.note(i, err)
	}
}
