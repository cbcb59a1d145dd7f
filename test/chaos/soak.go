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
	"time"
)

const (
	sampleInterval = 2 * time.Second
	// soakCallers call without a pause in the faults, so they are fewer than callers.
	soakCallers = 24
	// growth is the factor by which the last third of a soak may exceed the middle one, plus the measure's slack.
	growth = 1.2
	// leastSamples is how many samples each third needs.
	leastSamples = 5
)

// measure is one of the metrics of a manager that a soak samples.
type measure struct {
	title, metric string
	unit          float64 // divides the metric
	slack         float64 // in units, for garbage that is not collected yet
	flat          bool    // must not grow
}

var measures = []measure{
	{title: "RSS, MiB", metric: "process_resident_memory_bytes", unit: 1 << 20, slack: 16, flat: true},
	{title: "heap in use, MiB", metric: "go_memstats_heap_inuse_bytes", unit: 1 << 20, slack: 16, flat: true},
	{title: "goroutines", metric: "go_goroutines", unit: 1, slack: 30, flat: true},
	{title: "queue depth", metric: "workqueue_depth", unit: 1},
}

// Sample has the measures of one manager at a time.
type Sample struct {
	At      time.Duration `json:"at"`
	Manager string        `json:"manager"`
	// Values are in the order of the measures.
	Values []float64 `json:"values"`
}

// Soak lets callers call for the duration without faults, and samples the managers. It returns an error if a measure grows,
// or if the soak fails otherwise.
func (s *Suite) Soak(ctx context.Context) ([]Sample, error) {
	s.played++
	w, err := s.newWorld(nil)
	if err != nil {
		return nil, err
	}
	w.crowd.brief, w.crowd.callers, w.crowd.gateways = true, soakCallers, nil // A soak samples the managers alone.
	s.cluster.traffic.forgetWriters()
	clock := &stopwatch{began: time.Now()}
	w.crowd.clock = clock
	var samples []Sample
	var sampling sync.WaitGroup
	until, stop := context.WithCancel(ctx)
	sampling.Go(func() { samples = s.sample(until, clock) })
	err = w.play(ctx, nil, clock)
	if err == nil {
		err = w.awaitQuiet(ctx, clock)
	}
	stop()
	sampling.Wait()
	w.dismiss()
	if err == nil {
		err = steady(samples)
	}
	return samples, err
}

func (s *Suite) sample(ctx context.Context, clock *stopwatch) []Sample {
	var samples []Sample
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		for _, r := range s.cluster.replicas {
			m := r.process()
			if metrics, err := s.cluster.operator.Metrics(ctx, m); err == nil {
				one := Sample{At: clock.now(), Manager: m.Name}
				for _, what := range measures {
					one.Values = append(one.Values, metrics.Sum(what.metric)/what.unit)
				}
				samples = append(samples, one)
			}
		}
		select {
		case <-ctx.Done():
			return samples
		case <-tick.C:
		}
	}
}

// steady returns an error if a measure grows: its median in the last third of the samples exceeds that in the middle third
// by more than growth and slack.
func steady(samples []Sample) error {
	for manager, series := range byManager(samples) {
		third := len(series) / 3
		if third < leastSamples {
			return fmt.Errorf("%s was sampled only %d times, which is too few: soak for longer", manager, len(series))
		}
		for i, what := range measures {
			middle, last := median(series[third:2*third], i), median(series[2*third:], i)
			if what.flat && last > middle*growth+what.slack {
				return fmt.Errorf("%s of %s grows: its median was %.1f in the middle third, and %.1f in the last", what.title, manager, middle, last)
			}
		}
	}
	return nil
}

func byManager(samples []Sample) map[string][]Sample {
	series := map[string][]Sample{}
	for _, one := range samples {
		series[one.Manager] = append(series[one.Manager], one)
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
