// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// storm is a number of creates by concurrent callers.
type storm struct {
	api     client.Client
	callers int
	// creates is the number of creates by all callers.
	creates int
	// trigger returns the i-th JobRun.
	trigger func(i int) *v1alpha1.JobRun
	// expect checks an answer.
	expect func(*v1alpha1.JobRun, error) error
}

// send sends all creates. It returns the time for all, and the latency of each.
func (s storm) send(ctx context.Context) (time.Duration, []time.Duration, error) {
	latencies := make([]time.Duration, s.creates)
	runtime.GC() // So that earlier garbage does not slow the measurement.
	var sent atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for range s.callers {
		group.Go(func() error {
			for {
				i := int(sent.Add(1)) - 1
				if i >= s.creates {
					return nil
				}
				run := s.trigger(i)
				sent := time.Now()
				err := s.api.Create(ctx, run)
				latencies[i] = time.Since(sent)
				if err := s.expect(run, err); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	return time.Since(begin), latencies, err
}

// rate sends all creates and returns the rate, in creates per second.
func (s storm) rate(ctx context.Context) (float64, error) {
	took, _, err := s.send(ctx)
	return float64(s.creates) / took.Seconds(), err
}
