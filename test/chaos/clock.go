// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	pulseInterval = 10 * time.Millisecond
	pulseTimeout  = time.Second
)

// stopwatch is the monotonic clock of all histories.
type stopwatch struct{ began time.Time }

func (s *stopwatch) now() time.Duration { return time.Since(s.began) }

// pulse relates the clock to the revisions of etcd. It reads etcd's revision every pulseInterval. A request that was sent
// after such a read ended saw at least the revision of that read. A request that was answered before a read began took
// effect at or before the revision of that read.
type pulse struct {
	client  *clientv3.Client
	clock   *stopwatch
	stop    context.CancelFunc
	working sync.WaitGroup

	mu    sync.Mutex
	beats []beat
}

// beat is one read of the revision.
type beat struct {
	began, ended time.Duration
	revision     uint64
}

func startPulse(ctx context.Context, client *clientv3.Client, clock *stopwatch) *pulse {
	ctx, stop := context.WithCancel(ctx)
	p := &pulse{client: client, clock: clock, stop: stop}
	p.working.Go(func() { p.run(ctx) })
	return p
}

func (p *pulse) run(ctx context.Context) {
	tick := time.NewTicker(pulseInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.beat(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (p *pulse) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	began := p.clock.now()
	answer, err := p.client.Get(ctx, "/", clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return // While etcd is down, its revision does not change.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats = append(p.beats, beat{began, p.clock.now(), uint64(answer.Header.Revision)})
}

func (p *pulse) close() {
	p.stop()
	p.working.Wait()
}

// after returns the lowest revision that etcd may have had at a time.
func (p *pulse) after(at time.Duration) uint64 {
	n, _ := slices.BinarySearchFunc(p.beats, at, func(b beat, at time.Duration) int {
		if b.ended <= at {
			return -1
		}
		return 1
	})
	if n == 0 {
		return 0
	}
	return p.beats[n-1].revision
}

// before returns the highest revision that etcd may have had at a time.
func (p *pulse) before(at time.Duration) uint64 {
	n, _ := slices.BinarySearchFunc(p.beats, at, func(b beat, at time.Duration) int {
		if b.began < at {
			return -1
		}
		return 1
	})
	if n == len(p.beats) {
		return math.MaxUint64
	}
	return p.beats[n].revision
}

// earliest returns the earliest time at which a revision may have been written.
func (p *pulse) earliest(revision uint64) time.Duration {
	n, _ := slices.BinarySearchFunc(p.beats, revision, func(b beat, revision uint64) int {
		if b.revision < revision {
			return -1
		}
		return 1
	})
	if n == 0 {
		return 0
	}
	return p.beats[n-1].began
}
