// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	sampleInterval = 2 * time.Second
	// soakCallers call without a pause in the faults, so they are fewer than callers.
	soakCallers = 24
	// mostStored is the number of stored JobRuns beyond which the callers wait. Without it, a machine that is slower than the
	// callers would collect JobRuns, and their caches would look like a leak.
	mostStored = 400
	// growth is the factor by which the last third of a soak may exceed the middle one, plus the measure's slack.
	growth = 1.2
	// leastSamples is how many samples each third needs.
	leastSamples = 5
)

// measure is a number that a soak samples.
type measure struct {
	title string
	of    func(operator.Metrics, load) float64
	slack float64 // for garbage that is not collected yet
	flat  bool    // must not grow
	// goesOn means that it counts something that goes on until the end.
	goesOn bool
}

// load is what the callers of a soak have done so far.
type load struct {
	requests int
	// stored is how many JobRuns the namespace has now.
	stored int
}

var measures = []measure{
	{title: "requests", of: func(_ operator.Metrics, l load) float64 { return float64(l.requests) }, goesOn: true},
	{title: "stored JobRuns", of: func(_ operator.Metrics, l load) float64 { return float64(l.stored) }, slack: 200, flat: true},
	{title: "RSS, MiB", of: gauge("process_resident_memory_bytes", 1<<20), slack: 16, flat: true},
	{title: "heap in use, MiB", of: gauge("go_memstats_heap_inuse_bytes", 1<<20), slack: 16, flat: true},
	{title: "goroutines", of: gauge("go_goroutines", 1), slack: 30, flat: true},
	{title: "queue depth", of: gauge("workqueue_depth", 1)},
}

// gauge returns a metric of the process, in units.
func gauge(metric string, unit float64) func(operator.Metrics, load) float64 {
	return func(m operator.Metrics, _ load) float64 { return m.Sum(metric) / unit }
}

// Sample has the measures of one manager or gateway at a time.
type Sample struct {
	At      time.Duration `json:"at"`
	Process string        `json:"process"`
	// Values are in the order of the measures.
	Values []float64 `json:"values"`
}

// Soak lets callers call for the duration without faults, and samples the managers and gateways. It returns an error if a
// measure grows, or if the soak fails otherwise.
func (s *Suite) Soak(ctx context.Context) ([]Sample, error) {
	s.played++
	w, err := s.newWorld(nil)
	if err != nil {
		return nil, err
	}
	w.crowd.brief, w.crowd.callers, w.crowd.waits = true, soakCallers, new(atomic.Bool)
	s.cluster.traffic.forgetWriters()
	clock := &stopwatch{began: time.Now()}
	w.crowd.clock = clock
	var samples []Sample
	var sampling sync.WaitGroup
	until, stop := context.WithCancel(ctx)
	sampling.Go(func() { samples = s.sample(until, w, clock) })
	err = w.play(ctx, nil, clock)
	stop()
	sampling.Wait()
	if err == nil {
		err = w.awaitQuiet(ctx, clock)
	}
	w.dismiss()
	if err == nil {
		err = steady(samples)
	}
	return samples, err
}

// sample samples all processes again and again, until the context is done.
func (s *Suite) sample(ctx context.Context, w *world, clock *stopwatch) []Sample {
	var samples []Sample
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		if stored, err := w.storedRuns(ctx); err == nil {
			w.crowd.waits.Store(stored > mostStored)
			samples = append(samples, s.sampleAll(ctx, clock.now(), load{requests: len(w.crowd.log.requests()), stored: stored})...)
		}
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
		}
	}
}

// sampleAll returns a sample of each process that answers.
func (s *Suite) sampleAll(ctx context.Context, at time.Duration, l load) []Sample {
	var samples []Sample
	take := func(name string, metrics operator.Metrics, err error) {
		if err == nil {
			samples = append(samples, Sample{At: at, Process: name, Values: valuesOf(metrics, l)})
		}
	}
	for _, r := range s.cluster.replicas {
		m := r.process()
		metrics, err := s.cluster.operator.Metrics(ctx, m)
		take(m.Name, metrics, err)
	}
	for _, g := range s.cluster.gateways {
		metrics, err := s.cluster.operator.MetricsAt(ctx, g.name, g.metrics)
		take(g.name, metrics, err)
	}
	return samples
}

func valuesOf(metrics operator.Metrics, l load) []float64 {
	values := make([]float64, len(measures))
	for i, what := range measures {
		values[i] = what.of(metrics, l)
	}
	return values
}

// storedRuns returns how many JobRuns the namespace of the scenario has.
func (w *world) storedRuns(ctx context.Context) (int, error) {
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRunList"))
	if err := w.cluster.api.List(ctx, &list, client.InNamespace(w.namespace), client.Limit(1)); err != nil {
		return 0, err
	}
	return len(list.Items) + int(ptr.Deref(list.RemainingItemCount, 0)), nil
}

// steady returns an error if a measure of a process grows: its median in the last third of the samples exceeds that in the middle
// third by more than growth and slack. It also returns one if the last third has less than half of the requests of the middle one.
func steady(samples []Sample) error {
	all := byProcess(samples)
	if len(all) != managers+gateways {
		return fmt.Errorf("%d processes were sampled, not %d", len(all), managers+gateways)
	}
	for process, series := range all {
		third := len(series) / 3
		if third < leastSamples {
			return fmt.Errorf("%s was sampled only %d times, which is too few: soak for longer", process, len(series))
		}
		for i, what := range measures {
			if err := what.steady(i, series[third:2*third], series[2*third:]); err != nil {
				return fmt.Errorf("%s of %s: %w", what.title, process, err)
			}
		}
	}
	return nil
}

// steady compares the measure, which is value i of a sample, in two thirds of a soak.
func (m measure) steady(i int, middle, last []Sample) error {
	if before, now := median(middle, i), median(last, i); m.flat && now > before*growth+m.slack {
		return fmt.Errorf("it grows: its median was %.1f in the middle third, and %.1f in the last", before, now)
	}
	if before, now := increase(middle, i), increase(last, i); m.goesOn && (now <= 0 || now < before/2) {
		return fmt.Errorf("it hardly goes on: it rose by %.0f in the middle third, and by %.0f in the last", before, now)
	}
	return nil
}

func increase(samples []Sample, value int) float64 {
	return samples[len(samples)-1].Values[value] - samples[0].Values[value]
}

func byProcess(samples []Sample) map[string][]Sample {
	series := map[string][]Sample{}
	for _, one := range samples {
		series[one.Process] = append(series[one.Process], one)
	}
	return series
}

func median(samples []Sample, value int) float64 {
	values := make([]float64, len(samples))
	for i, one := range samples {
		values[i] = one.Values[value]
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// WriteSamples writes samples to a file, as JSON.
func WriteSamples(path string, samples []Sample) error {
	titles := make([]string, len(measures))
	for i, what := range measures {
		titles[i] = what.title
	}
	text, err := json.MarshalIndent(map[string]any{"measures": titles, "samples": samples}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
